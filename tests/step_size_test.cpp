// step_size(): what the contract's table says, and what the optimizers of this LibTorch do.
#include <torchreg/torchreg.hpp>

#include <cmath>

#include "support.hpp"

using namespace torchreg;
using support::contains;
using support::error_of;
using support::optimizer_cases;
using support::row;
using support::step_with;
using support::Tensor;
namespace optim = torch::optim;

namespace {

template <class Options>
Options& options_of(optim::Optimizer& optimizer) {
  return static_cast<Options&>(optimizer.param_groups()[0].options());
}

class MyOptimizer : public optim::SGD {
 public:
  using SGD::SGD;
};

/// Moves each entry by a step of its own.
class Diagonal : public optim::Optimizer {
 public:
  Diagonal(std::vector<Tensor> parameters, Tensor steps)
      : Optimizer(std::move(parameters), std::make_unique<optim::SGDOptions>(1)),
        steps_(std::move(steps)) {}
  Tensor step(LossClosure = nullptr) override {
    torch::NoGradGuard no_grad;
    for (const Tensor& p : param_groups_[0].params()) {
      if (p.grad().defined()) p.sub_(steps_ * p.grad());
    }
    return {};
  }
  Tensor steps_;
};

Tensor step_size(const Diagonal& optimizer, const Tensor&) { return optimizer.steps_; }

/// A class of the user's that steps as LibTorch's, and says so.
class MyAdam : public optim::Adam {
 public:
  using Adam::Adam;
};

Tensor step_size(const MyAdam& optimizer, const Tensor& tensor) {
  return torchreg::step_size(static_cast<const optim::Adam&>(optimizer), tensor);
}

/// A formula for one step, of entries.
struct OneStep {
  static constexpr const char* name = "OneStep";
  static constexpr const char* instead = "use L1";
  Tensor prox(const Tensor& w, const Tensor& step) const { return w / (1 + step); }
};

}  // namespace

TEST_CASE("step_size: is lr for SGD, and its limit with momentum") {
  const Tensor w = torch::zeros({2}).requires_grad_();
  const auto of = [&](optim::SGDOptions options) {
    const optim::SGD sgd({w}, options);
    const Tensor s = torchreg::step_size(sgd, w);
    REQUIRE(s.dim() == 0);
    REQUIRE(s.scalar_type() == torch::kDouble);
    return s.item<double>();
  };
  REQUIRE(of(optim::SGDOptions(0.1)) == 0.1);
  REQUIRE(of(optim::SGDOptions(0.1).momentum(0.75)) == 0.4);
  REQUIRE(of(optim::SGDOptions(0.1).momentum(0.75).dampening(0.5)) == 0.2);
  REQUIRE(of(optim::SGDOptions(0.1).momentum(0.75).nesterov(true)) == 0.4);
}

TEST_CASE("step_size: is double for a number in float32 too") {
  const Tensor number = torch::zeros({}).requires_grad_();
  const optim::SGD sgd({number}, optim::SGDOptions(0.1));
  REQUIRE(torchreg::step_size(sgd, number).item<double>() == 0.1);
}

TEST_CASE("step_size: the second moments of Adagrad, RMSprop, Adam and AdamW") {
  const Tensor w = torch::zeros({2}, torch::kDouble).requires_grad_();
  const Tensor g = row({0.3, -2});
  {
    optim::Adagrad adagrad({w}, optim::AdagradOptions(0.1).lr_decay(0.5).eps(0.01));
    step_with(adagrad, w, g);
    step_with(adagrad, w, 2 * g);
    const Tensor expected = 0.1 / 1.5 / ((5 * g * g).sqrt() + 0.01);
    REQUIRE(torch::allclose(torchreg::step_size(adagrad, w), expected, 1e-14, 0));
  }
  for (const bool centered : {false, true}) {
    optim::RMSprop rmsprop(
        {w}, optim::RMSpropOptions(0.1).alpha(0.5).eps(0.01).momentum(0.9).centered(centered));
    step_with(rmsprop, w, g);
    step_with(rmsprop, w, 2 * g);
    const Tensor mean = (0.25 + 1) * g, q = (0.25 + 2) * g * g - (centered ? mean * mean : 0 * g);
    const Tensor expected = 1.9 * 0.1 / (q.sqrt() + 0.01);
    REQUIRE(torch::allclose(torchreg::step_size(rmsprop, w), expected, 1e-13, 0));
  }
  for (const bool amsgrad : {false, true}) {
    optim::Adam adam({w}, optim::AdamOptions(0.1).betas({0.9, 0.5}).eps(0.01).amsgrad(amsgrad));
    step_with(adam, w, 2 * g);
    step_with(adam, w, 0 * g);
    const Tensor v = (amsgrad ? 2 : 1) * g * g;
    const Tensor expected = 0.1 / ((v / 0.75).sqrt() + 0.01);
    REQUIRE(torch::allclose(torchreg::step_size(adam, w), expected, 1e-14, 0));
    optim::AdamW adamw({w}, optim::AdamWOptions(0.1).betas({0.9, 0.5}).eps(0.01).amsgrad(amsgrad));
    step_with(adamw, w, 2 * g);
    step_with(adamw, w, 0 * g);
    REQUIRE(torch::allclose(torchreg::step_size(adamw, w), expected, 1e-14, 0));
  }
}

