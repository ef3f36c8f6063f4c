// State: every(n), reset(), and what is saved and loaded.
#include <torchreg/torchreg.hpp>

#include <sstream>

#include "support.hpp"

using namespace torchreg;
using support::contains;
using support::copies;
using support::error_of;
using support::load;
using support::memory_of;
using support::Net;
using support::optimizer_cases;
using support::row;
using support::same_bits;
using support::saved;
using support::step_with;
using support::Tensor;
using support::train;
namespace optim = torch::optim;

namespace {

void restore(Net& net, const std::vector<Tensor>& values) {
  torch::NoGradGuard no_grad;
  for (std::size_t i = 0; i < values.size(); ++i) net->parameters()[i].copy_(values[i]);
}

/// All numbers of a saved state, those of the first memory too.
template <class Prox>
std::vector<double> state_of(const Prox& prox) {
  std::istringstream stream(saved(prox));
  torch::serialize::InputArchive archive;
  archive.load_from(stream);
  c10::IValue counts, rates;
  archive.read("counts", counts);
  archive.read("rates", rates);
  std::vector<double> numbers = rates.toDoubleVector();
  for (const int64_t count : counts.toIntVector()) numbers.push_back(static_cast<double>(count));
  const Tensor memory = memory_of(prox);
  for (int64_t i = 0; memory.defined() && i < memory.numel(); ++i) {
    numbers.push_back(memory.reshape({-1})[i].template item<double>());
  }
  return numbers;
}

}  // namespace

TEST_CASE("every(n): acts at the n-th call with the sum of the steps since") {
  const Tensor w = row({1}).requires_grad_();
  optim::SGD sgd({w}, optim::SGDOptions(0.1).momentum(0.5));
  ProximalStep prox(sgd, w, L1(1));
  prox.options().every(3).memory(0);
  const auto step = [&](double lr) {
    support::set_lr(sgd, lr);
    step_with(sgd, w, row({0}));
    prox.step();
    return w.item<double>();
  };
  REQUIRE(step(0.1) == 1);
  REQUIRE(step(0.1) == 1);
  REQUIRE(step(0.2) == Approx(1 - 0.1 * 1 - 0.1 * 1.5 - 0.2 * 1.75));
  const double after = w.item<double>();
  REQUIRE(step(0.1) == after);
  prox.flush();
  REQUIRE(w.item<double>() == Approx(after - 0.1 * 1.875));
  const double flushed = w.item<double>();
  prox.flush();
  REQUIRE(w.item<double>() == flushed);
}

TEST_CASE("every(n): a step per entry counts the moves, and memory counts optimizer steps") {
  const Tensor w = row({1, 1}).requires_grad_();
  optim::Adam adam({w}, optim::AdamOptions(0.01));
  ProximalStep prox(adam, w, L1(1));
  prox.options().every(2);
  step_with(adam, w, row({1, 0}));
  prox.step();
  step_with(adam, w, row({1, 0}));
  const Tensor before = w.detach().clone(), s = step_size(adam, w);
  prox.step();
  REQUIRE(torch::allclose(before - w.detach(), 2 * s));
}

TEST_CASE("State: training saved and resumed equals uninterrupted training to the bit") {
  for (const auto& optimizer_case : optimizer_cases()) {
    for (const int64_t every : {1, 3}) {
      CAPTURE(optimizer_case.name, every);
      const auto start = [&](Net& net) {
        auto optimizer = optimizer_case.make(net->parameters(), 0.01);
        for (auto& p : net->parameters()) p.mutable_grad() = Tensor();
        return optimizer;
      };
      torch::manual_seed(8);
      Net net;
      const auto optimizer = start(net);
      ProximalStep prox(*optimizer, net, L1(0.3));
      prox.options().every(every).memory(8);
      for (int t = 0; t < 20; ++t) train(net, *optimizer, prox);
      const auto weights_then = copies(net);
      const std::string optimizer_then = saved(*optimizer), prox_then = saved(prox);
      torch::manual_seed(9);
      for (int t = 0; t < 22; ++t) train(net, *optimizer, prox);

      Net again;
      restore(again, weights_then);
      const auto resumed = start(again);
      load(*resumed, optimizer_then);
      ProximalStep prox_again(*resumed, again, L1(0.3));
      prox_again.options().every(every).memory(8);
      load(prox_again, prox_then);
      torch::manual_seed(9);
      for (int t = 0; t < 22; ++t) train(again, *resumed, prox_again);
      for (std::size_t i = 0; i < 4; ++i) {
        REQUIRE(same_bits(net->parameters()[i].detach(), again->parameters()[i].detach()));
      }
      REQUIRE(sparsity(net).zeros > 0);
    }
  }
}

TEST_CASE("State: after loading, what the optimizer has not moved since is still left alone") {
  for (const auto& [name, make, is] : optimizer_cases()) {
    if (is.plain_sgd()) continue;
    CAPTURE(name);
    const Tensor w = row({1, 2}).requires_grad_();
    const auto optimizer = make({w}, 0.01);
    ProximalStep prox(*optimizer, w, L1(0.1));
    step_with(*optimizer, w, row({1, 1}));
    prox.step();
    const std::string optimizer_then = saved(*optimizer), prox_then = saved(prox);
    const Tensor once = w.detach().clone();

    load(*optimizer, optimizer_then);  // by itself: harmless
    prox.step();
    REQUIRE(same_bits(w.detach(), once));
    load(prox, prox_then);
    prox.step();
    REQUIRE(same_bits(w.detach(), once));

    step_with(*optimizer, w, row({1, 1}));
    load(*optimizer, optimizer_then);  // back by one step, and forth again
    step_with(*optimizer, w, row({1, 1}));
    const Tensor moved = w.detach().clone();
    prox.step();
    REQUIRE((w.detach() < moved).all().item<bool>());

    // saved between the optimizer's step and the prox
    step_with(*optimizer, w, row({1, 1}));
    const std::string optimizer_between = saved(*optimizer), prox_between = saved(prox);
    const auto resumed = make({w}, 0.01);
    load(*resumed, optimizer_between);
    ProximalStep prox_again(*resumed, w, L1(0.1));
    load(prox_again, prox_between);
    const Tensor between = w.detach().clone();
    prox_again.step();
    REQUIRE((w.detach() < between).all().item<bool>());
  }
}

