// ProximalStep: errors, and what holds after one.
#include <torchreg/torchreg.hpp>

#include <limits>

#include "support.hpp"

using namespace torchreg;
using support::contains;
using support::copies;
using support::error_of;
using support::Net;
using support::row;
using support::same_bits;
using support::step_with;
using support::Tensor;
namespace optim = torch::optim;

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

}  // namespace

TEST_CASE("ProximalStep: errors say who, what was required and what came, and change nothing") {
  Net net;
  optim::Adam adam(net->parameters());
  const auto before = copies(net);
  ProximalStep prox(adam, net, L1(1));
  for (const Tensor& p : net->parameters()) p.mutable_grad() = torch::ones_like(p);
  REQUIRE(error_of([&] { prox.step(); }) ==
          "ProximalStep: \"fc1.weight\" has no optimizer state yet; call step() after "
          "optimizer.step()");

  optim::SGD sgd(net->parameters(), optim::SGDOptions(0.1));
  ProximalStep plain(sgd, net, L1(1));
  for (const Tensor& p : net->parameters()) p.mutable_grad() = Tensor();
  REQUIRE(error_of([&] { plain.step(); }) ==
          "ProximalStep: no parameter has a gradient; call step() between optimizer.step() and "
          "zero_grad()");
  for (const Tensor& p : net->parameters()) p.mutable_grad() = torch::ones_like(p);

  REQUIRE(error_of([&] { ProximalStep(sgd, net, L1(1), L2(1)); }) ==
          "ProximalStep: \"fc1.weight\" is selected by two penalties; the prox of a sum is not the "
          "sum of proxes: use ElasticNet");
  optim::SGD half({net->fc2->weight}, optim::SGDOptions(0.1));
  REQUIRE(
      error_of([&] { ProximalStep(half, net, L1(1)); }) ==
      "ProximalStep: \"fc1.weight\" is in no parameter group of this optimizer; give the penalty "
      "a narrower selector, or the optimizer this parameter");
  REQUIRE(contains(error_of([&] { ProximalStep(sgd, torch::arange(3), L1(1)); }),
                   "ProximalStep: \"tensor 0\" is Long; a floating-point tensor is required"));
  REQUIRE(contains(error_of([&] { ProximalStep(sgd, Tensor(), L1(1)); }),
                   "ProximalStep: \"tensor 0\" is undefined (a layer without a bias?)"));

  plain.options().every(0);
  REQUIRE(contains(error_of([&] { plain.step(); }), "ProximalStep: every must be >= 1, got 0"));
  plain.options().every(1).memory(-1);
  REQUIRE(contains(error_of([&] { plain.step(); }), "ProximalStep: memory must be >= 0, got -1"));
  plain.options().memory(1);
  plain.penalty().formula().lambda = kNaN;
  REQUIRE(contains(error_of([&] { plain.step(); }), "L1: lambda must be finite and >= 0, got nan"));
  plain.penalty().formula().lambda = 1;
  support::set_lr(sgd, -1);
  REQUIRE(contains(error_of([&] { plain.step(); }),
                   "ProximalStep: step must be finite and >= 0, got -1"));
  for (std::size_t i = 0; i < 4; ++i) {
    REQUIRE(same_bits(net->parameters()[i].detach(), before[i]));
  }
}

TEST_CASE("ProximalStep: a formula that throws midway loses nothing when the step is repeated") {
  struct Fragile {
    bool* breaks;
    Tensor prox(const Tensor& w, const Tensor& step) const {
      TORCH_CHECK(!*breaks || w.scalar_type() == torch::kDouble, "broken");
      return w - step;
    }
  };
  bool breaks = true;
  const Tensor a = row({1, 1}).requires_grad_();
  const Tensor b = torch::ones({3}).requires_grad_();  // of another type: not stepped with a as one
  optim::SGD sgd({a, b}, optim::SGDOptions(0.1).momentum(0.5));
  ProximalStep prox(sgd, {a, b}, Penalty(Fragile{&breaks}));
  a.mutable_grad() = row({0, 0});
  b.mutable_grad() = torch::zeros({3});
  sgd.step();
  REQUIRE_THROWS_AS(prox.step(), c10::Error);
  breaks = false;
  prox.step();
  REQUIRE(torch::allclose(a.detach(), row({0.9, 0.9})));
  REQUIRE(torch::allclose(b.detach(), torch::full({3}, 0.9)));
}

TEST_CASE("ProximalStep: a backward through a graph that is older than the step throws") {
  const Tensor w = torch::ones({3}).requires_grad_();
  optim::SGD sgd({w}, optim::SGDOptions(0.1));
  ProximalStep prox(sgd, w, L1(1));
  const Tensor loss = (w * w).sum();
  w.mutable_grad() = torch::zeros({3});
  prox.step();
  REQUIRE_THROWS_AS(loss.backward(), c10::Error);
}

TEST_CASE("ProximalStep: in InferenceMode it steps, or says that it cannot") {
  const Tensor w = row({1, 2}).requires_grad_(), twin = row({1, 2}).requires_grad_();
  optim::Adam adam({w}, optim::AdamOptions(0.1)), adam_of_twin({twin}, optim::AdamOptions(0.1));
  ProximalStep prox(adam, w, L1(0.5)), prox_of_twin(adam_of_twin, twin, L1(0.5));
  for (int t = 0; t < 3; ++t) {
    step_with(adam_of_twin, twin, row({1, -1}));
    prox_of_twin.step();
    w.mutable_grad() = row({1, -1});
    c10::InferenceMode inference;
    adam.step();
    prox.step();
    REQUIRE(same_bits(w, twin));
  }
  optim::SGD sgd({w}, optim::SGDOptions(0.1).momentum(0.9));
  ProximalStep after_sgd(sgd, w, L1(0.5));
  w.mutable_grad() = row({1, -1});
  c10::InferenceMode inference;
  sgd.step();
  REQUIRE(
      contains(error_of([&] { after_sgd.step(); }),
               "ProximalStep: momentum that was made in InferenceMode does not tell whether SGD "
               "has stepped; use torch::NoGradGuard"));
}
