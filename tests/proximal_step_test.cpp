// ProximalStep: its rules, memory, every(n), state and errors.
#include <torchreg/torchreg.hpp>

#include <limits>
#include <sstream>

#include "support.hpp"

using namespace torchreg;
using support::contains;
using support::error_of;
using support::load;
using support::Net;
using support::optimizer_cases;
using support::row;
using support::same_bits;
using support::saved;
using support::step_with;
using support::Tensor;
namespace optim = torch::optim;

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

/// One training step of a net on random data.
template <class Prox>
void train(Net& net, optim::Optimizer& optimizer, Prox& prox) {
  const Tensor x = torch::randn({8, 3});
  optimizer.zero_grad();
  (net->forward(x) - x.narrow(1, 0, 2)).square().mean().backward();
  optimizer.step();
  prox.step();
}

std::vector<Tensor> copies(Net& net) {
  std::vector<Tensor> copies;
  for (const Tensor& p : net->parameters()) copies.push_back(p.detach().clone());
  return copies;
}

void restore(Net& net, const std::vector<Tensor>& values) {
  torch::NoGradGuard no_grad;
  for (std::size_t i = 0; i < values.size(); ++i) net->parameters()[i].copy_(values[i]);
}

}  // namespace

TEST_CASE(
    "ProximalStep: steps by lr lambda after SGD, and several penalties on their own tensors") {
  Net net;
  optim::SGD sgd(net->parameters(), optim::SGDOptions(0.1));
  ProximalStep prox(sgd, net, L1(0.5), L2(2, biases()));
  static_assert(std::is_same_v<decltype(prox), ProximalStep<L1, L2>>);
  const auto before = copies(net);
  for (const Tensor& p : net->parameters()) p.mutable_grad() = torch::zeros_like(p);
  prox.step();
  REQUIRE(same_bits(net->fc1->weight.detach(), soft_threshold(before[0], 0.05)));
  REQUIRE(torch::allclose(net->fc1->bias.detach(), before[1] / 1.2));
  REQUIRE(prox.parameters().size() == 4);
  prox.penalty().formula().lambda = 0;
  prox.penalty<1>().formula().lambda = 0;
  const auto kept = copies(net);
  prox.step();
  REQUIRE(same_bits(net->fc1->weight.detach(), kept[0]));
  REQUIRE(prox.describe() ==
          "path         shape         penalty   lr  step  steps\n"
          "fc1.weight  [4, 3]  L1(lambda = 0)  0.1    lr      2\n"
          "fc2.weight  [2, 4]  L1(lambda = 0)  0.1    lr      2\n"
          "fc1.bias       [4]  L2(lambda = 0)  0.1    lr      2\n"
          "fc2.bias       [2]  L2(lambda = 0)  0.1    lr      2\n");
}

TEST_CASE(
    "ProximalStep: takes tensors by hand, can be a member, and is returned where it is made") {
  struct Trainer {
    Tensor w = torch::ones({2}).requires_grad_();
    optim::SGD sgd{{w}, optim::SGDOptions(0.5)};
    ProximalStep<L1> prox{sgd, {w}, L1(1)};
  };
  Trainer trainer;
  trainer.w.mutable_grad() = torch::zeros({2});
  trainer.prox.step();
  REQUIRE(torch::equal(trainer.w.detach(), torch::full({2}, 0.5)));
  REQUIRE(trainer.prox.parameters().paths() == std::vector<std::string>{"tensor 0"});
  const auto make = [&] { return ProximalStep(trainer.sgd, trainer.w, L1(0.5)); };
  ProximalStep<L1> made = make();
  made.step();
  REQUIRE(torch::equal(trainer.w.detach(), torch::full({2}, 0.25)));
}