TEST_CASE("State: a saved state that does not fit throws and changes nothing") {
  const Tensor a = torch::ones({2}).requires_grad_(), b = torch::ones({3}).requires_grad_();
  optim::SGD sgd({a, b}, optim::SGDOptions(0.1));
  ProximalStep of_a(sgd, a, L1(1)), of_b(sgd, b, L1(1)), both(sgd, {a, b}, L1(1));
  a.mutable_grad() = torch::zeros({2});
  of_a.step();
  const std::vector<double> before = state_of(of_a);
  REQUIRE(before.size() > 10);
  REQUIRE(contains(error_of([&] { load(of_a, saved(both)); }),
                   "ProximalStep: the saved state is of 2 tensors, this one of 1"));
  REQUIRE(contains(error_of([&] { load(of_a, saved(of_b)); }),
                   "ProximalStep: the saved state is of \"tensor 0\" [3] where this one has "
                   "\"tensor 0\" [2]"));
  Net net;
  optim::SGD net_sgd(net->parameters(), optim::SGDOptions(0.1));
  ProximalStep by_path(net_sgd, net, L1(1)), by_bias(net_sgd, net, L1(1, biases()));
  REQUIRE(contains(error_of([&] { load(by_path, saved(by_bias)); }),
                   "the saved state is of \"fc1.bias\""));
  REQUIRE(contains(error_of([&] { load(of_a, saved(sgd)); }),
                   "ProximalStep: the archive holds no state of a ProximalStep"));
  torch::serialize::OutputArchive short_lists;
  short_lists.write("tensors", c10::IValue(std::vector<std::string>{"\"tensor 0\" [2]"}));
  short_lists.write("counts", c10::IValue(std::vector<int64_t>{0}));
  short_lists.write("rates", c10::IValue(std::vector<double>{}));
  std::ostringstream stream;
  short_lists.save_to(stream);
  REQUIRE(contains(error_of([&] { load(of_a, stream.str()); }),
                   "ProximalStep: the saved state is damaged, or of torchreg 0.1.0"));
  torch::serialize::OutputArchive later;
  later.write("format", c10::IValue(int64_t{2}));
  std::ostringstream stream_of_later;
  later.save_to(stream_of_later);
  REQUIRE(
      contains(error_of([&] { load(of_a, stream_of_later.str()); }),
               "ProximalStep: the saved state is of format 2, this version of torchreg reads 1"));
  REQUIRE(state_of(of_a) == before);
}

TEST_CASE("ProximalStep: exact zeros survive saving and loading the model") {
  Net net;
  optim::Adam adam(net->parameters());
  ProximalStep prox(adam, net, L1(0.1));
  for (int t = 0; t < 300; ++t) train(net, adam, prox);
  const Sparsity trained = sparsity(net);
  REQUIRE(trained.zeros > 0);
  Net loaded;
  load(loaded, saved(net));
  REQUIRE(sparsity(loaded).zeros == trained.zeros);
}

TEST_CASE("reset(): leaves a ProximalStep that is as good as new") {
  torch::manual_seed(14);
  const Tensor w = support::double_parameter({8});
  const Tensor twin = w.detach().clone().requires_grad_();
  optim::SGD sgd({w, twin}, optim::SGDOptions(0.1).momentum(0.5));
  ProximalStep prox(sgd, w, L1(0.5));
  const auto step = [&] {
    w.mutable_grad() = torch::randn({8}, torch::kDouble);
    twin.mutable_grad() = w.grad().clone();
    sgd.step();
    prox.step();
  };
  for (int t = 0; t < 100; ++t) step();
  {
    torch::NoGradGuard no_grad;
    twin.copy_(w);
  }
  prox.reset();
  ProximalStep fresh(sgd, twin, L1(0.5));
  for (int t = 0; t < 20; ++t) {
    step();
    fresh.step();
    REQUIRE(same_bits(w.detach(), twin.detach()));
  }
}

TEST_CASE("reset(): forgets the steps that every(n) has noted") {
  const Tensor w = row({1}).requires_grad_();
  optim::SGD sgd({w}, optim::SGDOptions(0.1));
  ProximalStep prox(sgd, w, L1(1));
  prox.options().every(3);
  step_with(sgd, w, row({0}));
  prox.step();
  prox.reset();
  prox.flush();
  REQUIRE(w.item<double>() == 1);
}

TEST_CASE("State: one that fits in part is not loaded in part") {
  const Tensor a = row({1}).requires_grad_(), b = row({1, 1}).requires_grad_(),
               c = row({1, 1, 1}).requires_grad_();
  optim::SGD sgd({a, b, c}, optim::SGDOptions(0.1));
  ProximalStep of_ab(sgd, {a, b}, L1(1)), of_ac(sgd, {a, c}, L1(1));
  of_ab.options().every(2);
  a.mutable_grad() = row({0});
  of_ab.step();
  REQUIRE(contains(error_of([&] { load(of_ab, saved(of_ac)); }), "the saved state is of"));
  of_ab.flush();
  REQUIRE(a.item<double>() == 0.9);
}
