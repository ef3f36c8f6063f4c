// On a device other than the CPU, which tests/device/ simulates: the same results, no waiting, and
// launches that do not grow with the number of tensors.
#include <torchreg/torchreg.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <memory>

#include "device/simulated.hpp"
#include "laws.hpp"
#include "support.hpp"

using namespace torchreg;
using simulated::here;
using simulated::there;
using support::contains;
using support::error_of;
using support::optimizer_cases;
using support::same_bits;
using support::Tensor;
namespace optim = torch::optim;

namespace {

/// Its slope is autograd's.
struct SquareByValue {
  Tensor value(const Tensor& w) const { return 0.5 * w.square(); }
  Tensor prox(const Tensor& w, const Tensor& step) const { return w / (1 + step); }
};

/// Soft threshold by a tensor that lies on the device.
struct ThresholdThere {
  Tensor lambda;
  Tensor prox(const Tensor& w, const Tensor& step) const { return soft_threshold_of(w, step); }
  Tensor soft_threshold_of(const Tensor& w, const Tensor& step) const {
    return torch::where(w.abs() > step * lambda, w - w.sign() * step * lambda,
                        torch::zeros_like(w));
  }
};

std::vector<Tensor> parameters(int64_t count, at::IntArrayRef sizes) {
  std::vector<Tensor> list;
  for (int64_t i = 0; i < count; ++i) {
    list.push_back(there(torch::randn(sizes)).requires_grad_());
  }
  return list;
}

struct Cost {
  int64_t launches;
  double bytes;
};

template <class Act>
Cost cost_of(const Act& act) {
  simulated::reset();
  const int64_t before = simulated::counts().bytes;
  act();
  return {simulated::counts().launches, static_cast<double>(simulated::counts().peak - before)};
}

void fill_gradients(const std::vector<Tensor>& list) {
  for (const Tensor& w : list)
    w.mutable_grad() = there(torch::randn(w.sizes()).to(w.scalar_type()));
}

/// Of the second step of tensors that alternate, of two types or two learning rates.
template <class Optimizer, class Options>
int64_t launches_of_alternating(int64_t count, bool of_two_types) {
  auto list = parameters(count, {8, 8});
  std::vector<Tensor> even, odd;
  for (std::size_t i = 0; i < list.size(); ++i) {
    if (of_two_types && i % 2 == 0)
      list[i] = list[i].detach().to(torch::kBFloat16).requires_grad_();
    (i % 2 == 0 ? even : odd).push_back(list[i]);
  }
  const double other_lr = of_two_types ? 1e-3 : 2e-3;
  const std::vector<optim::OptimizerParamGroup> groups{{even, std::make_unique<Options>(1e-3)},
                                                       {odd, std::make_unique<Options>(other_lr)}};
  Optimizer optimizer(groups, Options(1e-3));
  ProximalStep prox(optimizer, list, L1(1e-3));
  Cost last;
  for (int step = 0; step < 2; ++step) {
    fill_gradients(list);
    {
      const simulated::AllowReads in_the_optimizer;
      optimizer.step();
    }
    last = cost_of([&] { prox.step(); });
  }
  return last.launches;
}

}  // namespace

TEST_CASE("Device: the host reads nothing, or the simulation says so") {
  const Tensor w = there(torch::ones({2}));
  REQUIRE(contains(error_of([&] { w[0].item<double>(); }), "the host reads an entry"));
  REQUIRE(contains(error_of([&] { w.cpu(); }), "the host reads an entry"));
}

