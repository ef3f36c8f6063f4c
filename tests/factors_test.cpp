// scaled_by: a penalty times a number, times a factor of each parameter or of each entry.
#include <torchreg/torchreg.hpp>

#include <limits>

#include "support.hpp"

using namespace torchreg;
using support::contains;
using support::error_of;
using support::row;
using support::same_bits;
using support::step_with;
using support::Tensor;
namespace optim = torch::optim;

namespace {

/// A callable that gives every parameter the same factors.
auto constant(const Tensor& factors) {
  return [factors](const Parameter&) { return factors; };
}

/// |w|, whose prox of step 0 is NaN: the engine's business. In registers too.
template <bool in_lanes>
struct Careless {
  static constexpr bool takes_lanes = in_lanes;
  template <class X>
  X value(const X& w) const {
    return w.abs();
  }
  template <class X>
  X slope(const X& w) const {
    return w.sign();
  }
  template <class X>
  X prox(const X& w, const X& step) const {
    return shrink(w, step) * (step / step);
  }
};

/// Shrinks by a quarter more than it should, at a step of 0 too.
template <bool in_lanes>
struct Eager {
  static constexpr bool takes_lanes = in_lanes;
  template <class X>
  X prox(const X& w, const X& step) const {
    return shrink(w, X(step + 0.25));
  }
};

/// The norm of a whole tensor.
struct Whole {
  static constexpr bool is_separable = false;
  Tensor value(const Tensor& x) const { return x.norm(); }
  Tensor prox(const Tensor& x, const Tensor& /*step*/) const { return x; }
};

/// Equal but for rounding, of half types at each of twenty steps.
bool close(const Tensor& a, const Tensor& b) {
  const bool is_half = a.scalar_type() == torch::kBFloat16;
  return torch::allclose(a, b, is_half ? 5e-2 : 1e-5, is_half ? 5e-2 : 1e-6);
}

/// The gradient of a term.
template <class Penalty>
Tensor slope_of(const Penalty& penalty, const Tensor& w) {
  const Tensor leaf = w.detach().clone().requires_grad_();
  penalty(leaf).backward();
  return leaf.grad();
}

template <class Penalty>
Tensor proxed(const Penalty& penalty, const Tensor& w, double step) {
  const Tensor z = w.detach().clone();
  penalty.prox_(z, step);
  return z;
}

/// The weights that `steps` steps of Adam leave, with gradients that differ from step to step and
/// entry to entry, and of which some are always 0.
template <class Penalty>
Tensor trained(const Penalty& penalty, torch::ScalarType type, int64_t memory, int steps = 20) {
  torch::manual_seed(3);
  const Tensor w = torch::randn({40, 5}, torch::kDouble).to(type).requires_grad_();
  optim::Adam adam({w}, optim::AdamOptions(0.05));
  ProximalStep prox(adam, w, penalty);
  prox.options().memory(memory);
  for (int t = 0; t < steps; ++t) {
    Tensor gradient = torch::randn({40, 5}, torch::kDouble) + torch::linspace(-2, 2, 5);
    gradient.slice(0, 0, 8).zero_();
    step_with(adam, w, gradient.to(type));
    prox.step();
  }
  return w.detach();
}

}  // namespace

TEST_CASE("scaled_by: a number is the penalty's strength, in every face") {
  torch::manual_seed(0);
  for (const auto type : {torch::kDouble, torch::kFloat, torch::kBFloat16}) {
    const Tensor w = torch::randn({3, 50}, torch::kDouble).to(type);
    const ElasticNet twice = ElasticNet(0.25, 0.5).scaled_by(2), plain(0.5, 1);
    CAPTURE(type);
    REQUIRE(torch::allclose(twice(w), plain(w)));
    REQUIRE(same_bits(slope_of(twice, w), slope_of(plain, w)));
    REQUIRE(torch::allclose(proxed(twice, w, 0.5), proxed(plain, w, 0.5)));
    for (const int64_t memory : {0, 256}) {
      REQUIRE(close(trained(twice, type, memory), trained(plain, type, memory)));
    }
  }
}