TEST_CASE("step_size: an entry without any gradient gets the plain learning rate, not lr/eps") {
  for (const auto& [name, make, is] : optimizer_cases()) {
    if (is.sgd) continue;
    CAPTURE(name);
    const Tensor w = torch::ones({2}, torch::kDouble).requires_grad_();
    const auto optimizer = make({w}, 0.1);
    step_with(*optimizer, w, row({0, 1}));
    REQUIRE(torchreg::step_size(*optimizer, w)[0].item<double>() == 0.1);
  }
}

TEST_CASE("step_size: half types get float32 steps, of the parameter's shape") {
  const Tensor w = torch::zeros({2, 3}, torch::kBFloat16).requires_grad_();
  optim::Adam adam({w});
  step_with(adam, w, torch::ones_like(w));
  REQUIRE(torchreg::step_size(adam, w).scalar_type() == torch::kFloat);
  REQUIRE(torchreg::step_size(adam, w).sizes() == w.sizes());
}

TEST_CASE("step_size: a step of ProximalStep is as far as the optimizer goes with that gradient") {
  for (const auto& [name, make, is] : optimizer_cases()) {
    CAPTURE(name);
    const Tensor w = row({100, -100, 100}).requires_grad_();
    const Tensor g = row({0.5, -1, 2});
    const auto optimizer = make({w}, 0.01);
    if (is.rmsprop) {  // so that the second moment is that of the constant gradient
      options_of<optim::RMSpropOptions>(*optimizer).alpha(0).eps(0.1);
    }
    const double lambda = 0.25;
    ProximalStep prox(*optimizer, w, L1(lambda));
    for (int step = 1; step <= 30; ++step) {
      const Tensor start = w.detach().clone();
      step_with(*optimizer, w, g);
      const Tensor moved = w.detach().clone();
      prox.step();
      CAPTURE(step, moved - start, w - moved);
      REQUIRE(torch::allclose((start - moved) / g, (moved - w).abs() / lambda, 1e-9, 1e-12));
    }
  }
}

TEST_CASE("step_size: predicts the optimizer's next change from its state, for any gradients") {
  torch::manual_seed(4);
  for (const auto& [name, make, is] : optimizer_cases()) {
    CAPTURE(name);
    const Tensor w = torch::randn({5}, torch::kDouble).requires_grad_();
    const auto optimizer = make({w}, 0.01);
    for (int t = 1; t <= 5; ++t) {
      const Tensor start = w.detach().clone(), g = torch::randn({5}, torch::kDouble);
      step_with(*optimizer, w, g);
      const Tensor change = w.detach() - start;
      const Tensor s = torchreg::step_size(*optimizer, w);
      const auto* state = torchreg::detail::find_state(*optimizer, torchreg::detail::state_key(w));
      Tensor expected = -s * g;  // SGD, Adagrad, RMSprop
      if (const auto* adam = dynamic_cast<const optim::AdamParamState*>(state)) {
        expected = -s * adam->exp_avg() / (1 - std::pow(0.9, t));
      } else if (const auto* adamw = dynamic_cast<const optim::AdamWParamState*>(state)) {
        expected = -s * adamw->exp_avg() / (1 - std::pow(0.9, t));
      } else if (const auto* sgd = dynamic_cast<const optim::SGDParamState*>(state)) {
        const Tensor& buffer = sgd->momentum_buffer();
        expected = -0.01 * (is.nesterov ? Tensor(g + 0.9 * buffer) : buffer);
      } else if (is.momentum) {
        expected = -0.01 * dynamic_cast<const optim::RMSpropParamState&>(*state).momentum_buffer();
      }
      REQUIRE(torch::allclose(change, expected, 1e-9, 1e-12));
    }
  }
}