TEST_CASE("Device: every penalty's prox and term with its derivatives are the CPU's") {
  laws::for_all([](const laws::Case& c, const Tensor& x, const Tensor& step) {
    const Tensor w = there(x);
    c.prox_(w, step.dim() == 0 ? step : there(step));
    const Tensor expected = laws::proxed(c, x.contiguous(), step);
    if (c.is_arithmetic) REQUIRE(same_bits(here(w), expected));
    REQUIRE(torch::allclose(here(w), expected, laws::tolerance(x.scalar_type()), 0));
    if (x.numel() == 0 || !c.term) return;
    const auto twice = [&](const Tensor& leaf) {
      const Tensor term = c.term(leaf);
      const Tensor slope = torch::autograd::grad({term}, {leaf}, {}, true, true)[0];
      std::vector<Tensor> all{term.detach(), slope.detach()};
      if (c.has_second_derivative && slope.requires_grad()) {
        const Tensor second =
            torch::autograd::grad({slope.sum()}, {leaf}, {}, false, false, true)[0];
        if (second.defined()) all.push_back(second);
      }
      all.push_back(torch::autograd::grad({c.term(leaf)}, {leaf})[0]);
      return all;
    };
    const auto on_host = twice(x.detach().contiguous().requires_grad_());
    const auto on_device = twice(there(x).requires_grad_());
    REQUIRE(on_host.size() == on_device.size());
    const double tolerance = 1e-5;  // sums are of float there
    for (std::size_t i = 0; i < on_host.size(); ++i) {
      REQUIRE(torch::allclose(here(on_device[i]), on_host[i], tolerance, tolerance));
    }
  });
}

TEST_CASE("Device: penalties of groups and constraints are the CPU's, without a wait") {
  torch::manual_seed(36);
  const auto check = [](const auto& penalty, bool takes_each = true) {
    const Tensor x = torch::randn({6, 4}, torch::kDouble), steps = torch::rand_like(x) + 0.1;
    const auto close = [](const Tensor& a, const Tensor& b) {
      REQUIRE(torch::allclose(here(a), b, 1e-10, 1e-12));
      REQUIRE(torch::equal(here(a) == 0, b == 0));
    };
    const Tensor a = x.clone(), b = there(x), c = x.clone(), d = there(x);
    penalty.prox_(a, 0.5), penalty.prox_(b, 0.5);
    close(b, a);
    if (takes_each) {
      penalty.prox_(c, steps), penalty.prox_(d, there(steps));
      close(d, c);
    }
    using Formula = std::decay_t<decltype(penalty.formula())>;
    if constexpr (torchreg::detail::HasValue<Formula>::value &&
                  !torchreg::detail::is_constraint<Formula>) {
      const Tensor here_leaf = x.clone().requires_grad_(), leaf = there(x).requires_grad_();
      const Tensor term = penalty(here_leaf), term_there = penalty(leaf);
      REQUIRE(here(term_there).item<double>() == Approx(term.item<double>()).epsilon(1e-5));
      const Tensor g = torch::autograd::grad({term}, {here_leaf})[0];
      REQUIRE(torch::allclose(here(torch::autograd::grad({term_there}, {leaf})[0]), g, 1e-10));
    }
  };
  for (const auto& grouping : {rows(), columns(2), by(torch::tensor({1, 0, -1, 1}))}) {
    check(GroupLasso(0.6, grouping));
    check(SparseGroupLasso(0.1, 0.4, grouping));
    check(GroupL0(0.6, grouping));
    check(GroupMCP(0.6, 2, grouping), false);
    check(GroupSCAD(0.6, 3, grouping), false);
    check(L2Ball(0.6, grouping));
    check(L1Ball(0.6, grouping));
    check(Simplex(0.6, grouping));
    check(TopK(1, grouping));
    check(TopGroups(1, grouping));
    check(MinSparsity(0.6, grouping));
  }
  check(MinSparsity(0.6));
  check(NonNegative(GroupLasso(0.3)));
}

TEST_CASE("Device: linked tensors on two devices are refused, by name") {
  struct Two : torch::nn::Module {
    Two() {
      register_parameter("a", there(torch::ones({2, 3})));
      register_parameter("b", torch::ones({2}));
    }
  };
  Two two;
  const GroupLasso both(1, linked({{"a", 0}, {"b", 0}}));
  const std::string expected = "\"b\" on cpu: their groups need one device";
  REQUIRE(contains(error_of([&] { both(two); }), expected));
  REQUIRE(contains(error_of([&] { both.prox_(two, 1); }), expected));
}

