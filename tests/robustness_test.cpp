// What real programs do to a library: odd tensors, changes in mid-run, threads, skipped steps.
#include <torchreg/torchreg.hpp>

#include <cmath>
#include <deque>
#include <limits>
#include <sstream>
#include <thread>

#include "support.hpp"

using namespace torchreg;
using support::contains;
using support::error_of;
using support::Net;
using support::optimizer_cases;
using support::row;
using support::same_bits;
using support::step_with;
using support::Tensor;
namespace optim = torch::optim;

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

/// Trains a net of its own from a seed of its own, without the global generator.
std::vector<Tensor> train_alone(uint64_t seed) {
  auto generator = at::detail::createCPUGenerator(seed);
  Net net;
  {
    torch::NoGradGuard no_grad;
    for (Tensor& p : net->parameters()) p.copy_(torch::randn(p.sizes(), generator));
  }
  optim::Adam adam(net->parameters(), optim::AdamOptions(1e-2));
  ProximalStep prox(adam, net, L1(0.05));
  const L2 l2(1e-3);
  for (int t = 0; t < 200; ++t) {
    const Tensor x = torch::randn({8, 3}, generator);
    adam.zero_grad();
    ((net->forward(x) - x.narrow(1, 0, 2)).square().mean() + l2(net)).backward();
    adam.step();
    prox.step();
  }
  std::vector<Tensor> weights;
  for (const Tensor& p : net->parameters()) weights.push_back(p.detach());
  return weights;
}

}  // namespace

TEST_CASE("Odd tensors: every optimizer steps empty, 0-dim, transposed and sliced parameters") {
  for (const auto& [name, make, is] : optimizer_cases()) {
    CAPTURE(name);
    torch::manual_seed(30);
    const Tensor base = torch::randn({6, 8}, torch::kDouble);
    const std::vector<Tensor> odd = {
        torch::randn({0, 3}, torch::kDouble).requires_grad_(),
        torch::randn({}, torch::kDouble).requires_grad_(),
        torch::randn({5, 3}, torch::kDouble).t().requires_grad_(),
        base.slice(1, 1, 7, 2).detach().requires_grad_(),
    };
    std::vector<Tensor> plain;
    for (const Tensor& w : odd) plain.push_back(w.detach().contiguous().clone().requires_grad_());
    const auto optimizer = make(odd, 0.05), twin = make(plain, 0.05);
    ProximalStep prox(*optimizer, odd, L1(0.5)), same(*twin, plain, L1(0.5));
    for (int t = 0; t < 30; ++t) {
      for (std::size_t i = 0; i < odd.size(); ++i) {
        const Tensor g = torch::randn(odd[i].sizes(), torch::kDouble);
        odd[i].mutable_grad() = g;
        plain[i].mutable_grad() = g.clone();
      }
      optimizer->step();
      twin->step();
      prox.step();
      same.step();
    }
    for (std::size_t i = 0; i < odd.size(); ++i) {
      REQUIRE(same_bits(odd[i].detach(), plain[i].detach()));
    }
  }
}

template <class Penalty>
static void compare_layouts(const Penalty& penalty, torch::ScalarType dtype, int64_t memory) {
  for (const auto& [name, make, is] : optimizer_cases()) {
    CAPTURE(name, dtype, memory);
    torch::manual_seed(31);
    const Tensor base = torch::randn({300, 401}, dtype);
    for (const Tensor& w : {base.slice(1, 0, 400), base.t()}) {
      const Tensor leaf = w.detach().requires_grad_();
      const Tensor flat = leaf.detach().contiguous().clone().requires_grad_();
      const auto optimizer = make({leaf, flat}, 1e-3);
      ProximalStep prox(*optimizer, {leaf, flat}, penalty);
      prox.options().memory(memory);
      for (int t = 0; t < 3; ++t) {
        leaf.mutable_grad() = torch::randn_like(w);
        flat.mutable_grad() = leaf.grad().contiguous();
        optimizer->step();
        prox.step();
      }
      if (is.sgd) {
        REQUIRE(same_bits(leaf, flat));
      } else {
        REQUIRE(torch::allclose(leaf, flat, 1e-6, 1e-6));
      }
      REQUIRE(sparsity(leaf).zeros == sparsity(flat).zeros);
    }
  }
}