TEST_CASE("step_size: errors") {
  const Tensor w = torch::zeros({2}).requires_grad_(), other = torch::zeros({2}).requires_grad_();
  optim::Adam adam({w});
  REQUIRE(contains(error_of([&] { torchreg::step_size(adam, w); }), "has no optimizer state yet"));
  REQUIRE(
      contains(error_of([&] { torchreg::step_size(adam, other); }), "is in no parameter group"));
  optim::LBFGS lbfgs({w});
  REQUIRE(error_of([&] { ProximalStep(lbfgs, w, L1(1)); }) ==
          "ProximalStep: LBFGS has no per-entry step size; use a first-order optimizer, or the "
          "penalty as a term of the loss");
  MyOptimizer mine({w}, optim::SGDOptions(0.1));
  const std::string unknown =
      "ProximalStep: optimizer MyOptimizer is unknown; overload step_size(const MyOptimizer&, "
      "const torch::Tensor&), or use prox_(parameters, step)\nPass it by its own type, as the "
      "overload is not seen through torch::optim::Optimizer&; or by the type of LibTorch's that it "
      "steps as, such as static_cast<torch::optim::Adam&>(optimizer).";
  REQUIRE(error_of([&] { ProximalStep(mine, w, L1(1)); }) == unknown);
  optim::Optimizer& base = mine;
  REQUIRE(error_of([&] { ProximalStep(base, w, L1(1)); }) == unknown);
}

TEST_CASE(
    "step_size: an overload for a class of the user's is found by argument-dependent lookup") {
  const Tensor w = row({1, 1, 1}).requires_grad_();
  Diagonal diagonal({w}, row({0.1, 0.2, 0}));
  ProximalStep prox(diagonal, w, L1(1));
  step_with(diagonal, w, row({0, 0, 0}));
  prox.step();
  REQUIRE(torch::allclose(w.detach(), row({0.9, 0.8, 1})));
  diagonal.steps_ = torch::tensor(0.5, torch::kDouble);
  prox.step();
  REQUIRE(torch::allclose(w.detach(), row({0.4, 0.3, 0.5})));
  w.mutable_grad() = Tensor();
  REQUIRE(contains(error_of([&] { prox.step(); }), "no parameter has a gradient"));
  w.mutable_grad() = torch::zeros({3}, torch::kDouble);
  diagonal.steps_ = row({0.1, 0.1});
  REQUIRE(contains(error_of([&] { prox.step(); }),
                   "ProximalStep: step of shape [2] does not broadcast to \"tensor 0\" of shape "
                   "[3]"));
  diagonal.steps_ = row({0.1, -0.1, 0});
  REQUIRE(contains(error_of([&] { prox.step(); }), "ProximalStep: step must be finite and >= 0"));
}

TEST_CASE("step_size: a subclass is read as the class that it is passed by") {
  const auto trained = [](const auto& make_prox) {
    const Tensor w = row({1, -1, 0.5}).requires_grad_();
    MyAdam mine({w}, optim::AdamOptions(0.1));
    auto prox = make_prox(mine, w);
    for (const double g : {1.0, 0.5, -2.0}) {
      step_with(mine, w, row({g, 2 * g, 0.1}));
      prox.step();
    }
    return w.detach().clone();
  };
  const Tensor expected = trained([](optim::Adam& adam, const Tensor& w) {
    return ProximalStep(adam, w, L1(0.1));  // the caller's word
  });
  const Tensor by_overload =
      trained([](MyAdam& mine, const Tensor& w) { return ProximalStep(mine, w, L1(0.1)); });
  REQUIRE(torch::allclose(by_overload, expected, 1e-12, 0));
  const Tensor w = row({1}).requires_grad_();
  MyAdam mine({w}, optim::AdamOptions(0.1));
  step_with(mine, w, row({1}));
  const optim::Optimizer& base = mine;
  REQUIRE(contains(error_of([&] { torchreg::step_size(base, w); }),
                   "step_size: optimizer MyAdam is unknown"));
  REQUIRE(torchreg::step_size(static_cast<const optim::Adam&>(mine), w).item<double>() ==
          Approx(0.1));
  optim::Adam plain({w}, optim::AdamOptions(0.1));
  optim::Optimizer& plain_base = plain;
  ProximalStep(plain_base, w, L1(0.1));  // recognized by what it is
}