TEST_CASE("Device: a step of groups after every optimizer is the CPU's, with memory") {
  for (const auto& each : optimizer_cases()) {
    CAPTURE(each.name);
    torch::manual_seed(37);
    const Tensor on_host = (0.2 * torch::randn({12, 5}, torch::kDouble)).requires_grad_();
    const Tensor on_device = there(on_host).requires_grad_();
    const auto optimizer = each.make({on_host}, 0.05), twin = each.make({on_device}, 0.05);
    ProximalStep prox(*optimizer, on_host, GroupLasso(0.6));
    ProximalStep prox_there(*twin, on_device, GroupLasso(0.6));
    for (int t = 0; t < 30; ++t) {
      const Tensor g = torch::randn_like(on_host);
      g[0].zero_();  // dead
      on_host.mutable_grad() = g;
      on_device.mutable_grad() = there(g);
      optimizer->step();
      {
        const simulated::AllowReads in_the_optimizer;
        twin->step();
      }
      prox.step();
      prox_there.step();
    }
    REQUIRE(torch::allclose(here(on_device), on_host, 1e-8, 1e-10));
    REQUIRE(torch::equal(here(on_device) == 0, on_host == 0));
    REQUIRE(sparsity(on_host, rows()).zero_groups > 0);
  }
}

TEST_CASE("Device: a step after every optimizer is the CPU's, with memory, without a wait") {
  for (const auto& each : optimizer_cases()) {
    CAPTURE(each.name);
    torch::manual_seed(35);
    std::vector<Tensor> on_host, on_device;
    for (int64_t i = 0; i < 12; ++i) {
      on_host.push_back(support::double_parameter({i, 5}));
      on_device.push_back(there(on_host.back()).requires_grad_());
    }
    const auto optimizer = each.make(on_host, 0.05), twin = each.make(on_device, 0.05);
    ProximalStep prox(*optimizer, on_host, L1(0.3)), prox_there(*twin, on_device, L1(0.3));
    for (int t = 0; t < 20; ++t) {
      for (std::size_t i = 0; i < on_host.size(); ++i) {
        const Tensor g = torch::randn_like(on_host[i]);
        if (i > 0) g[0].zero_();  // dead
        on_host[i].mutable_grad() = g;
        on_device[i].mutable_grad() = there(g);
      }
      optimizer->step();
      {
        const simulated::AllowReads in_the_optimizer;
        twin->step();
      }
      prox.step();
      prox_there.step();
    }
    for (std::size_t i = 0; i < on_host.size(); ++i) {
      CAPTURE(i);
      REQUIRE(torch::allclose(here(on_device[i]), on_host[i], 1e-8, 1e-10));
      REQUIRE(torch::equal(here(on_device[i]) == 0, on_host[i] == 0));
    }
    REQUIRE(sparsity(on_host).zeros > 0);
  }
}

TEST_CASE("Device: NaN and infinities stay, a step of 0 is the identity, dead entries too") {
  const double inf = std::numeric_limits<double>::infinity();
  const Tensor x = torch::tensor({std::nan(""), inf, -inf, -0.0, 3.0});
  const Tensor w = there(x);
  L1(1).prox_(w, 1);
  REQUIRE(torch::allclose(here(w), torch::tensor({std::nan(""), inf, -inf, 0.0, 2.0}), 0, 0, true));
  L1(1).prox_(w, there(torch::tensor({1.0, 1.0, 1.0, 1.0, 0.0})));
  REQUIRE(torch::allclose(here(w), torch::tensor({std::nan(""), inf, -inf, 0.0, 2.0}), 0, 0, true));
  L1(1e39).prox_(w, 0);
  REQUIRE(here(w)[4].item<double>() == 2);
  const Tensor left = torch::tensor({std::nan(""), inf, -inf, 0.0, 0.0});
  for (const double step : {1e-10, 1.0}) {
    L1(1e39).prox_(w, step);
    REQUIRE(torch::allclose(here(w), left, 0, 0, true));
  }
  L1(1e25).prox_(w, 1e25);
  REQUIRE(torch::allclose(here(w), left, 0, 0, true));
}

TEST_CASE("Device: a second moment that is no number leaves what is one") {
  const auto stay_numbers = [](auto optimizer_for, double gradient) {
    const Tensor w = there(torch::ones({4})).requires_grad_();
    auto optimizer = optimizer_for(w);
    ProximalStep prox(optimizer, w, L1(0.1));
    w.mutable_grad() = there(torch::full({4}, gradient));
    {
      const simulated::AllowReads in_the_optimizer;
      optimizer.step();
    }
    torch::NoGradGuard no_grad;
    w.copy_(there(torch::ones({4})));  // as nan_to_num_() would repair it
    prox.step();
    return here(w).isfinite().all().item<bool>();
  };
  const auto adam = [](const Tensor& w) { return optim::Adam({w}, optim::AdamOptions(0.1)); };
  const auto centered = [](const Tensor& w) {
    return optim::RMSprop({w}, optim::RMSpropOptions(0.1).centered(true));
  };
  REQUIRE(stay_numbers(adam, std::nan("")));
  REQUIRE(stay_numbers(centered, 1e22));
}