TEST_CASE("Odd tensors: a large sliced or transposed parameter is stepped as a contiguous one") {
  // What lies without gaps is stepped in one pass, the rest in pieces by LibTorch's operations, of
  // which MKL's square root does not round as the processor's.
  for (const auto dtype : {torch::kFloat, torch::kDouble}) {
    for (const int64_t memory : {0, 256}) {
      compare_layouts(L1(10), dtype, memory);
      compare_layouts(ElasticNet(10, 10), dtype, memory);
      compare_layouts(torchreg::L2(10), dtype, memory);
    }
  }
}

TEST_CASE("Odd tensors: a negated view is read and written as what it stands for") {
  const Tensor base = torch::tensor({-3.0, -1.0, 2.0});
  const Tensor view = torch::_neg_view(base).detach().requires_grad_();
  const Tensor term = L1(1)(view);
  REQUIRE(term.item<double>() == 6);
  term.backward();
  REQUIRE(torch::equal(view.grad(), torch::tensor({1.0, 1.0, -1.0})));
  L1(1).prox_(view, 2);
  REQUIRE(torch::equal(view, torch::tensor({1.0, 0.0, 0.0})));
  REQUIRE(torch::equal(base, torch::tensor({-1.0, 0.0, 0.0})));
}

TEST_CASE("Odd tensors: roots are the nearest numbers, where LibTorch's are off by a bit too") {
  torch::manual_seed(33);
  for (const auto type : {torch::kFloat, torch::kDouble}) {
    for (const auto& x : {torch::rand({1003}, type), torch::rand({7, 40}, type).slice(1, 1, 40, 3),
                          torch::rand({1}, type).expand({5, 3}), torch::rand({}, type)}) {
      const Tensor roots = torchreg::detail::root_of(x).contiguous(), numbers = x.contiguous();
      REQUIRE(roots.sizes() == x.sizes());
      for (int64_t i = 0; i < x.numel(); ++i) {
        const double number = numbers.view(-1)[i].item<double>();
        const double root =
            type == torch::kFloat ? std::sqrt(static_cast<float>(number)) : std::sqrt(number);
        REQUIRE(roots.view(-1)[i].item<double>() == root);
      }
    }
  }
  const Tensor x = torch::rand({3}).requires_grad_();
  REQUIRE(torchreg::detail::root_of(x).requires_grad());
}

TEST_CASE("Odd tensors: an optimizer's state may have another dtype and another layout") {
  torch::manual_seed(32);
  const Tensor w = torch::randn({200, 300}).t().detach().requires_grad_();
  optim::Adam adam({w}, optim::AdamOptions(0.1));
  ProximalStep prox(adam, w, L1(0.5));
  prox.options().memory(0);
  w.mutable_grad() = torch::randn_like(w);
  adam.step();
  prox.step();
  auto& state = static_cast<optim::AdamParamState&>(*adam.state().begin()->second);
  const Tensor moments = state.exp_avg_sq();
  for (const Tensor& other : {moments.to(torch::kDouble), moments.contiguous()}) {
    state.exp_avg_sq(other.mul_(2));  // as a step would write to it
    state.step(state.step() + 1);
    const Tensor expected = soft_threshold(w.detach(), 0.5 * step_size(adam, w));
    prox.step();
    REQUIRE(torch::allclose(w, expected, 1e-6, 1e-6));
  }
}

TEST_CASE("Odd tensors: small ones that are stepped together are stepped as each alone") {
  for (const auto& [name, make, is] : optimizer_cases()) {
    CAPTURE(name);
    torch::manual_seed(33);
    std::vector<Tensor> together, alone;
    for (int64_t i = 0; i < 24; ++i) {
      const auto type = i % 8 == 5 ? torch::kFloat : i < 12 ? torch::kBFloat16 : torch::kDouble;
      const Tensor wide = torch::randn({i / 2, 2 * i}, torch::kDouble).to(type);
      for (auto* list : {&together, &alone}) {
        list->push_back(wide.clone().slice(1, 0, c10::nullopt, 2).detach().requires_grad_());
      }
    }
    const auto optimizer = make(together, 0.05), twin = make(alone, 0.05);
    // The last four have another rate; Adagrad takes no parameters later.
    const bool has_groups = !is.adagrad;
    for (auto* each : {optimizer.get(), twin.get()}) {
      if (!has_groups) continue;
      auto& parameters = each->param_groups()[0].params();
      const std::vector<Tensor> last(parameters.end() - 4, parameters.end());
      parameters.resize(20);
      auto options = each->param_groups()[0].options().clone();
      options->set_lr(0.1);
      each->add_param_group(optim::OptimizerParamGroup(last, std::move(options)));
    }
    ProximalStep prox(*optimizer, together, L1(0.3));
    std::deque<ProximalStep<L1>> steps;
    for (const Tensor& w : alone) steps.emplace_back(*twin, w, L1(0.3));
    for (int t = 0; t < 12; ++t) {
      for (std::size_t i = 0; i < together.size(); ++i) {
        const bool rests = i % 5 == 4 && t % 3 == 1;  // so that memories are of different age
        const Tensor g = torch::randn_like(together[i]);
        together[i].mutable_grad() = rests ? Tensor() : g;
        alone[i].mutable_grad() = rests ? Tensor() : g.clone();
      }
      optimizer->step();
      twin->step();
      prox.step();
      for (std::size_t i = 0; i < steps.size(); ++i) {
        if (alone[i].grad().defined() || !is.plain_sgd()) steps[i].step();
      }
    }
    for (std::size_t i = 0; i < together.size(); ++i) {
      CAPTURE(i);
      REQUIRE(torch::allclose(together[i], alone[i], 1e-5, 1e-6));
      REQUIRE(torch::equal(together[i] == 0, alone[i] == 0));
      // The adaptive ones take roots, which MKL rounds in more than one way.
      if (is.sgd) REQUIRE(same_bits(together[i], alone[i]));
    }
    REQUIRE(sparsity(together).zeros > 0);
  }
}

