// ProximalStep: the rule, what moves, and what is read from the optimizer.
#include <torchreg/torchreg.hpp>

#include "support.hpp"

using namespace torchreg;
using support::copies;
using support::Net;
using support::optimizer_cases;
using support::row;
using support::same_bits;
using support::step_with;
using support::Tensor;
namespace optim = torch::optim;

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
  for (const auto& [name, make, is] : optimizer_cases()) {
    CAPTURE(name);
    const Tensor w = torch::ones({3}, torch::kDouble).requires_grad_();
    const Tensor idle = torch::ones({3}, torch::kDouble).requires_grad_();
    const auto optimizer = make({w, idle}, 0.01);
    ProximalStep prox(*optimizer, {w, idle}, L1(0.1));
    step_with(*optimizer, w, torch::ones({3}, torch::kDouble));
    prox.step();
    const Tensor once = w.detach().clone();
    REQUIRE(torch::equal(idle.detach(), torch::ones({3}, torch::kDouble)));
    if (is.plain_sgd()) continue;  // leaves no trace
    prox.step();
    REQUIRE(same_bits(w.detach(), once));
    w.mutable_grad() = Tensor();
    prox.step();
    REQUIRE(same_bits(w.detach(), once));
  }
}

TEST_CASE("ProximalStep: zero_grad() before or after it makes no difference") {
  for (const auto& [name, make, is] : optimizer_cases()) {
    if (is.plain_sgd()) continue;
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

TEST_CASE("ProximalStep: each tensor of a long list is stepped once, by one thread and by two") {
  const int threads = at::get_num_threads();
  for (const int count : {1, 2}) {
    at::set_num_threads(count);
    torch::manual_seed(5);
    std::vector<Tensor> tensors, expected;
    for (int i = 0; i < 1100; ++i) {
      tensors.push_back(torch::randn({1 + 10 * (i % 70)}).requires_grad_());
      tensors.back().mutable_grad() = torch::zeros_like(tensors.back());
      expected.push_back(soft_threshold(tensors.back().detach(), 0.25));
    }
    optim::SGD sgd(tensors, optim::SGDOptions(0.5));
    ProximalStep prox(sgd, tensors, L1(0.5));
    prox.step();
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      REQUIRE(same_bits(tensors[i].detach(), expected[i]));
      expected[i] = soft_threshold(expected[i], 0.125);
    }
    L1(0.5).prox_(tensors, 0.25);
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      REQUIRE(same_bits(tensors[i].detach(), expected[i]));
    }
  }
  at::set_num_threads(threads);
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