TEST_CASE("Device: of floats no tensor of doubles is made, which some devices lack") {
  const Tensor w = there(torch::ones({5})).requires_grad_();
  optim::Adam adam({w}, optim::AdamOptions(0.1));
  ProximalStep prox(adam, w, L1(0.1));
  w.mutable_grad() = there(torch::ones({5}));
  {
    const simulated::AllowReads in_the_optimizer;
    adam.step();
  }
  simulated::reset();
  prox.step();
  step_size(adam, w);
  soft_threshold(w, 0.1);
  L1(1).prox_(w, 0.1);
  L1(1)(w).backward();
  const Penalty by_value(SquareByValue{});
  by_value(w).backward();
  REQUIRE(simulated::counts().launches > 0);
  REQUIRE(simulated::counts().doubles == 0);
}

TEST_CASE("Device: a formula may have a 0-dim tensor there") {
  const Tensor w = there(torch::tensor({3.0, 0.5, -2.0}));
  Penalty(ThresholdThere{there(torch::tensor(1.0))}).prox_(w, 1);
  REQUIRE(torch::equal(here(w), torch::tensor({2.0, 0.0, -1.0})));
}

TEST_CASE("Device: a term over the CPU and a device reads its outer gradient once") {
  std::vector<Tensor> mixed;
  for (int i = 0; i < 13; ++i) mixed.push_back(torch::ones({3}).requires_grad_());
  for (int i = 0; i < 13; ++i) mixed.push_back(there(torch::ones({3})).requires_grad_());
  const Tensor term = [&] {
    const simulated::AllowReads of_the_sum;  // which is on the first tensor's device
    return L1(2)(mixed);
  }();
  simulated::reset();
  (3 * term).backward();
  REQUIRE(simulated::counts().by_name["copy_"] <= 2);
  for (const Tensor& w : mixed) REQUIRE((here(w.grad()) == 6).all().item<bool>());
}