TEST_CASE("Odd tensors: views that negate are stepped, alone and among others") {
  for (const double step : {0.0, 0.5}) {
    torch::manual_seed(3);
    const Tensor complex = torch::randn({6}, torch::kComplexFloat);
    const std::vector<Tensor> list{torch::imag(torch::conj(complex.clone())), torch::randn({6}),
                                   torch::imag(torch::conj(complex.clone())), torch::randn({6})};
    REQUIRE(list[0].is_neg());
    std::vector<Tensor> expected;
    for (const Tensor& w : list) expected.push_back(soft_threshold(w, step));
    L1(1).prox_(list, step);
    for (std::size_t i = 0; i < list.size(); ++i) REQUIRE(torch::equal(list[i], expected[i]));
  }
}

TEST_CASE("CUDA: a step there is the step here, after every optimizer") {
  if (!torch::cuda::is_available()) {
    WARN("skipped: no CUDA device");
    return;
  }
  for (const auto& [name, make, is] : optimizer_cases()) {
    CAPTURE(name);
    torch::manual_seed(34);
    std::vector<Tensor> here, there;
    for (int64_t i = 0; i < 20; ++i) {
      here.push_back(support::double_parameter({i, 5}));
      there.push_back(here.back().detach().to(torch::kCUDA).requires_grad_());
    }
    const auto optimizer = make(here, 0.05), twin = make(there, 0.05);
    ProximalStep prox(*optimizer, here, L1(0.3)), prox_there(*twin, there, L1(0.3));
    for (int t = 0; t < 20; ++t) {
      for (std::size_t i = 0; i < here.size(); ++i) {
        here[i].mutable_grad() = torch::randn_like(here[i]);
        there[i].mutable_grad() = here[i].grad().to(torch::kCUDA);
      }
      optimizer->step();
      twin->step();
      prox.step();
      prox_there.step();
    }
    for (std::size_t i = 0; i < here.size(); ++i) {
      CAPTURE(i);
      REQUIRE(torch::allclose(there[i].cpu(), here[i], 1e-8, 1e-10));
      REQUIRE(torch::equal(there[i].cpu() == 0, here[i] == 0));
    }
    REQUIRE(sparsity(here).zeros > 0);
  }
}

TEST_CASE("Odd tensors: an expanded parameter is refused, and its term counts every entry") {
  const Tensor w = torch::ones({1}).requires_grad_();
  const Tensor wide = w.expand({4});
  const Tensor term = L1(2)(wide);
  REQUIRE(term.item<double>() == 8);
  term.backward();
  REQUIRE(w.grad().item<double>() == 8);
  const Tensor leaf = torch::ones({1}).expand({4}).detach().requires_grad_();
  optim::SGD sgd({leaf}, optim::SGDOptions(0.1));
  REQUIRE(contains(error_of([&] { ProximalStep(sgd, leaf, L1(1)); }),
                   "ProximalStep: \"tensor 0\" is expanded"));
}

TEST_CASE("Odd tensors: those that share memory are stepped in turn, with any number of threads") {
  const Tensor base = torch::full({1 << 16}, 1024.0);
  std::vector<Tensor> views;  // each a thread's, if they were stepped at once
  for (int i = 0; i < 16; ++i) views.push_back(base.view({-1}));
  const int threads = at::get_num_threads();
  at::set_num_threads(2);
  for (int t = 0; t < 50; ++t) L1(1).prox_(views, 1);
  at::set_num_threads(threads);
  REQUIRE((base == 1024 - 50 * 16).all().item<bool>());
}