TEST_CASE("scaled_by: a factor per entry is the strength of that entry, in every face") {
  torch::manual_seed(0);
  const Tensor factors = row({0, 0.5, 1, 2, 4});
  for (const auto type : {torch::kDouble, torch::kFloat, torch::kBFloat16}) {
    CAPTURE(type);
    const Tensor w = torch::randn({40, 5}, torch::kDouble).to(type);
    L1 scaled = L1(0.25).scaled_by(constant(factors));
    const Tensor steps = trained(scaled, type, 256), textbook = trained(scaled, type, 0);
    const Tensor proxes = proxed(scaled, w, 0.5), slopes = slope_of(scaled, w);
    Tensor sum = torch::zeros({}, scaled(w).scalar_type());
    for (int64_t column = 0; column < 5; ++column) {
      const L1 plain(0.25 * factors[column].item<double>());
      const auto of_column = [&](const Tensor& x) { return x.select(1, column); };
      REQUIRE(close(of_column(steps), of_column(trained(plain, type, 256))));
      REQUIRE(close(of_column(textbook), of_column(trained(plain, type, 0))));
      REQUIRE(close(of_column(proxes), proxed(plain, of_column(w), 0.5)));
      REQUIRE(same_bits(of_column(slopes), slope_of(plain, of_column(w).contiguous())));
      sum = sum + plain(of_column(w));
    }
    REQUIRE(torch::allclose(scaled(w), sum));
  }
}

TEST_CASE("scaled_by: strided tensors take the factors that registers take, to the bit") {
  torch::manual_seed(0);
  const Tensor w = torch::randn({70'000, 2}), wide = torch::zeros({70'000, 4});
  wide.slice(1, 0, 4, 2).copy_(w);
  const Tensor strided = wide.slice(1, 0, 4, 2);
  const ElasticNet net = ElasticNet(0.5, 0.25).scaled_by(3).scaled_by(constant(torch::rand({2})));
  REQUIRE(same_bits(slope_of(net, w), slope_of(net, strided)));
  net.prox_(w, 0.3), net.prox_(strided, 0.3);
  REQUIRE(same_bits(w, strided));
}

TEST_CASE("scaled_by: a second number replaces the first, a number and a callable multiply") {
  const Tensor w = row({1, -2});
  L1 l1(1);
  REQUIRE(l1.scaled_by(5).scaled_by(2)(w).item<double>() == 6);
  REQUIRE(l1.scaled_by([](const Parameter&) { return 10.0; })(w).item<double>() == 60);
  REQUIRE(l1.scaled_by(constant(row({1, 3})))(w).item<double>() == 14);
  REQUIRE(l1.scaled_by(0.5f)(w).item<double>() == 3.5);
}

TEST_CASE("scaled_by: each parameter has its factor, also where small ones are stepped as one") {
  for (const auto type : {torch::kFloat, torch::kHalf}) {
    const Tensor a = torch::ones({3}, type), b = torch::ones({3}, type);
    L1 l1 = L1(0.5).scaled_by([](const Parameter& p) { return p.path == "tensor 0" ? 0.5 : 1; });
    REQUIRE(l1({a, b}).item<double>() == 2.25);
    l1.prox_({a, b}, 1);
    REQUIRE(torch::equal(a, torch::full({3}, 0.75, type)));
    REQUIRE(torch::equal(b, torch::full({3}, 0.5, type)));
  }
}

TEST_CASE("scaled_by: some parameters may have a number and others a factor per entry") {
  const Tensor a = row({1, -2}).requires_grad_(), b = row({3, -4}).requires_grad_();
  const L1 l1 = L1(1).scaled_by([](const Parameter& p) {
    return p.path == "tensor 0" ? torch::full({}, 10.0, torch::kDouble) : row({0, 5});
  });
  const Tensor term = l1({a, b});
  REQUIRE(term.item<double>() == 50);
  term.backward();
  REQUIRE(torch::equal(a.grad(), row({10, -10})));
  REQUIRE(torch::equal(b.grad(), row({0, -5})));
  l1.prox_({a, b}, 0.1);
  REQUIRE(torch::allclose(a, row({0, -1})));
  REQUIRE(torch::allclose(b, row({3, -3.5})));
}

TEST_CASE("scaled_by: the step asks a callable where it is made, and a number at any time") {
  int asked = 0;
  const Tensor w = torch::ones({4}).requires_grad_();
  optim::SGD sgd({w}, optim::SGDOptions(0.5));
  const auto callable = [&asked](const Parameter& parameter) {
    ++asked;
    REQUIRE(parameter.path == "tensor 0");
    return 2.0;
  };
  ProximalStep prox(sgd, w, L1(0.25).scaled_by(callable));
  REQUIRE(asked == 1);
  step_with(sgd, w, torch::zeros({4}));
  prox.step();
  REQUIRE(torch::equal(w, torch::full({4}, 0.75)));
  prox.penalty().scaled_by(2);
  step_with(sgd, w, torch::zeros({4}));
  prox.step();
  REQUIRE(torch::equal(w, torch::full({4}, 0.25)));
  REQUIRE(asked == 1);
  REQUIRE(contains(prox.describe(), "2 * factors * L1(lambda = 0.25)"));
  prox.reset();
  REQUIRE(asked == 2);
}