TEST_CASE("ProximalStep: neither it nor a class that holds it can be copied or moved") {
  struct Trainer {
    Tensor w = torch::ones({2}).requires_grad_();
    optim::SGD sgd{{w}, optim::SGDOptions(0.5)};
    ProximalStep<L1> prox{sgd, {w}, L1(1)};
  };
  using Step = ProximalStep<L1>;
  static_assert(!std::is_copy_constructible_v<Step> && !std::is_copy_assignable_v<Step>);
  static_assert(!std::is_move_constructible_v<Step> && !std::is_move_assignable_v<Step>);
  static_assert(!std::is_move_constructible_v<Trainer>);
  std::vector<std::unique_ptr<Trainer>> trainers;  // what a growing list of them takes
  for (int i = 0; i < 20; ++i) trainers.push_back(std::make_unique<Trainer>());
  for (const auto& trainer : trainers) {
    trainer->w.mutable_grad() = torch::zeros({2});
    trainer->prox.step();
    REQUIRE(torch::equal(trainer->w.detach(), torch::full({2}, 0.5)));
  }
}

TEST_CASE("ProximalStep: what the optimizer did not move is left alone, whatever the gradient is") {
  for (const auto& [name, make, settles] : optimizer_cases()) {
    CAPTURE(name);
    const Tensor w = torch::ones({3}, torch::kDouble).requires_grad_();
    const Tensor idle = torch::ones({3}, torch::kDouble).requires_grad_();
    const auto optimizer = make({w, idle}, 0.01);
    ProximalStep prox(*optimizer, {w, idle}, L1(0.1));
    step_with(*optimizer, w, torch::ones({3}, torch::kDouble));
    prox.step();
    const Tensor once = w.detach().clone();
    REQUIRE(torch::equal(idle.detach(), torch::ones({3}, torch::kDouble)));
    if (name == "SGD") continue;  // leaves no trace
    prox.step();
    REQUIRE(same_bits(w.detach(), once));
    w.mutable_grad() = Tensor();
    prox.step();
    REQUIRE(same_bits(w.detach(), once));
  }
}

TEST_CASE("ProximalStep: zero_grad() before or after it makes no difference") {
  for (const auto& [name, make, settles] : optimizer_cases()) {
    if (name == "SGD") continue;
    CAPTURE(name);
    std::vector<Tensor> results;
    for (const bool before : {false, true}) {
      torch::manual_seed(5);
      const Tensor w = support::double_parameter({6});
      const auto optimizer = make({w}, 0.01);
      ProximalStep prox(*optimizer, w, L1(0.5));
      for (int t = 0; t < 20; ++t) {
        step_with(*optimizer, w, torch::randn({6}, torch::kDouble));
        if (before) w.mutable_grad() = Tensor();
        prox.step();
      }
      results.push_back(w.detach().clone());
    }
    REQUIRE(same_bits(results[0], results[1]));
  }
}

TEST_CASE("ProximalStep: kappa of SGD starts at 1, and at its limit where buffers exist") {
  const auto thresholds = [](bool early) {
    const Tensor w = row({100}).requires_grad_();
    optim::SGD sgd({w}, optim::SGDOptions(0.1).momentum(0.5));
    if (!early) step_with(sgd, w, row({0}));
    ProximalStep prox(sgd, w, L1(1));
    std::vector<double> found;
    for (int t = 0; t < 3; ++t) {
      step_with(sgd, w, row({0}));
      const double before = w.item<double>();
      prox.step();
      found.push_back(before - w.item<double>());
    }
    prox.reset();
    step_with(sgd, w, row({0}));
    const double before = w.item<double>();
    prox.step();
    found.push_back(before - w.item<double>());
    return row(found);
  };
  REQUIRE(torch::allclose(thresholds(true), row({0.1, 0.15, 0.175, 0.2})));
  REQUIRE(torch::allclose(thresholds(false), row({0.2, 0.2, 0.2, 0.2})));
}

TEST_CASE("ProximalStep: reads groups, learning rates and schedules at every step") {
  const Tensor a = row({1}).requires_grad_(), b = row({1}).requires_grad_();
  std::vector<optim::OptimizerParamGroup> groups;
  groups.emplace_back(std::vector<Tensor>{a}, std::make_unique<optim::SGDOptions>(0.1));
  groups.emplace_back(std::vector<Tensor>{b}, std::make_unique<optim::SGDOptions>(0.2));
  optim::SGD sgd(groups, optim::SGDOptions(0.3));
  ProximalStep prox(sgd, {a, b}, L1(1));
  a.mutable_grad() = b.mutable_grad() = row({0});
  prox.step();
  REQUIRE(a.item<double>() == Approx(0.9));
  REQUIRE(b.item<double>() == Approx(0.8));
  optim::StepLR scheduler(sgd, 1, 0.5);
  scheduler.step();
  scheduler.step();
  const double rate = sgd.param_groups()[0].options().get_lr();
  REQUIRE(rate < 0.1);
  prox.step();
  REQUIRE(a.item<double>() == Approx(0.9 - rate));
  REQUIRE(b.item<double>() == Approx(0.8 - 2 * rate));
  const Tensor late = row({1}).requires_grad_();
  sgd.add_param_group({{late}});
  prox.step();
  REQUIRE(a.item<double>() == Approx(0.9 - 2 * rate));
}