TEST_CASE("Tied parameters: are stepped and penalized once, and excluded by any of their paths") {
  struct TiedImpl : torch::nn::Module {
    TiedImpl() {
      a = register_module("a", torch::nn::Linear(3, 3));
      b = register_module("b", torch::nn::Linear(3, 3));
      b->weight = b->register_parameter("tied", a->weight);
    }
    torch::nn::Linear a{nullptr}, b{nullptr};
  };
  TiedImpl tied;
  const Tensor own = tied.b->named_parameters(false)["weight"];
  const double expected = (tied.a->weight.abs().sum() + own.abs().sum()).item<double>();
  REQUIRE(L1(1)(tied).item<double>() == Approx(expected));
  REQUIRE(select(tied, weights() && !named("b.tied")).paths() ==
          std::vector<std::string>{"b.weight"});
  optim::SGD sgd(tied.parameters(), optim::SGDOptions(0.5));
  ProximalStep prox(sgd, tied, L1(1, named("a.weight")));
  const Tensor before = tied.a->weight.detach().clone();
  tied.a->weight.mutable_grad() = torch::zeros({3, 3});
  prox.step();
  REQUIRE(same_bits(tied.a->weight.detach(), soft_threshold(before, 0.5)));
}

TEST_CASE("Mid-run: groups that are added later, and a parameter that moves in the groups") {
  const Tensor a = row({1, 1}).requires_grad_(), b = row({1}).requires_grad_();
  optim::SGD sgd({a}, optim::SGDOptions(0.1).momentum(0.5));
  ProximalStep prox(sgd, a, L1(0.1));
  step_with(sgd, a, row({0, 0}));
  prox.step();
  sgd.add_param_group(optim::OptimizerParamGroup({b}));
  auto& first = sgd.param_groups()[0].params();
  first.insert(first.begin(), torch::zeros({1}).requires_grad_());
  step_with(sgd, a, row({0, 0}));
  prox.step();
  REQUIRE(a[0].item<double>() == Approx(1 - 0.1 * 0.1 - 0.1 * 0.15));
  first.insert(first.begin(), torch::zeros({1}).requires_grad_());
  step_with(sgd, a, row({0, 0}));
  prox.step();
  REQUIRE(a[0].item<double>() == Approx(1 - 0.1 * 0.1 - 0.1 * 0.15 - 0.1 * 0.175));
  ProximalStep late(sgd, b, L1(0.1));
  step_with(sgd, b, row({0}));
  late.step();
  REQUIRE(b.item<double>() == Approx(0.99));
  sgd.param_groups().pop_back();
  REQUIRE(contains(error_of([&] { late.step(); }), "\"tensor 0\" is in no parameter group"));
}

TEST_CASE("Mid-run: a module that changes its dtype takes its memory along") {
  int followed = 0;
  for (const auto& [name, make, is] : optimizer_cases()) {
    CAPTURE(name);
    torch::manual_seed(32);
    Net net;
    const auto optimizer = make(net->parameters(), 0.05);
    ProximalStep prox(*optimizer, net, L1(0.2));
    const auto train = [&](torch::ScalarType type) {
      const Tensor x = torch::randn({8, 3}).to(type);
      optimizer->zero_grad();
      net->forward(x).square().mean().backward();
      optimizer->step();
    };
    for (int t = 0; t < 40; ++t) {
      train(torch::kFloat);
      prox.step();
    }
    const int64_t zeros = sparsity(net).zeros;
    REQUIRE(zeros > 0);
    for (Tensor& p : net->parameters()) p.mutable_grad() = Tensor();
    net->to(torch::kDouble);
    try {
      train(torch::kDouble);
    } catch (const c10::Error&) {
      continue;  // this LibTorch's optimizer cannot itself
    }
    prox.step();
    REQUIRE(sparsity(net).zeros >= zeros);
    REQUIRE(net->fc1->weight.scalar_type() == torch::kDouble);
    ++followed;
  }
  REQUIRE(followed > 0);
}