TEST_CASE("Device: launches do not grow with the number of tensors, nor memory with their size") {
  const auto adam_step = [](std::vector<Tensor> list, auto penalty) {
    optim::Adam adam(list, optim::AdamOptions(1e-3));
    ProximalStep prox(adam, list, penalty);
    for (int t = 0; t < 2; ++t) {
      fill_gradients(list);
      {
        const simulated::AllowReads in_the_optimizer;
        adam.step();
      }
      if (t == 0) prox.step();
    }
    return cost_of([&] { prox.step(); });
  };
  const auto prox_ = [](const std::vector<Tensor>& list, const auto& penalty) {
    return cost_of([&] { penalty.prox_(list, 0.1); });
  };
  const auto prox_0 = [](const std::vector<Tensor>& list) {
    return cost_of([&] { L1(1).prox_(list, 0.0); });
  };
  const auto gradient = [](const std::vector<Tensor>& list, const auto& penalty) {
    return cost_of([&] { torch::autograd::grad({penalty(list)}, list); });
  };
  std::printf("%-44s%10s%10s\n", "device: launches, MiB", "1000 x 64", "1 x 16 Mi");
  const auto row = [](const char* name, int64_t most, const Cost& many, const Cost& few,
                      const Cost& large) {
    std::printf("%-44s%10ld%10ld %8.0f\n", name, static_cast<long>(many.launches),
                static_cast<long>(large.launches), large.bytes / (1 << 20));
    CAPTURE(name);
    REQUIRE(many.launches <= most);
    REQUIRE(many.launches == few.launches);
    REQUIRE(many.bytes <= 64 << 20);
    REQUIRE(large.bytes <= 3.0 * (64 << 20));
  };
  const auto many = [] { return parameters(1000, {8, 8}); };
  const auto few = [] { return parameters(10, {8, 8}); };
  const auto large = [] { return parameters(1, {1 << 12, 1 << 12}); };
  row("L1 after Adam with memory", 60, adam_step(many(), L1(1e-3)), adam_step(few(), L1(1e-3)),
      adam_step(large(), L1(1e-3)));
  REQUIRE(adam_step(parameters(1, {64, 64}), L1(1e-3)).launches <= 23);
  const Tensor half = there(torch::randn({64, 64}).to(torch::kBFloat16)).requires_grad_();
  REQUIRE(adam_step({half}, L1(1e-3)).launches <= 25);
  row("L2 after Adam", 60, adam_step(many(), torchreg::L2(1e-3)),
      adam_step(few(), torchreg::L2(1e-3)), adam_step(large(), torchreg::L2(1e-3)));
  row("prox_ of L1", 20, prox_(many(), L1(1e-3)), prox_(few(), L1(1e-3)), prox_(large(), L1(1e-3)));
  row("term of L1 and its gradient", 20, gradient(many(), L1(1)), gradient(few(), L1(1)),
      gradient(large(), L1(1)));
  const auto of_columns = [](int64_t count) {
    std::vector<Tensor> list;
    for (int64_t i = 0; i < count; ++i) {
      const Tensor w = torch::randn({4, 4, 2, 2}).to(torch::MemoryFormat::ChannelsLast);
      list.push_back(there(w).requires_grad_());
    }
    return list;
  };
  REQUIRE(of_columns(1)[0].stride(1) == 1);
  row("channels_last: L1 after Adam with memory", 60, adam_step(of_columns(1000), L1(1e-3)),
      adam_step(of_columns(10), L1(1e-3)), adam_step(of_columns(1), L1(1e-3)));
  row("channels_last: prox_ of L1", 20, prox_(of_columns(1000), L1(1e-3)),
      prox_(of_columns(10), L1(1e-3)), prox_(of_columns(1), L1(1e-3)));
  row("channels_last: term of L1 and its gradient", 20, gradient(of_columns(1000), L1(1)),
      gradient(of_columns(10), L1(1)), gradient(of_columns(1), L1(1)));
  row("prox_ of L1 by a step of 0", 1, prox_0(many()), prox_0(few()), prox_0(large()));
  row("GroupLasso after Adam with memory", 1500, adam_step(many(), GroupLasso(1e-3)),
      adam_step(few(), GroupLasso(1e-3)), adam_step(few(), GroupLasso(1e-3)));
  row("prox_ of GroupLasso", 50, prox_(many(), GroupLasso(1e-3)), prox_(few(), GroupLasso(1e-3)),
      prox_(large(), GroupLasso(1e-3)));
  row("term of GroupLasso and its gradient", 60, gradient(many(), GroupLasso(1)),
      gradient(few(), GroupLasso(1)), gradient(few(), GroupLasso(1)));
  row("term by value alone and its gradient", 30, gradient(many(), Penalty(SquareByValue())),
      gradient(few(), Penalty(SquareByValue())), gradient(few(), Penalty(SquareByValue())));
}