TEST_CASE("ProximalStep: parameters frozen at the call are left alone") {
  const Tensor a = row({1}).requires_grad_(), b = row({1}).requires_grad_();
  optim::SGD sgd({a, b}, optim::SGDOptions(0.1));
  ProximalStep prox(sgd, {a, b}, L1(1));
  a.mutable_grad() = b.mutable_grad() = row({0});
  b.set_requires_grad(false);
  prox.step();
  REQUIRE(a.item<double>() == 0.9);
  REQUIRE(b.item<double>() == 1);
}

TEST_CASE("ProximalStep: NaN and infinities stay, with memory and without") {
  const double inf = std::numeric_limits<double>::infinity();
  for (const int64_t memory : {0, 256}) {
    const Tensor w = row({kNaN, inf, -inf, 0.01}).requires_grad_();
    optim::SGD sgd({w}, optim::SGDOptions(0.1));
    ProximalStep prox(sgd, w, L1(1));
    prox.options().memory(memory);
    for (int t = 0; t < 3; ++t) {
      step_with(sgd, w, torch::zeros({4}, torch::kDouble));
      prox.step();
      REQUIRE(w[0].isnan().item<bool>());
      REQUIRE(w[1].item<double>() == inf);
      REQUIRE(w[2].item<double>() == -inf);
      REQUIRE(w[3].item<double>() == 0);
    }
    torch::NoGradGuard no_grad;
    w[3] = kNaN;  // a zero that becomes NaN is no zero
    step_with(sgd, w, torch::zeros({4}, torch::kDouble));
    prox.step();
    REQUIRE(w[3].isnan().item<bool>());
  }
}

TEST_CASE("Memory: a result is 0 or the textbook value to the bit, also while lambda falls") {
  for (const auto type : {torch::kDouble, torch::kFloat, torch::kBFloat16}) {
    for (const auto& [name, make, settles] : optimizer_cases()) {
      CAPTURE(name, type);
      torch::manual_seed(6);
      const Tensor w = torch::randn({40}).to(type).requires_grad_();
      const Tensor twin = w.detach().clone().requires_grad_();
      const auto optimizer = make({w, twin}, 0.01);
      ProximalStep prox(*optimizer, w, ElasticNet(1, 0.1)),
          textbook(*optimizer, twin, ElasticNet(1, 0.1));
      textbook.options().memory(0);
      int64_t vetoed = 0;
      for (int t = 0; t < 60; ++t) {
        prox.penalty().formula().l1 = textbook.penalty().formula().l1 = 1 - t / 60.0;
        const Tensor g = torch::randn({40}).to(type);
        w.mutable_grad() = g.clone();
        twin.mutable_grad() = g.clone();
        optimizer->step();
        {
          torch::NoGradGuard no_grad;
          twin.copy_(w);
        }
        prox.step();
        textbook.step();
        const Tensor is_vetoed = (w == 0) & (twin != 0);
        REQUIRE(same_bits(torch::where(is_vetoed, torch::zeros_like(twin), twin), w.detach()));
        REQUIRE(support::negative_zeros(w.detach().to(torch::kFloat)) == 0);
        vetoed += is_vetoed.sum().item<int64_t>();
      }
      REQUIRE(vetoed > 0);
    }
  }
}