TEST_CASE("Mid-run: a skipped optimizer step, as mixed precision does, skips the prox too") {
  for (const auto& [name, make, is] : optimizer_cases()) {
    if (is.plain_sgd()) continue;  // leaves no trace: the caller skips prox.step() too
    CAPTURE(name);
    const Tensor w = row({1, -1}).requires_grad_(), twin = row({1, -1}).requires_grad_();
    const auto optimizer = make({w}, 0.01), steady = make({twin}, 0.01);
    ProximalStep prox(*optimizer, w, L1(0.1)), same(*steady, twin, L1(0.1));
    for (int t = 0; t < 12; ++t) {
      w.mutable_grad() = row({0.5, 0.2});
      twin.mutable_grad() = row({0.5, 0.2});
      if (t % 3 != 1) {
        optimizer->step();
        steady->step();
        same.step();
      }
      prox.step();
    }
    REQUIRE(same_bits(w.detach(), twin.detach()));
  }
}

TEST_CASE("Mid-run: changing parameters by hand is followed by reset()") {
  const Tensor w = row({0.01, 1}).requires_grad_();
  optim::SGD sgd({w}, optim::SGDOptions(0.1));
  ProximalStep prox(sgd, w, L1(1));
  for (int t = 0; t < 100; ++t) {
    step_with(sgd, w, row({0, 0}));
    prox.step();
  }
  REQUIRE(w[0].item<double>() == 0);
  {
    torch::NoGradGuard no_grad;
    w.fill_(5);
  }
  prox.reset();
  step_with(sgd, w, row({0, 0}));
  prox.step();
  REQUIRE(torch::allclose(w.detach(), row({4.9, 4.9})));
}

TEST_CASE("Mid-run: lambda that falls lets zeros leave within the memory's span, never by a jump") {
  const Tensor w = row({0}).requires_grad_();
  optim::SGD sgd({w}, optim::SGDOptions(0.1));
  ProximalStep prox(sgd, w, L1(1));
  prox.options().memory(16);
  const auto step = [&] {
    step_with(sgd, w, row({-0.5}));
    prox.step();
    return w.item<double>();
  };
  for (int t = 0; t < 100; ++t) REQUIRE(step() == 0);
  prox.penalty().formula().lambda = 0.25;
  int waited = 0;
  while (step() == 0) REQUIRE(++waited < 100);
  REQUIRE(w.item<double>() == Approx(0.1 * (0.5 - 0.25)));
}

TEST_CASE("Threads: two models trained in two threads at once do not disturb each other") {
  const auto alone = train_alone(1), other = train_alone(2);
  std::vector<Tensor> first, second;
  std::thread a([&] { first = train_alone(1); });
  std::thread b([&] { second = train_alone(2); });
  a.join();
  b.join();
  for (std::size_t i = 0; i < alone.size(); ++i) {
    REQUIRE(same_bits(alone[i], first[i]));
    REQUIRE(same_bits(other[i], second[i]));
  }
  REQUIRE(sparsity(first).zeros > 0);
}

TEST_CASE("Threads: a penalty and its selector are safe for concurrent const use") {
  const Net net;
  const L1 l1(0.5, weights() && !named("fc1.bias"));
  const double expected = l1(net).item<double>();
  std::vector<double> found(4);
  std::vector<std::thread> threads;
  for (double& value : found) {
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i) value = l1(net).item<double>();
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const double value : found) REQUIRE(value == expected);
}

TEST_CASE("Second moments: one of NaN makes no zero") {
  for (const int64_t memory : {0, 256}) {
    for (const int64_t gap : {1, 2}) {
      CAPTURE(memory, gap);
      const Tensor w =
          torch::full({20 * gap}, 2.0).slice(0, 0, 20 * gap, gap).set_requires_grad(true);
      optim::Adam adam({w}, optim::AdamOptions(0.1));
      ProximalStep prox(adam, w, L1(0.5));
      prox.options().memory(memory);
      step_with(adam, w, torch::full({20}, kNaN));
      torch::NoGradGuard no_grad;
      w.fill_(2);  // as nan_to_num_() would repair it
      prox.step();
      REQUIRE((w == 2).all().item<bool>());  // a step that is no number goes nowhere
    }
  }
}

TEST_CASE("Second moments: denormal and huge gradients leave finite parameters finite") {
  for (const auto& [name, make, is] : optimizer_cases()) {
    if (is.sgd) continue;
    CAPTURE(name);
    const Tensor w = row({1, 1, 1}).requires_grad_();
    const auto optimizer = make({w}, 1e-3);
    ProximalStep prox(*optimizer, w, L1(0.5));
    for (int t = 0; t < 20; ++t) {
      step_with(*optimizer, w, row({1e-200, 1e150, 5e-324}));
      prox.step();
    }
    REQUIRE(w.isfinite().all().item<bool>());
  }
}