TEST_CASE("Device: groups of many tensors are stacked, with the numbers of each alone") {
  using Penalties = std::vector<std::unique_ptr<ProximalStep<GroupLasso>>>;
  const auto check = [](const GroupLasso& penalty, const std::vector<at::IntArrayRef>& shapes,
                        bool is_stacked) {
    torch::manual_seed(6);
    std::vector<Tensor> list, twins;
    for (std::size_t i = 0; i < 12; ++i) {
      const Tensor w = 0.05 * torch::randn(shapes[i % shapes.size()], torch::kDouble);
      list.push_back(there(w).requires_grad_());
      twins.push_back(there(w).requires_grad_());
    }
    optim::Adam adam(list, optim::AdamOptions(1e-2)), alone(twins, optim::AdamOptions(1e-2));
    ProximalStep prox(adam, list, penalty);
    Penalties each;
    for (const Tensor& w : twins) {
      each.push_back(std::make_unique<ProximalStep<GroupLasso>>(alone, w, penalty));
    }
    int64_t launches = 0, launches_alone = 0;
    for (int t = 0; t < 12; ++t) {
      for (std::size_t i = 0; i < list.size(); ++i) {
        const Tensor g = torch::randn(list[i].sizes(), torch::kDouble);
        if (i % 3 == 0) g[0].zero_();  // dead
        list[i].mutable_grad() = there(g), twins[i].mutable_grad() = there(g);
      }
      if (t == 5) list[7].mutable_grad() = twins[7].mutable_grad() = Tensor();  // stays
      {
        const simulated::AllowReads in_the_optimizer;
        adam.step(), alone.step();
      }
      launches = cost_of([&] { prox.step(); }).launches;
      launches_alone = cost_of([&] {
                         for (const auto& step : each) step->step();
                       }).launches;
    }
    int64_t zeros = 0, others = 0;
    for (std::size_t i = 0; i < list.size(); ++i) {
      CAPTURE(i);
      REQUIRE(torch::allclose(here(list[i]), here(twins[i]), 1e-12, 1e-15));
      REQUIRE(torch::equal(here(list[i]) == 0, here(twins[i]) == 0));
      zeros += (here(list[i]) == 0).sum().item<int64_t>();
      others += (here(list[i]) != 0).sum().item<int64_t>();
    }
    CAPTURE(zeros, others);
    REQUIRE((!is_stacked || (zeros > 0 && others > 0)));
    REQUIRE((launches * 2 < launches_alone) == is_stacked);
    REQUIRE(here(penalty(list)).item<double>() == Approx([&] {
              double sum = 0;
              for (const Tensor& w : twins) sum += here(penalty(w)).item<double>();
              return sum;
            }()));
    const auto slopes = torch::autograd::grad({penalty(list)}, list);
    for (std::size_t i = 0; i < list.size(); ++i) {
      const Tensor expected = torch::autograd::grad({penalty(twins[i])}, {twins[i]})[0];
      REQUIRE(torch::allclose(here(slopes[i]), here(expected), 1e-12, 1e-12));
    }
  };
  check(GroupLasso(0.3), {{8, 8}, {5, 8}, {8, 3}}, true);
  check(GroupLasso(0.6, columns()), {{8, 8}, {8, 3}}, true);
  check(GroupLasso(0.6, kernels()), {{4, 3, 3, 3}, {2, 5, 3, 3}}, true);
  check(GroupLasso(0.3, rows().weighted(torch::rand({8}) + 1)), {{8, 8}}, false);
  check(GroupLasso(2, by(torch::tensor({0, 1, 1, -1, 0, 2, 2, 2}))), {{8}}, false);
}

TEST_CASE("Device: a thousand tensors of 16 KiB are one batch of a prox_, and two of a term") {
  const auto list = parameters(1000, {64, 64});
  REQUIRE(cost_of([&] { L1(1e-3).prox_(list, 0.1); }).launches <= 12);
  REQUIRE(cost_of([&] { torch::autograd::grad({L1(1)(list)}, list); }).launches <= 26);
}

TEST_CASE("Device: temporaries of penalties of entries are thrice the tensor at most") {
  constexpr double kLargest = 32 << 20, kMost = 3 * kLargest;
  std::printf("%-44s%10s%10s%10s\n", "device: MiB beside a tensor of 32", "prox_", "after Adam",
              "gradient");
  const auto check = [&](const char* name, const auto& penalty) {
    CAPTURE(name);
    const auto list = parameters(1, {1 << 11, 1 << 12});
    optim::Adam adam(list, optim::AdamOptions(1e-3));
    ProximalStep prox(adam, list, penalty);
    double most_of_step = 0;
    for (int t = 0; t < 2; ++t) {  // the first makes the memory, which is none
      fill_gradients(list);
      {
        const simulated::AllowReads in_the_optimizer;
        adam.step();
      }
      most_of_step = cost_of([&] { prox.step(); }).bytes;
    }
    const double of_prox = cost_of([&] { penalty.prox_(list, 0.1); }).bytes;
    REQUIRE(of_prox <= kMost);
    REQUIRE(most_of_step <= kMost);
    double of_gradient = 0;
    using Formula = std::decay_t<decltype(penalty.formula())>;
    if constexpr (torchreg::detail::HasSlope<Formula>::value &&
                  !torchreg::detail::is_constraint<Formula>) {
      of_gradient = cost_of([&] { torch::autograd::grad({penalty(list)}, list); }).bytes - kLargest;
      REQUIRE(of_gradient <= kMost);
    }
    std::printf("%-44s%10.0f%10.0f%10.0f\n", name, of_prox / (1 << 20), most_of_step / (1 << 20),
                of_gradient / (1 << 20));
  };
  check("L1", L1(0.1));
  check("L2", torchreg::L2(0.1));
  check("ElasticNet", ElasticNet(0.1, 0.1));
  check("MCP", MCP(0.1));
  check("SCAD", SCAD(0.1));
  check("LogSum", LogSum(0.1, 0.1));
  check("LHalf", LHalf(0.1));
  check("L0", L0(0.1));
  check("Box", Box(-1, 1));
  check("NonNegative(L1)", NonNegative(L1(0.1)));
  check("a user's, by value and prox", Penalty(SquareByValue()));
}