TEST_CASE("Memory: follows its formula step by step") {
  torch::manual_seed(7);
  const double lr = 0.1, lambda = 0.5, n = 4;
  const Tensor w = support::double_parameter({1});
  optim::SGD sgd({w}, optim::SGDOptions(lr));
  ProximalStep prox(sgd, w, L1(lambda));
  prox.options().memory(static_cast<int64_t>(n));
  const auto shrunk = [](double x, double t) { return x > t ? x - t : x < -t ? x + t : 0; };
  double x = w.item<double>(), m = 0;
  bool at_zero = false;
  int zeros = 0, vetoes = 0;
  for (int steps = 1; steps <= 400; ++steps) {
    const double gradient = torch::randn({1}).item<double>() + x;
    step_with(sgd, w, row({gradient}));
    x -= lr * gradient;
    const double textbook = shrunk(x, lr * lambda), g = x / lr;
    if (at_zero) {
      m += (g - m) / std::min(std::max(steps / 4.0, 1.0), n);
      x = shrunk(lr * m, lr * lambda) == 0 ? 0 : textbook;
      vetoes += x == 0 && textbook != 0;
    } else {
      x = textbook;
      m = g;
    }
    at_zero = x == 0;
    zeros += at_zero;
    prox.step();
    REQUIRE(w.item<double>() == Approx(x).margin(1e-12));
    REQUIRE((w.item<double>() == 0) == at_zero);
  }
  REQUIRE(zeros > 50);
  REQUIRE(vetoes > 20);
}

TEST_CASE(
    "Memory: none without zeros, of the parameter's shape with them, float32 for half types") {
  const auto state_of = [](auto penalty, torch::ScalarType type, int64_t n) {
    const Tensor w = torch::ones({3, 2}, type).requires_grad_();
    optim::SGD sgd({w}, optim::SGDOptions(0.1));
    ProximalStep prox(sgd, w, penalty);
    prox.options().memory(n);
    w.mutable_grad() = torch::zeros_like(w);
    prox.step();
    std::istringstream stream(saved(prox));
    torch::serialize::InputArchive archive;
    archive.load_from(stream);
    Tensor memory;
    archive.try_read("memory0", memory, /*is_buffer=*/true);
    return memory;
  };
  REQUIRE_FALSE(state_of(L1(1), torch::kFloat, 0).defined());
  REQUIRE_FALSE(state_of(L1(0), torch::kFloat, 256).defined());
  REQUIRE_FALSE(state_of(L2(1), torch::kFloat, 256).defined());
  REQUIRE_FALSE(state_of(ElasticNet(0, 1), torch::kFloat, 256).defined());
  REQUIRE(state_of(L1(1), torch::kDouble, 256).scalar_type() == torch::kDouble);
  REQUIRE(state_of(L1(1), torch::kBFloat16, 256).scalar_type() == torch::kFloat);
  REQUIRE(state_of(L1(1), torch::kHalf, 1).sizes() == at::IntArrayRef({3, 2}));
}

TEST_CASE("Memory: follows the parameter to another dtype") {
  Net net;
  optim::SGD sgd(net->parameters(), optim::SGDOptions(0.01));
  ProximalStep prox(sgd, net, L1(0.5));
  for (int t = 0; t < 5; ++t) train(net, sgd, prox);
  net->to(torch::kDouble);
  for (const Tensor& p : net->parameters()) p.mutable_grad() = torch::zeros_like(p);
  prox.step();
  REQUIRE(net->fc1->weight.scalar_type() == torch::kDouble);
}

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
  for (const auto& [name, make, settles] : optimizer_cases()) {
    if (name == "SGD") continue;
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
  const std::string before = saved(of_a);
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
  REQUIRE(saved(of_a).size() == before.size());
}

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

TEST_CASE("Memory: NaN in a remembered zero is kept, even by a prox that loses it") {
  struct Forgetful {
    Tensor prox(const Tensor& w, const Tensor& step) const {
      return torch::where(w.abs() > step, w - step * w.sign(), torch::zeros_like(w));
    }
  };
  const Tensor w = row({0.001, 1}).requires_grad_();
  optim::SGD sgd({w}, optim::SGDOptions(0.1));
  ProximalStep prox(sgd, w, Penalty(Forgetful{}));
  step_with(sgd, w, row({0, 0}));
  prox.step();
  REQUIRE(w[0].item<double>() == 0);
  {
    torch::NoGradGuard no_grad;
    w[0] = kNaN;
  }
  prox.step();
  REQUIRE(w[0].isnan().item<bool>());
}