TEST_CASE("scaled_by: an entry whose factor is 0 is left alone, whatever the formula makes of it") {
  const Tensor start = torch::tensor({3.0f, -2.0f, 1.0f, -0.5f, 4.0f, 2.5f, 1.5f, 7.0f, 9.0f});
  const Tensor factors = torch::tensor({0.0f, 1.0f, 0.0f, 0.0f, 1.0f, 1.0f, 1.0f, 1.0f, 0.0f});
  const auto check = [&](auto formula) {
    const Tensor w = start.clone();
    Penalty(formula).scaled_by(constant(factors)).prox_(w, 0.5);
    REQUIRE(torch::equal(w, start - 0.5 * factors * start.sign()));
    const Tensor same = start.clone();
    Penalty(formula).scaled_by(0).prox_(same, 0.5);
    REQUIRE(torch::equal(same, start));
  };
  check(Careless<true>());
  check(Careless<false>());
  for (const bool in_lanes : {true, false}) {
    const Tensor w = start.clone();
    if (in_lanes) Penalty(Eager<true>()).scaled_by(0).prox_(w, 0.5);
    if (!in_lanes) Penalty(Eager<false>()).scaled_by(0).prox_(w, 0.5);
    REQUIRE(torch::equal(w, start));
  }
  const Tensor zero = torch::tensor({0.0f, -0.0f});
  L1(1).scaled_by(0).prox_(zero, 1);
  REQUIRE(support::negative_zeros(zero) == 0);
}

TEST_CASE("scaled_by: the memory is in units of the loss's gradient, under any factor") {
  const auto remembers = [](const auto& penalty, int64_t gap = 1) {
    const Tensor w = torch::zeros({3 * gap}).slice(0, 0, 3 * gap, gap).set_requires_grad(true);
    optim::SGD sgd({w}, optim::SGDOptions(0.5));
    ProximalStep prox(sgd, w, penalty);
    for (int t = 0; t < 4; ++t) {
      step_with(sgd, w, torch::tensor({1.0f, -2.0f, 3.5f}));
      prox.step();
    }
    return torch::equal(support::memory_of(prox), torch::tensor({-1.0f, 2.0f, -3.5f}));
  };
  const auto fours = constant(torch::full({3}, 4.0));
  REQUIRE(remembers(L1(1).scaled_by(4)));
  REQUIRE(remembers(L1(1).scaled_by(fours)));
  REQUIRE(remembers(L1(1).scaled_by(4), 2));
  REQUIRE(remembers(L1(1).scaled_by(fours), 2));
  REQUIRE(remembers(torchreg::MCP(1, 1000).scaled_by(4)));  // which tells no kink
  REQUIRE(remembers(torchreg::MCP(1, 1000).scaled_by(fours)));
}

TEST_CASE("scaled_by: a zero is held by the penalty with its factor, whatever one step brings") {
  const auto stays = [](const auto& penalty) {
    const Tensor w = torch::zeros({1}).requires_grad_();
    optim::SGD sgd({w}, optim::SGDOptions(0.5));
    ProximalStep prox(sgd, w, penalty);
    for (int t = 0; t < 40; ++t) step_with(sgd, w, torch::zeros({1})), prox.step();
    step_with(sgd, w, torch::full({1}, 20.0f)), prox.step();  // 2 on average
    return w.item<float>() == 0;
  };
  REQUIRE(stays(L1(1).scaled_by(4)));
  REQUIRE(stays(torchreg::MCP(1, 1000).scaled_by(4)));
  REQUIRE(!stays(L1(1)));
  REQUIRE(!stays(torchreg::MCP(1, 1000)));
}

TEST_CASE("scaled_by: a zero that is free again does not remember") {
  const Tensor w = torch::zeros({1}).requires_grad_();
  optim::SGD sgd({w}, optim::SGDOptions(1));
  ProximalStep prox(sgd, w, L1(1));
  for (int t = 0; t < 50; ++t) step_with(sgd, w, torch::zeros({1})), prox.step();
  prox.penalty().scaled_by(0);
  step_with(sgd, w, torch::full({1}, -3.0f)), prox.step();
  REQUIRE(w.item<float>() == 3);
  prox.penalty().scaled_by(1);
  step_with(sgd, w, torch::zeros({1})), prox.step();
  REQUIRE(w.item<float>() == 2);  // a memory of zeros would have held it
}

TEST_CASE("scaled_by: terms of penalties without a slope, and second derivatives") {
  const Tensor w = row({1, -2, 3}).requires_grad_(), factors = row({1, 2, 0});
  struct Square {
    Tensor value(const Tensor& x) const { return x * x; }
  };
  const Penalty square = Penalty(Square()).scaled_by(3).scaled_by(constant(factors));
  REQUIRE(square(w).item<double>() == 27);
  REQUIRE(torch::equal(slope_of(square, w), 6 * factors * w.detach()));
  const L2 l2 = L2(1).scaled_by(3).scaled_by(constant(factors));
  const auto gradient = torch::autograd::grad({l2(w)}, {w}, {}, true, true)[0];
  REQUIRE(torch::equal(gradient.detach(), 3 * factors * w.detach()));
  REQUIRE(torch::equal(torch::autograd::grad({gradient.sum()}, {w})[0], 3 * factors));
}