TEST_CASE("Device: a step of groups on a large tensor takes few launches, beside its own memory") {
  const auto cost = [](const auto& penalty, int64_t rows) {
    const auto list = parameters(1, {rows, 1 << 12});
    optim::SGD sgd(list, optim::SGDOptions(1e-3).momentum(0.9));
    ProximalStep prox(sgd, list, penalty);
    Cost last{};
    for (int t = 0; t < 2; ++t) {
      fill_gradients(list);
      {
        const simulated::AllowReads in_the_optimizer;
        sgd.step();
      }
      last = cost_of([&] { prox.step(); });
    }
    return last;
  };
  for (const int64_t rows : {1 << 10, 1 << 11}) {
    CAPTURE(rows);
    const Cost of_lasso = cost(GroupLasso(1e-3), rows), of_simplex = cost(Simplex(1), rows);
    REQUIRE(of_lasso.launches <= 2000);  // of some pieces
    REQUIRE(of_simplex.launches <= 1200);
    REQUIRE(of_lasso.bytes <= 96 << 20);
    REQUIRE(of_simplex.bytes <= 96 << 20);
  }
}

TEST_CASE("Device: launches do not grow where types or learning rates alternate") {
  for (const bool of_two_types : {false, true}) {
    CAPTURE(of_two_types);
    const auto of_adam = launches_of_alternating<optim::Adam, optim::AdamOptions>;
    const auto of_sgd = launches_of_alternating<optim::SGD, optim::SGDOptions>;
    REQUIRE(of_adam(60, of_two_types) == of_adam(6, of_two_types));
    REQUIRE(of_sgd(60, of_two_types) == of_sgd(6, of_two_types));
  }
}

TEST_CASE("Device: a step that runs out of memory is taken once, however often it is repeated") {
  constexpr int64_t kEnough = std::numeric_limits<int64_t>::max();
  // Each call has a little more room than the last one, until one succeeds, or `most` have failed.
  const auto run = [](auto make, const auto& penalty, int most) {
    torch::manual_seed(0);
    const auto list = parameters(3, {40, 50});
    const auto optimizer = make(list);
    ProximalStep prox(*optimizer, list, penalty);
    int failures = 0;
    for (int step = 0; step < 2; ++step) {
      for (const Tensor& w : list) w.mutable_grad() = there(torch::randn({40, 50}));
      optimizer->step();
      int64_t room = simulated::counts().bytes;
      for (bool is_done = false; !is_done; room += 4000) {
        simulated::counts().room = failures < most ? room : kEnough;
        const auto text = error_of([&] { prox.step(); });
        simulated::counts().room = kEnough;
        is_done = text.empty();
        failures += is_done ? 0 : 1;
        REQUIRE((is_done || contains(text, "out of memory")));
      }
    }
    REQUIRE((failures > 4 || failures == most));
    return list;
  };
  const auto check = [&](const auto& make, const auto& penalty, int most) {
    const auto expected = run(make, penalty, 0), list = run(make, penalty, most);
    for (std::size_t i = 0; i < list.size(); ++i) {
      REQUIRE(same_bits(here(list[i]), here(expected[i])));
    }
  };
  const auto adam = [](const auto& list) { return std::make_unique<optim::Adam>(list, 0.1); };
  check(adam, L1(0.3), 1000);
  check(adam, GroupLasso(0.3), 1000);
  // Plain SGD leaves no trace of its step: there is none to repeat once a tensor is written.
  const auto sgd = [](const auto& list) { return std::make_unique<optim::SGD>(list, 0.1); };
  check(sgd, L1(0.3), 1);
}