TEST_CASE("ProximalStep: Adagrad's state before its first step is no step, whatever lr_decay is") {
  const Tensor a = row({1}).requires_grad_(), b = row({1}).requires_grad_();
  optim::Adagrad adagrad({a, b}, optim::AdagradOptions(0.1).lr_decay(1));
  ProximalStep prox(adagrad, {a, b}, L1(0.1));
  step_with(adagrad, a, row({1}));
  prox.step();
  REQUIRE(a.item<double>() < 0.95);
  REQUIRE(b.item<double>() == 1);
}

TEST_CASE("ProximalStep: follows momentum that is started again after reset()") {
  const Tensor w = row({100}).requires_grad_();
  optim::SGD sgd({w}, optim::SGDOptions(0.1).momentum(0.5));
  ProximalStep prox(sgd, w, L1(1));
  const auto shrinkage = [&] {
    step_with(sgd, w, row({0}));
    const double before = w.item<double>();
    prox.step();
    return before - w.item<double>();
  };
  REQUIRE(shrinkage() == Approx(0.1));
  REQUIRE(shrinkage() == Approx(0.15));
  sgd.state().clear();
  prox.reset();
  REQUIRE(shrinkage() == Approx(0.1));
  REQUIRE(shrinkage() == Approx(0.15));
}

TEST_CASE("ProximalStep: with dampening 1, kappa's limit is 0 and not a beginning") {
  const Tensor w = row({1}).requires_grad_();
  optim::SGD sgd({w}, optim::SGDOptions(0.1).momentum(0.5).dampening(1));
  step_with(sgd, w, row({0}));
  ProximalStep late(sgd, w, L1(0.1));
  late.step();
  REQUIRE(w.item<double>() == 1);
}

TEST_CASE("ProximalStep: what was frozen at a call is not stepped for it later") {
  const Tensor a = row({1}).requires_grad_(), b = row({1}).requires_grad_();
  optim::SGD sgd({a, b}, optim::SGDOptions(0.1));
  ProximalStep prox(sgd, {a, b}, L1(1));
  a.mutable_grad() = b.mutable_grad() = row({0});
  b.set_requires_grad(false);
  prox.step();
  b.set_requires_grad(true);
  prox.step();
  REQUIRE(a.item<double>() == Approx(0.8));
  REQUIRE(b.item<double>() == Approx(0.9));
  prox.options().every(2);
  prox.step();
  b.set_requires_grad(false);
  prox.step();
  REQUIRE(a.item<double>() == Approx(0.6));
  REQUIRE(b.item<double>() == Approx(0.9));
}

TEST_CASE("ProximalStep: a formula's -0.0 becomes +0.0, with memory and without") {
  struct Eraser {
    Tensor prox(const Tensor& w, const Tensor&) const { return 0 * w; }
  };
  for (const int64_t memory : {0, 256}) {
    const Tensor w = row({-1, 1}).requires_grad_();
    optim::SGD sgd({w}, optim::SGDOptions(0.1));
    ProximalStep prox(sgd, w, Penalty(Eraser{}));
    prox.options().memory(memory);
    step_with(sgd, w, row({0, 0}));
    prox.step();
    REQUIRE((w == 0).all().item<bool>());
    REQUIRE(support::negative_zeros(w.detach()) == 0);
  }
}

TEST_CASE("Memory: the gradient of the n steps of every(n) weighs n times as much") {
  torch::manual_seed(12);
  const double s = 0.2, lambda = 0.5;
  const Tensor w = row({0}).requires_grad_();
  optim::SGD sgd({w}, optim::SGDOptions(s / 2));
  ProximalStep prox(sgd, w, L1(lambda));
  prox.options().memory(8).every(2);
  const auto shrunk = [](double x, double t) { return x > t ? x - t : x < -t ? x + t : 0; };
  double x = 0, m = 0;
  bool at_zero = false;
  int vetoes = 0;
  for (int steps = 2; steps <= 600; steps += 2) {
    for (int i = 0; i < 2; ++i) {
      const double gradient = torch::randn({1}).item<double>() + x;
      step_with(sgd, w, row({gradient}));
      prox.step();
      x -= s / 2 * gradient;
    }
    const double g = x / s, textbook = shrunk(x, s * lambda);
    m = at_zero ? m + (g - m) * std::min(2 / std::min(std::max(steps / 4.0, 1.0), 8.0), 1.0) : g;
    x = at_zero && std::abs(m) <= lambda ? 0 : textbook;
    at_zero = x == 0;
    vetoes += at_zero && textbook != 0;
    REQUIRE(w.item<double>() == Approx(x).margin(1e-12));
  }
  REQUIRE(vetoes > 20);
}