TEST_CASE("step_size: state of another shape is an error, before anything is written") {
  for (const auto& [name, make, is] : optimizer_cases()) {
    if (is.plain_sgd()) continue;
    CAPTURE(name);
    const Tensor fine = torch::ones({2}, torch::kDouble).requires_grad_();
    const Tensor w = torch::ones({4, 3}, torch::kDouble).requires_grad_();
    const auto optimizer = make({fine, w}, 0.1);
    ProximalStep prox(*optimizer, {fine, w}, L1(1));
    fine.mutable_grad() = torch::ones({2}, torch::kDouble);
    step_with(*optimizer, w, torch::ones({4, 3}, torch::kDouble));
    w.set_data(torch::ones({8, 3}, torch::kDouble));
    const Tensor before = fine.detach().clone();
    REQUIRE(
        contains(error_of([&] { prox.step(); }),
                 "ProximalStep: \"tensor 1\" has the shape [8, 3], its optimizer state [4, 3]"));
    REQUIRE(contains(error_of([&] { torchreg::step_size(*optimizer, w); }),
                     "step_size: the tensor has the shape [8, 3], its optimizer state [4, 3]"));
    REQUIRE(support::same_bits(fine.detach(), before));
    REQUIRE((w == 1).all().item<bool>());
  }
}

TEST_CASE("step_size: how often each optimizer writes to a parameter and to its state in a step") {
  auto cases = optimizer_cases();
  cases.push_back(support::optimizer_case<optim::AdamW, optim::AdamWOptions>(
      "AdamW with its decay", [](auto& o) { o.weight_decay(0.01); }));
  cases.push_back(support::optimizer_case<optim::Adam, optim::AdamOptions>(
      "Adam with decay", [](auto& o) { o.weight_decay(0.01); }));
  for (const auto& [name, make, is] : cases) {
    CAPTURE(name);
    const Tensor w = torch::ones({2}, torch::kDouble).requires_grad_();
    const auto optimizer = make({w}, 0.1);
    const torchreg::detail::Reader reader(*optimizer, nullptr);
    const torchreg::detail::Entry entry{{"w", w}, 0, torchreg::detail::state_key(w)};
    step_with(*optimizer, w, row({1, 2}));
    const auto reading = [&] { return reader.state_of(entry); };
    for (int t = 0; t < 3; ++t) {
      const auto before = reading();
      const auto version = w._version();
      const auto trace_version = before.trace.defined() ? before.trace._version() : 0;
      step_with(*optimizer, w, row({1, 2}));
      REQUIRE(static_cast<int64_t>(w._version() - version) == before.writes);
      if (before.counts) {
        REQUIRE(reading().counter == before.counter + 1);
        REQUIRE(static_cast<int64_t>(before.trace._version() - trace_version) ==
                before.trace_writes);
      }
    }
  }
}

TEST_CASE("step_size: a centered variance that is rounded below zero is zero") {
  const Tensor w = torch::zeros({2}, torch::kDouble).requires_grad_();
  optim::RMSprop rmsprop({w}, optim::RMSpropOptions(0.1).eps(0.01).centered(true));
  step_with(rmsprop, w, row({0.3, -2}));
  auto& state = *rmsprop.state().at(torchreg::detail::state_key(w));
  static_cast<optim::RMSpropParamState&>(state).square_avg().copy_(row({0.25, 0.25}));
  static_cast<optim::RMSpropParamState&>(state).grad_avg().copy_(row({0.5 + 1e-9, 0.4}));
  REQUIRE(torch::allclose(torchreg::step_size(rmsprop, w), row({0.1 / 0.01, 0.1 / 0.31})));
}

TEST_CASE("step_size: an entry that a user's step leaves where it is keeps its memory") {
  const auto trained = [](int idle) {
    const Tensor w = torch::zeros({20}, torch::kDouble).requires_grad_();
    const Tensor moving = torch::full({20}, 0.1, torch::kDouble), resting = torch::zeros_like(w);
    Diagonal diagonal({w}, moving);
    ProximalStep prox(diagonal, w, L1(0.5));
    prox.options().memory(4);
    const auto train = [&](int steps) {
      torch::manual_seed(12);
      for (int t = 0; t < steps; ++t) {
        step_with(diagonal, w, torch::randn({20}, torch::kDouble));
        prox.step();
      }
    };
    train(40);
    diagonal.steps_ = resting;
    train(idle);
    diagonal.steps_ = moving;
    train(1);
    return w.detach().clone();
  };
  REQUIRE(support::same_bits(trained(0), trained(10)));
}

TEST_CASE("ProximalStep: a formula for one step is refused where a user's steps differ") {
  const Tensor w = row({1, 1}).requires_grad_();
  Diagonal optimizer({w}, row({0.1, 0.2}));
  ProximalStep prox(optimizer, w, Penalty(OneStep()));
  step_with(optimizer, w, row({0, 0}));
  REQUIRE(contains(error_of([&] { prox.step(); }),
                   "OneStep has no exact prox for a step per entry (its steps); use L1"));
  REQUIRE(torch::equal(w.detach(), row({1, 1})));
}