TEST_CASE("Device: joined tensors need not lie in memory as their gradients do") {
  torch::manual_seed(5);
  std::vector<Tensor> list, gradients;
  for (int i = 0; i < 4; ++i) {
    list.push_back(there(torch::randn({3, 5}).t()).requires_grad_());
    REQUIRE(list.back().stride(0) == 1);
    gradients.push_back(torch::randn({5, 3}));
    list.back().mutable_grad() = there(gradients.back());
  }
  L1(0.5).add_gradient_(list);
  for (std::size_t i = 0; i < list.size(); ++i) {
    REQUIRE(same_bits(here(list[i].grad()), gradients[i] + 0.5 * here(list[i]).sign()));
  }
}

TEST_CASE("Device: sparsity() waits once, whatever it counts") {
  const auto waits = [](const std::vector<Tensor>& list) {
    const simulated::AllowReads once;
    simulated::reset();
    sparsity(list);
    return simulated::counts().by_name["copy_"];
  };
  REQUIRE(waits(parameters(1, {8, 8})) == 1);
  REQUIRE(waits(parameters(20, {8, 8})) == 1);
}

TEST_CASE(
    "Device: add_gradient_ adds what the term adds, without a wait, and launches do not grow") {
  const auto cost = [](int64_t count) {
    torch::manual_seed(4);
    const auto list = parameters(count, {40}), twins = parameters(count, {40});
    for (int64_t i = 0; i < count; ++i) {
      const auto k = static_cast<std::size_t>(i);
      twins[k].detach().copy_(list[k].detach());
    }
    fill_gradients(list);
    for (std::size_t i = 0; i < list.size(); ++i) twins[i].mutable_grad() = list[i].grad().clone();
    const ElasticNet net = ElasticNet(0.5, 0.25).scaled_by(2);
    const Tensor term = net(twins);
    term.backward();
    Tensor value;
    const Cost of_call = cost_of([&] { value = net.add_gradient_(list); });
    for (std::size_t i = 0; i < list.size(); ++i) {
      REQUIRE(same_bits(here(list[i].grad()), here(twins[i].grad())));
    }
    REQUIRE(torch::allclose(here(value), here(term.detach())));
    return of_call.launches;
  };
  REQUIRE(cost(1000) <= 25);
  REQUIRE(cost(1000) == cost(10));
}

TEST_CASE("Device: the certificate, lambda_max, supports and targets are the CPU's") {
  torch::manual_seed(6);
  Tensor w = torch::randn({300, 200}).masked_fill_(torch::rand({300, 200}) < 0.5, 0);
  const Tensor g = torch::randn({300, 200}), factors = torch::rand({200});
  const Tensor a = w.clone().requires_grad_(), b = there(w).requires_grad_();
  a.mutable_grad() = g.clone(), b.mutable_grad() = there(g);
  const simulated::AllowReads by_these_calls;
  const auto near = [](double x, double y) { return std::abs(x - y) <= 1e-5 * std::abs(y); };
  const ElasticNet net = ElasticNet(0.5, 0.25).scaled_by([&](const Parameter&) { return factors; });
  const Stationarity here_it_is = stationarity(a, net), there_it_is = stationarity(b, net);
  REQUIRE(near(there_it_is.largest, here_it_is.largest));
  REQUIRE(near(there_it_is.norm, here_it_is.norm));
  REQUIRE(near(there_it_is.tensors[0].largest_at_zeros, here_it_is.tensors[0].largest_at_zeros));
  REQUIRE(near(lambda_max(b, net), lambda_max(a, net)));
  REQUIRE(Support(b).nonzeros() == Support(a).nonzeros());
  REQUIRE(Support(a).changes(Support(b)) == 0);

  optim::SGD sgd({b}, optim::SGDOptions(0.1));
  ProximalStep prox(sgd, b, L1(1));
  ProximalStep refit(sgd, b, FixedSupport(Support(b)));
  TargetSparsity target(prox, 0.5);
  REQUIRE(near(target.zeros(), sparsity(a).fraction()));
  sgd.step();
  refit.step();
  REQUIRE(torch::equal(here(b) == 0, w == 0));
}