TEST_CASE("Memory: steps with a learning rate of 0 are not counted") {
  std::vector<Tensor> results;
  for (const int warm_up : {0, 100}) {
    const Tensor w = torch::zeros({6}, torch::kDouble).requires_grad_();
    optim::SGD sgd({w}, optim::SGDOptions(0));
    ProximalStep prox(sgd, w, L1(0.5));
    std::vector<Tensor> path;
    for (int t = -warm_up; t < 20; ++t) {
      if (t == 0) torch::manual_seed(13);
      if (t == 0) support::set_lr(sgd, 0.1);
      step_with(sgd, w, torch::randn({6}, torch::kDouble));
      prox.step();
      if (t >= 0) path.push_back(w.detach().clone());
    }
    results.push_back(torch::stack(path));
  }
  REQUIRE(same_bits(results[0], results[1]));
}

TEST_CASE("Memory: is saved in the parameter's new dtype") {
  const Tensor w = torch::ones({3}).requires_grad_();
  optim::SGD sgd({w}, optim::SGDOptions(0.1));
  ProximalStep prox(sgd, w, L1(1));
  for (const auto type : {torch::kFloat, torch::kDouble}) {
    w.set_data(w.detach().to(type));
    w.mutable_grad() = torch::zeros({3}, type);
    prox.step();
    std::istringstream stream(saved(prox));
    torch::serialize::InputArchive archive;
    archive.load_from(stream);
    Tensor memory;
    archive.read("memory0", memory, /*is_buffer=*/true);
    REQUIRE(memory.scalar_type() == type);
  }
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

namespace {

struct Projection {
  Tensor prox(const Tensor& w, const Tensor& /*step*/) const { return w.clamp_min(0); }
};

struct Counting : Projection {
  [[maybe_unused]] static constexpr Memory memory = Memory::none;
};

struct OfRows : Projection {
  [[maybe_unused]] static constexpr bool is_separable = false;
};

struct OfTensor : Projection {
  [[maybe_unused]] static constexpr Domain domain = Domain::tensor;
};

}  // namespace

TEST_CASE("Memory: is kept where zeros can be, of entries alone, and where a formula says so") {
  using torchreg::detail::has_memory;
  REQUIRE(has_memory(L1(1).formula()));
  REQUIRE_FALSE(has_memory(L1(0).formula()));
  REQUIRE(has_memory(ElasticNet(1, 1).formula()));
  REQUIRE_FALSE(has_memory(ElasticNet(0, 1).formula()));
  REQUIRE_FALSE(has_memory(L2(1).formula()));
  REQUIRE(has_memory(Projection()));
  REQUIRE_FALSE(has_memory(Counting()));
  REQUIRE_FALSE(has_memory(OfRows()));
  REQUIRE_FALSE(has_memory(OfTensor()));
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

TEST_CASE(
    "ProximalStep: describe() shows a decay of no objective, and what training never touches") {
  const Tensor a = row({1}).requires_grad_(), b = row({1}).requires_grad_();
  optim::AdamW adamw({a, b}, optim::AdamWOptions(0.1).weight_decay(0.01));
  ProximalStep prox(adamw, {a, b}, L1(0.5));
  for (int t = 0; t < 3; ++t) {
    step_with(adamw, a, row({1}));
    prox.step();
  }
  REQUIRE(prox.describe() ==
          "path      shape           penalty   lr                                            step  "
          "steps\n"
          "tensor 0    [1]  L1(lambda = 0.5)  0.1  lr/(sqrt(v) + eps), decay 0.01 of no objective  "
          "    3\n"
          "tensor 1    [1]  L1(lambda = 0.5)  0.1  lr/(sqrt(v) + eps), decay 0.01 of no objective  "
          "    0\n");
}