TEST_CASE("Factors beyond the type leave what has no strength") {
  const Tensor x = torch::tensor({1.0, -2.0, 3.0}, torch::kFloat);
  const Tensor alike = torch::ones({3}), different = torch::tensor({1e18, 1.0, 0.0}, torch::kFloat);
  for (const double step : {0.1, 1.0}) {
    const Tensor w = x.clone();
    L1(0).scaled_by(1e39).prox_(w, step);
    REQUIRE(torch::equal(w, x));
  }
  for (const Tensor& step : {torch::full({}, 1.0), alike, different}) {
    CAPTURE(step);
    const Tensor w = x.clone(), by_entry = x.clone();
    L1(0).scaled_by(1e39).prox_(w, step);
    REQUIRE(torch::equal(w, x));
    L1(0).scaled_by(constant(torch::full({3}, 1e39, torch::kDouble))).prox_(by_entry, step);
    REQUIRE(torch::equal(by_entry, x));
  }
}

TEST_CASE("reset() that finds a parameter in no group has changed nothing") {
  const Tensor a = row({1}).requires_grad_(), b = row({1}).requires_grad_();
  optim::SGD sgd({a, b}, optim::SGDOptions(0.1));
  double factor = 1;
  const std::vector<Tensor> list{a, b};
  ProximalStep prox(sgd, list, L1(1).scaled_by([&](const auto& /*parameter*/) { return factor; }));
  auto& group = sgd.param_groups()[0].params();
  group.pop_back();
  factor = 7;
  REQUIRE(contains(error_of([&] { prox.reset(); }), "is in no parameter group"));
  group.push_back(b);
  for (const Tensor& w : list) w.mutable_grad() = torch::zeros({1});
  sgd.step();
  prox.step();
  REQUIRE(b.item<float>() == Approx(0.9));
}

TEST_CASE("scaled_by: L0 takes a factor of each entry") {
  Tensor w = row({1, 1, 1});
  L0(0.1).scaled_by(constant(row({1, 20, 0}))).prox_(w, 1);
  REQUIRE(torch::equal(w, row({1, 0, 1})));
}

TEST_CASE("scaled_by: factors that are none are refused") {
  const double inf = std::numeric_limits<double>::infinity();
  const Tensor w = torch::ones({2, 3});
  for (const double bad : {-1.0, inf, std::numeric_limits<double>::quiet_NaN()}) {
    L1 l1(1);
    REQUIRE(
        contains(error_of([&] { l1.scaled_by(bad); }), "L1: factor must be finite and >= 0, got"));
    REQUIRE(l1(w).item<double>() == 6);
    REQUIRE(contains(error_of([&] { L1(1).scaled_by([&](const Parameter&) { return bad; })(w); }),
                     "L1: factor of \"tensor 0\" must be finite and >= 0, got"));
    REQUIRE(contains(error_of([&] {
                       L1(1).scaled_by(constant(row({1, bad, 1})))(w);
                     }),
                     "L1: factor of \"tensor 0\" must be finite and >= 0, got"));
  }
  const auto error = [&](const Tensor& factors) {
    return error_of([&] { L1(1).scaled_by(constant(factors)).prox_(w, 1); });
  };
  REQUIRE(contains(error(row({1, 2})),
                   "L1: factor of shape [2] does not broadcast to \"tensor 0\" of shape [2, 3]"));
  REQUIRE(contains(error(Tensor()), "L1: factor of \"tensor 0\" must be a floating-point tensor"));
  REQUIRE(contains(error(torch::ones({3}).requires_grad_()),
                   "L1: factors of \"tensor 0\" require a gradient"));
  REQUIRE(contains(error(torch::ones({}).requires_grad_()),
                   "L1: factors of \"tensor 0\" require a gradient"));
  REQUIRE(contains(error_of([] { torchreg::rows().weighted(torch::ones({2}).requires_grad_()); }),
                   "Grouping: weights require a gradient"));
  REQUIRE(torch::equal(w, torch::ones({2, 3})));
  REQUIRE(contains(error_of([&] { Penalty(Whole()).scaled_by(constant(row({1})))(w); }),
                   "Penalty: a factor per entry is for separable penalties"));
  REQUIRE(torch::allclose(Penalty(Whole()).scaled_by(2)(w), 2 * w.norm()));
}
