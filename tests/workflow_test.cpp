// From lambda to a model with zeros: add_gradient_, lambda_max, stationarity, Support and
// FixedSupport, TargetSparsity.
#include <torchreg/torchreg.hpp>

#include <algorithm>
#include <cmath>
#include <limits>

#include "support.hpp"

using namespace torchreg;
using support::contains;
using support::error_of;
using support::row;
using support::same_bits;
using support::Tensor;
namespace optim = torch::optim;

namespace {

/// A leaf with this gradient.
Tensor leaf(const Tensor& w, const Tensor& gradient) {
  Tensor result = w.detach().clone().requires_grad_();
  result.mutable_grad() = gradient.to(w.scalar_type()).clone();
  return result;
}

auto constant(const Tensor& factors) {
  return [factors](const Parameter&) { return factors; };
}

/// MCP with the value alone, differentiated by autograd, and its prox for steps below gamma.
struct Mcp {
  double lambda, gamma;
  Tensor value(const Tensor& w) const {
    const Tensor a = w.abs(), flat = torch::full_like(a, 0.5 * gamma * lambda * lambda);
    return torch::where(a > gamma * lambda, flat, lambda * a - a.square() / (2 * gamma));
  }
  Tensor prox(const Tensor& w, const Tensor& step) const {
    const Tensor inner = shrink(w, Tensor(lambda * step)) / (1 - step / gamma);
    return torch::where(w.abs() > gamma * lambda, w, inner);
  }
};

/// Between -1 and 1: a constraint.
struct Between {
  Tensor prox(const Tensor& w, const Tensor& /*step*/) const { return w.clamp(-1, 1); }
};

/// sum |w| where w >= 0.
struct Rectified {
  Tensor prox(const Tensor& w, const Tensor& step) const { return (w - step).clamp_min(0); }
};

/// lambda times the norm of a whole tensor.
struct Norm {
  static constexpr bool is_separable = false;
  double lambda;
  Tensor value(const Tensor& w) const { return lambda * w.norm(); }
  Tensor slope(const Tensor& w) const {
    const Tensor norm = w.norm();
    return torch::where(norm > 0, lambda * w / norm, torch::zeros_like(w));
  }
  Tensor prox(const Tensor& w, const Tensor& step) const {
    return w * (1 - step * lambda / w.norm()).clamp_min(0);
  }
};

struct LearnedLambda {
  Tensor lambda;
  Tensor value(const Tensor& w) const { return lambda * w.abs(); }
  Tensor slope(const Tensor& w) const { return lambda * w.sign(); }
};

/// The largest |g| that the distance of -g to the subdifferential is, by hand.
double farthest(const Tensor& distance) { return distance.abs().max().item<double>(); }

bool near(double a, double b) { return std::abs(a - b) <= 1e-6 * std::max(1.0, std::abs(b)); }

/// y = 2 x_0 - x_1 with noise, by a linear layer without a bias.
struct Regression {
  Tensor x, y;
  torch::nn::Linear model{torch::nn::LinearOptions(10, 1).bias(false)};

  Regression() {
    torch::manual_seed(5);
    model->to(torch::kDouble);
    x = torch::randn({100, 10}, torch::kDouble);
    y = 2 * x.narrow(1, 0, 1) - x.narrow(1, 1, 1) + 0.1 * torch::randn({100, 1}, torch::kDouble);
  }
  void backward() {
    model->zero_grad();
    (0.5 * torch::mse_loss(model->forward(x), y)).backward();
  }
};

}  // namespace

TEST_CASE(
    "add_gradient_: adds what backward() of the term adds, to the bit, and returns its value") {
  torch::manual_seed(0);
  const auto check = [](const auto& penalty, const Tensor& w) {
    for (const bool has_gradient : {false, true}) {
      const auto parameter = [&] {
        Tensor copy = w.detach().clone().requires_grad_();
        if (has_gradient) copy.mutable_grad() = (3 * w.detach()).clone();
        return copy;
      };
      const Tensor a = parameter(), b = parameter();
      const Tensor term = penalty(a);
      term.backward();
      const Tensor value = penalty.add_gradient_(b);
      REQUIRE(same_bits(a.grad(), b.grad()));
      REQUIRE(torch::allclose(value, term.detach()));
      REQUIRE(value.scalar_type() == term.scalar_type());
      REQUIRE_FALSE(value.requires_grad());
      REQUIRE(same_bits(a, b));
    }
  };
  for (const auto type : {torch::kDouble, torch::kFloat, torch::kHalf, torch::kBFloat16}) {
    for (const Tensor& w :
         {torch::randn({7, 13}), torch::randn({70'001}), torch::randn({12, 20}).slice(1, 3, 15, 2),
          torch::zeros({0, 3}), torch::randn({}), torch::zeros({5})}) {
      CAPTURE(type, w.sizes());
      check(L1(0.7), w.to(type));
      check(ElasticNet(0.7, 0.3).scaled_by(2), w.to(type));
      check(L2(0.3).scaled_by(constant(torch::full({}, 0.5).expand(w.sizes()))), w.to(type));
    }
  }
  check(Penalty(Mcp{1, 3}), torch::randn({50}));
  check(Penalty(Norm{2}), torch::randn({5, 4}));
}

TEST_CASE("add_gradient_: a module's selected parameters, and tensors that require none") {
  support::Net net, twin;
  for (std::size_t i = 0; i < 4; ++i) {
    twin->parameters()[i].detach().copy_(net->parameters()[i].detach());
  }
  const Tensor value = L1(0.5).add_gradient_(net), term = L1(0.5)(twin);
  term.backward();
  REQUIRE(torch::equal(value, term.detach()));
  REQUIRE(torch::equal(net->fc1->weight.grad(), twin->fc1->weight.grad()));
  REQUIRE_FALSE(net->fc1->bias.grad().defined());

  const Tensor fixed = torch::ones({3}), free = torch::ones({3}).requires_grad_();
  REQUIRE(L1(1).add_gradient_({fixed, free}).item<double>() == 6);
  REQUIRE_FALSE(fixed.grad().defined());
  REQUIRE(torch::equal(free.grad(), torch::ones({3})));
  const Tensor still = torch::ones({2, 4}), moving = torch::ones({1, 4}).requires_grad_();
  REQUIRE(GroupLasso(1).add_gradient_({still, moving}).item<double>() == Approx(12));
  REQUIRE_FALSE(still.grad().defined());
  REQUIRE(torch::allclose(moving.grad(), torch::ones({1, 4})));
}

TEST_CASE("add_gradient_: refuses what has no gradient of its own, and changes nothing") {
  const Tensor w = torch::ones({3}).requires_grad_(), activation = 2 * w;
  REQUIRE(contains(error_of([&] {
                     L1(1).add_gradient_({w, activation});
                   }),
                   "L1: add_gradient_: \"tensor 1\" is the result of other tensors"));
  REQUIRE_FALSE(w.grad().defined());
  const Tensor rows = torch::ones({3, 2}).requires_grad_();
  rows.mutable_grad() = torch::ones({3, 2}).to_sparse();
  REQUIRE(contains(error_of([&] { L1(1).add_gradient_(rows); }),
                   "L1: add_gradient_: the gradient of \"tensor 0\" is Sparse"));
}

TEST_CASE("add_gradient_: a tensor of the formula that requires a gradient is refused") {
  const Tensor w = torch::ones({3}).requires_grad_(), lambda = torch::ones({}).requires_grad_();
  REQUIRE(contains(error_of([&] { Penalty(LearnedLambda{lambda}).add_gradient_(w); }),
                   "add_gradient_: a tensor in the formula requires a gradient"));
  REQUIRE_FALSE(w.grad().defined());
  REQUIRE(Penalty(LearnedLambda{lambda.detach()}).add_gradient_(w).item<double>() == 3);
  REQUIRE(torch::equal(w.grad(), torch::ones({3})));
}

TEST_CASE("stationarity: the closed forms, in every dtype and layout, with factors") {
  torch::manual_seed(1);
  for (const auto type : {torch::kDouble, torch::kFloat, torch::kHalf}) {
    Tensor w = torch::randn({30, 2100}, torch::kDouble).to(type);
    w.masked_fill_(torch::rand(w.sizes()) < 0.5, 0);
    const Tensor g = torch::randn(w.sizes(), torch::kDouble).to(type);
    const Tensor x = w.to(torch::kDouble), gd = g.to(torch::kDouble), none = torch::zeros_like(x);
    const Tensor factors = torch::tensor({0.0, 0.5, 2.0}).repeat({700}).to(torch::kDouble);
    const auto closed = [&](const Tensor& l1, double l2) {
      const Tensor at_zero = (gd.abs() - l1).clamp_min(0);
      return torch::where(x == 0, at_zero, (gd + l1 * x.sign() + l2 * x).abs());
    };
    const auto check = [&](const Stationarity& s, const Tensor& expected) {
      CAPTURE(type);
      REQUIRE(s.tensors.size() == 1);
      REQUIRE(near(s.largest, farthest(expected)));
      REQUIRE(near(s.norm, expected.norm().item<double>()));
      REQUIRE(near(s.tensors[0].largest_at_zeros, farthest(torch::where(x == 0, expected, none))));
      REQUIRE(s.tensors[0].largest == s.largest);
    };
    const Tensor one = torch::full({}, 0.7, torch::kDouble);
    check(stationarity(leaf(w, g), L1(0.7)), closed(one, 0));
    check(stationarity(leaf(w, g), L1(0.35).scaled_by(2)), closed(one, 0));
    check(stationarity(leaf(w, g), ElasticNet(0.7, 0.4)), closed(one, 0.4));
    check(stationarity(leaf(w, g), L2(0.4)), closed(none, 0.4));
    check(stationarity(leaf(w, g), ElasticNet(0.7, 0).scaled_by(constant(factors))),
          closed(0.7 * factors, 0));
    const Tensor strided = w.t().requires_grad_();
    strided.mutable_grad() = g.t();
    check(stationarity(strided, L1(0.7)), closed(one, 0));
  }
}

TEST_CASE("stationarity: a constraint on floats is at its solution where the gradient leaves it") {
  const auto largest = [](const auto& constraint, double gradient) {
    torch::manual_seed(4);
    const Tensor w = torch::randn({3, 5}).abs() + 1;
    constraint.prox_(w, 1);
    const Tensor outward = -w / w.norm();
    w.requires_grad_();
    w.mutable_grad() = gradient == 0 ? outward : torch::full({3, 5}, gradient);
    return stationarity(w, constraint).largest;
  };
  REQUIRE(largest(Box(-0.3, 0.3), -1) < 1e-3);
  REQUIRE(largest(NonNegative(), 1) > 0.9);  // of entries inside
  REQUIRE(largest(L2Ball(1.3, whole()), 0) < 1e-3);
  REQUIRE(largest(L1Ball(1.3, rows()), -1) < 1e-3);
  REQUIRE(largest(L1Ball(0.1, rows()), -1) < 1e-3);
  REQUIRE(largest(Simplex(1, rows()), -1) < 1e-3);
}

TEST_CASE("stationarity: MinSparsity keeps what it keeps of the weights as they move") {
  const double largest =
      stationarity(leaf(row({3, 2, 0, 0}), row({0, 0.5, 7, -3})), MinSparsity(0.5)).largest;
  REQUIRE(near(largest, 0.5));
  // With room for one more, the steepest entry at zero counts alone.
  REQUIRE(
      near(stationarity(leaf(row({3, 0, 0, 0}), row({0, 2, 1, -1})), MinSparsity(0.5)).norm, 2));
  const std::vector<Tensor> both{leaf(row({3, 0}), row({0, 5})),
                                 leaf(row({-2, 0}), row({-0.25, 9}))};
  REQUIRE(near(stationarity(both, MinSparsity(0.5)).norm, 0.25));
  REQUIRE(near(stationarity(both, MinSparsity(0.5)).largest, 0.25));
}

TEST_CASE("stationarity: padding of shorter groups takes nothing, and entries in no group count") {
  const auto groups = by(torch::tensor({0, 0, 1, 1, 1}));
  const Tensor w = leaf(row({0.5, 0.5, 0.2, 0.3, 0.5}), row({1, 1, 2, 2, 2}));
  REQUIRE(near(stationarity(w, Simplex(1, groups)).largest, 0));
  const Tensor v = leaf(row({3, 0.1, 9}), row({0, 0, 5}));
  const auto one_in_none = by(torch::tensor({0, 0, -1}));
  REQUIRE(near(stationarity(v, GroupLasso(0, one_in_none)).largest, 5));
  REQUIRE(near(stationarity(v, L2Ball(100, one_in_none)).largest, 5));
}

TEST_CASE("stationarity: a user's formula by autograd, a constraint, and one of whole tensors") {
  const Tensor w = row({0, 0, 0.5, -0.5, 5, -1, 1, 1}), g = row({0.4, 3, 1, 1, 0.25, -2, 2, -2});
  const Tensor mcp = row({0, 2, 1 + (1 - 0.5 / 3), 1 - (1 - 0.5 / 3), 0.25, 0, 0, 0});
  REQUIRE(near(stationarity(leaf(w.slice(0, 0, 5), g.slice(0, 0, 5)), Penalty(Mcp{1, 3})).norm,
               mcp.norm().item<double>()));
  const Stationarity box = stationarity(leaf(w.slice(0, 5), g.slice(0, 5)), Penalty(Between()));
  REQUIRE(near(box.norm, std::sqrt(4 + 4)));  // at -1 and 1 where -g points inward
  REQUIRE(near(box.largest, 2));
  const Stationarity inside =
      stationarity(leaf(w.slice(0, 0, 4), g.slice(0, 0, 4)), Penalty(Between()));
  REQUIRE(near(inside.largest, 3));
  REQUIRE(near(stationarity(leaf(torch::zeros({2}), row({3, 4})), Penalty(Norm{2})).norm, 3));
  REQUIRE(near(stationarity(leaf(row({3, 4}), row({-1.2, -1.6})), Penalty(Norm{2})).norm, 0));
}

TEST_CASE("stationarity: a ProximalStep's penalties on their parameters, at a solution nearly 0") {
  Regression data;
  optim::Adam adam(data.model->parameters(), optim::AdamOptions(0.01));
  ProximalStep prox(adam, data.model, L1(0.3).scaled_by(0.5));
  for (int t = 0; t < 3000; ++t) {
    if (t == 2000) support::set_lr(adam, 1e-4);
    data.backward();
    adam.step();
    prox.step();
  }
  data.backward();
  const Stationarity certificate = stationarity(prox);
  REQUIRE(certificate.largest < 1e-8);
  REQUIRE(certificate.tensors[0].path == "weight");
  REQUIRE(sparsity(data.model).zeros == 8);
  REQUIRE(near(stationarity(data.model, L1(0.25)).largest, 0.1));
  std::ostringstream table;
  table << stationarity(data.model, L1(0.25));
  REQUIRE(contains(table.str(), "path    largest"));

  support::Net net;
  optim::SGD sgd(net->parameters(), optim::SGDOptions(0.1));
  ProximalStep two(sgd, net, L1(1), L2(1, biases()));
  for (const Tensor& p : net->parameters()) p.mutable_grad() = torch::full_like(p, 5).detach();
  const Stationarity both = stationarity(two);
  REQUIRE(both.tensors.size() == 4);
  REQUIRE(both.tensors[2].path == "fc1.bias");
  REQUIRE(near(both.tensors[2].largest, farthest(5 + net->fc1->bias.detach().to(torch::kDouble))));
}

TEST_CASE("stationarity: NaN shows, empty tensors count, a missing gradient is an error") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  REQUIRE(std::isnan(stationarity(leaf(row({1, nan}), row({0, 0})), L1(1)).largest));
  const auto both = stationarity({leaf(row({nan}), row({0})), leaf(row({1}), row({7}))}, L1(1));
  REQUIRE(std::isnan(both.largest));
  REQUIRE(stationarity(leaf(torch::zeros({0}), torch::zeros({0})), L1(1)).largest == 0);
  const Tensor empty = leaf(torch::zeros({0, 3}), torch::zeros({0, 3}));
  REQUIRE(stationarity(empty, GroupLasso(1)).largest == 0);
  const Tensor full = leaf(torch::ones({2, 3}), torch::ones({2, 3}));
  REQUIRE(stationarity({empty, full}, GroupLasso(1)).tensors.size() == 2);
  const Tensor w = torch::ones({3}).requires_grad_();
  REQUIRE(contains(error_of([&] { stationarity(w, L1(1)); }),
                   "stationarity: \"tensor 0\" has no gradient; call backward() of the loss alone, "
                   "over all data, first"));
  REQUIRE(contains(error_of([&] { lambda_max(w, L1(1)); }),
                   "lambda_max: \"tensor 0\" has no gradient; call backward()"));
}

TEST_CASE("lambda_max: the closed forms") {
  const Tensor w = torch::ones({2, 3}),
               g = torch::tensor({{-3.0f, 1.0f, 2.0f}, {0.5f, 0.0f, 2.5f}});
  const auto at = [&](const auto& penalty) { return lambda_max(leaf(w, g), penalty); };
  REQUIRE(near(at(L1(1)), 3));
  const Tensor strided = torch::ones({3, 2}).requires_grad_();
  strided.mutable_grad() = g.t();
  REQUIRE(near(lambda_max(strided, L1(1)), 3));
  const Tensor none = torch::zeros({0}).requires_grad_();
  none.mutable_grad() = torch::zeros({0});
  REQUIRE(near(lambda_max({strided, none}, L1(1)), 3));
  REQUIRE(near(at(L1(1e-3)), 3000));
  REQUIRE(near(at(L1(1).scaled_by(2)), 1.5));
  REQUIRE(near(at(ElasticNet(0.5, 3)), 6));
  const Tensor group_of = torch::tensor({{0, 0, -1}, {-1, 1, 1}});
  REQUIRE(near(at(GroupLasso(1, by(group_of).unweighted())), std::sqrt(10)));
  REQUIRE(near(at(GroupLasso(1, rows().weighted(torch::tensor({1.0, 0.0})))), std::sqrt(14)));
  const Tensor half = leaf(torch::ones({2, 2}), torch::tensor({{0.0f, 0.0f}, {1.0f, 2.0f}}));
  REQUIRE(contains(error_of([&] { lambda_max(half, GroupLasso(0)); }), "makes no zeros"));
  REQUIRE(at(L0(1)) == 0);
  REQUIRE(near(at(L1(1).scaled_by(constant(row({0, 0.1, 1})))), 10));
  REQUIRE(near(at(L1(1).scaled_by(constant(torch::tensor({{100.0}, {0.1}})))), 25));
  REQUIRE(near(at(Penalty(Mcp{2, 3})), 1.5));
  REQUIRE(near(at(Penalty(Rectified())), 3));
  REQUIRE(near(lambda_max(leaf(w, -g), Penalty(Rectified())), 2.5));
  REQUIRE(near(at(Penalty(Norm{2})), g.norm().item<double>() / 2));
  REQUIRE(near(lambda_max({leaf(w, g), leaf(w, 4 * g)}, L1(1)), 12));
  REQUIRE(lambda_max(leaf(w, torch::zeros_like(g)), L1(1)) == 0);
  REQUIRE(contains(error_of([&] { at(L2(1)); }), "lambda_max: L2 makes no zeros"));
  REQUIRE(contains(error_of([&] { at(L1(0)); }), "lambda_max: L1 makes no zeros"));
  REQUIRE(contains(error_of([&] { lambda_max(leaf(w, g / 0), L1(1)); }),
                   "lambda_max: the gradient of \"tensor 0\" is not finite"));
}

TEST_CASE("lambda_max: training from zero stays there above it, and leaves below") {
  for (const double share : {1.001, 0.98}) {
    Regression data;
    data.model->weight.detach().zero_();
    data.backward();
    const double lambda = share * lambda_max(data.model, L1(1));
    optim::SGD sgd(data.model->parameters(), optim::SGDOptions(0.1));
    ProximalStep prox(sgd, data.model, L1(lambda));
    for (int t = 0; t < 200; ++t) data.backward(), sgd.step(), prox.step();
    REQUIRE(sparsity(data.model).zeros == (share > 1 ? 10 : 9));
  }
}

TEST_CASE("Support: counts, changes, masks, and what differs") {
  support::Net net;
  net->fc1->weight.detach()[0].zero_();
  const Support before(net);
  REQUIRE(before.entries() == 20);
  REQUIRE(before.nonzeros() == 17);
  REQUIRE(before.parameters().paths() == std::vector<std::string>{"fc1.weight", "fc2.weight"});
  REQUIRE(before.masks()[0].scalar_type() == torch::kBool);
  REQUIRE(torch::equal(before.masks()[0], net->fc1->weight != 0));
  net->fc1->weight.detach()[0][1] = 1;
  net->fc2->weight.detach()[0][0] = 0;
  REQUIRE(before.changes(Support(net)) == 2);
  REQUIRE(Support(net).changes(before) == 2);
  REQUIRE(before.nonzeros() == 17);
  REQUIRE(before.changes(before) == 0);
  REQUIRE(Support(row({1, 0, std::numeric_limits<double>::quiet_NaN()})).nonzeros() == 2);

  const Support one(net, named("fc1.weight"));
  const std::string only = "Support: \"fc2.weight\" is in one support only";
  REQUIRE(contains(error_of([&] { before.changes(one); }), only));
  REQUIRE(contains(error_of([&] { one.changes(before); }), only));
  net->fc2->weight.set_data(torch::ones({3, 4}));
  REQUIRE(contains(error_of([&] { before.changes(Support(net)); }),
                   "Support: \"fc2.weight\" has changed its shape"));
}

TEST_CASE("FixedSupport: zeros stay, all else trains freely, after every optimizer") {
  for (const auto& [name, make, is] : support::optimizer_cases()) {
    for (const auto type : {torch::kDouble, torch::kFloat, torch::kBFloat16}) {
      CAPTURE(name, type);
      torch::manual_seed(0);
      const Tensor start = torch::randn({6, 5}, torch::kDouble).to(type);
      start.masked_fill_(torch::rand({6, 5}) < 0.5, 0);
      const Tensor held = start.clone().requires_grad_(), free = start.clone().requires_grad_();
      const auto optimizer = make({held, free}, 0.01);
      ProximalStep refit(*optimizer, held, FixedSupport(Support(held)));
      for (int t = 0; t < 5; ++t) {
        const Tensor gradient = torch::randn({6, 5}).to(type);
        held.mutable_grad() = gradient.clone(), free.mutable_grad() = gradient.clone();
        optimizer->step();
        refit.step();
      }
      REQUIRE(same_bits(held, torch::where(start == 0, start, free.detach())));
      REQUIRE_FALSE(support::memory_of(refit).defined());
    }
  }
}

TEST_CASE("FixedSupport: follows dtype, selects the support's tensors, and names others") {
  support::Net net;
  net->fc1->weight.detach()[0].zero_();
  net->fc1->bias.detach().zero_();
  optim::SGD sgd(net->parameters(), optim::SGDOptions(0.1));
  const Support held(net);
  ProximalStep refit(sgd, net, FixedSupport(held));
  REQUIRE(refit.parameters().paths() == held.parameters().paths());
  support::train(net, sgd, refit);
  net->to(torch::kDouble);
  for (const Tensor& p : net->parameters()) p.mutable_grad() = torch::ones_like(p).detach();
  sgd.step();
  refit.step();
  REQUIRE(sparsity(net).tensors[0].zeros == 3);
  REQUIRE(sparsity(net).tensors[1].zeros == 0);
  REQUIRE(held.changes(Support(net)) == 0);
  REQUIRE(contains(error_of([&] { ProximalStep(sgd, net->fc1->bias, FixedSupport(held)); }),
                   "FixedSupport: \"tensor 0\" is not in the support"));
  for (const Tensor& p : net->parameters()) p.mutable_grad() = torch::ones_like(p).detach();
  REQUIRE(near(stationarity(refit).tensors[0].norm, 3));  // 9 of the 12 are free
}

TEST_CASE("FixedSupport: the zeros of a model that is loaded are known") {
  support::Net net, loaded;
  net->fc2->weight.detach()[1].zero_();
  support::load(loaded, support::saved(net));
  REQUIRE(Support(net).changes(Support(loaded)) == 0);
  REQUIRE(Support(loaded).nonzeros() == 16);
}

TEST_CASE("TargetSparsity: one look moves the strength by the rule, within its bounds") {
  const auto after = [](const Tensor& w, double target, double gain) {
    const Tensor leaf = w.clone().requires_grad_();
    optim::SGD sgd({leaf}, optim::SGDOptions(0.1));
    ProximalStep prox(sgd, leaf, L1(1).scaled_by(3));
    TargetSparsity control(prox, target);
    control.options().every(2).gain(gain);
    control.step();
    REQUIRE(control.factor() == 1);
    control.step();
    REQUIRE(near(prox.penalty()(row({1})).item<double>(), 3 * control.factor()));
    return control.factor();
  };
  const Tensor w = row({0, 1, 2, 3});  // a quarter of zeros: log-odds -log 3
  REQUIRE(near(after(w, 0.5, 0.25), std::exp(0.25 * std::log(3.0))));
  REQUIRE(near(after(w, 0.1, 0.25), std::exp(0.25 * (std::log(3.0) - std::log(9.0)))));
  REQUIRE(near(after(w, 0.5, 10), std::exp(0.5)));
  REQUIRE(near(after(w, 0.1, 10), std::exp(-0.5)));
  REQUIRE(near(after(w, 0.25, 0.25), 1));
  REQUIRE(near(after(row({1, 2, 3, 4}), 0.5, 0.25), std::exp(0.25 * std::log(3.0))));
  REQUIRE(near(after(torch::zeros({4}), 0.5, 0.25), std::exp(-0.25 * std::log(3.0))));
}

TEST_CASE("TargetSparsity: the strength stays within 1e-4 and 1e4 of its start") {
  for (const double target : {0.01, 0.99}) {
    const Tensor w = (target > 0.5 ? torch::ones({9}) : torch::zeros({9})).requires_grad_();
    optim::SGD sgd({w}, optim::SGDOptions(0.1));
    ProximalStep prox(sgd, w, L1(1));
    TargetSparsity control(prox, target);
    control.options().every(1).gain(5);
    for (int t = 0; t < 40; ++t) control.step();
    REQUIRE(near(control.factor(), target > 0.5 ? 1e4 : 1e-4));
  }
}

TEST_CASE("TargetSparsity: looks, holds, and says its zeros") {
  const Tensor w = row({0, 0, 0, 1}).requires_grad_();
  optim::SGD sgd({w}, optim::SGDOptions(0.1));
  ProximalStep prox(sgd, w, L1(1));
  TargetSparsity control(prox, 0.5);
  REQUIRE(control.zeros() == 0.75);
  w.detach()[0] = 1;
  REQUIRE(control.zeros() == 0.5);
  for (int t = 0; t < 64; ++t) control.step();
  w.detach()[1] = 1;
  REQUIRE(control.zeros() == 0.5);
  control.hold();
  for (int t = 0; t < 64; ++t) control.step();
  REQUIRE(control.zeros() == 0.25);
  REQUIRE(control.factor() == 1);
}

TEST_CASE("TargetSparsity: several penalties keep their proportions; a state is saved and loaded") {
  support::Net net;
  optim::SGD sgd(net->parameters(), optim::SGDOptions(0.1));
  const auto make = [&] { return ElasticNet(0.25, 0.5).scaled_by(2); };
  ProximalStep prox(sgd, net, make(), L1(1, biases()));
  TargetSparsity control(prox, 0.9);
  control.options().every(1);
  for (int t = 0; t < 3; ++t) control.step();
  control.hold();
  REQUIRE(control.factor() > 1);
  const double factor = control.factor();

  ProximalStep resumed(sgd, net, make(), L1(1, biases()));
  TargetSparsity again(resumed, 0.9);
  again.options().every(1);
  support::load(again, support::saved(control));
  REQUIRE(again.factor() == factor);
  REQUIRE(again.zeros() == control.zeros());
  REQUIRE(near(resumed.penalty<0>()(row({1})).item<double>(), 2 * factor * 0.5));
  REQUIRE(near(resumed.penalty<1>()(row({1})).item<double>(), factor));
  again.step();
  REQUIRE(again.factor() == factor);  // it holds

  TargetSparsity other(resumed, 0.9);
  REQUIRE(contains(error_of([&] { support::load(other, support::saved(prox)); }),
                   "TargetSparsity: the archive holds no state of a TargetSparsity"));
}

TEST_CASE("TargetSparsity: a state that is loaded looks when the saved one would have") {
  const Tensor w = row({0, 1, 2, 3}).requires_grad_();
  optim::SGD sgd({w}, optim::SGDOptions(0.1));
  ProximalStep prox(sgd, w, L1(1));
  TargetSparsity control(prox, 0.5);
  for (int t = 0; t < 60; ++t) control.step();
  ProximalStep second(sgd, w, L1(1));
  TargetSparsity again(second, 0.5);
  support::load(again, support::saved(control));
  for (int t = 0; t < 4; ++t) again.step();
  REQUIRE(again.factor() > 1);
}

TEST_CASE("TargetSparsity: after a tensor has become smaller it says to construct anew") {
  const Tensor w = torch::ones({4, 3}).requires_grad_();
  optim::SGD sgd({w}, optim::SGDOptions(0.1));
  ProximalStep prox(sgd, w, GroupLasso(1));
  TargetSparsity of_rows(prox, 0.5, rows()), of_entries(prox, 0.5);
  w.set_data(torch::ones({2, 3}));
  for (TargetSparsity<ProximalStep<GroupLasso>>* target : {&of_rows, &of_entries}) {
    target->options().every(1);
    REQUIRE(error_of([&] { target->step(); }) ==
            "ProximalStep: \"tensor 0\" has changed its shape; construct anew");
    REQUIRE(!error_of([&] { target->zeros(); }).empty());
  }
}

TEST_CASE("stationarity: constraints of zeros and signs, in half types and near the boundary") {
  torch::manual_seed(3);
  const auto largest = [](const auto& penalty, const Tensor& w, const Tensor& gradient) {
    w.requires_grad_();
    w.mutable_grad() = gradient;
    return stationarity(Parameters(w), penalty).largest;
  };
  for (const auto type : {torch::kBFloat16, torch::kHalf, torch::kFloat, torch::kDouble}) {
    CAPTURE(type);
    const auto pruned = [&](const auto& penalty) {
      const Tensor w = torch::randn({64, 256}).to(type);
      penalty.prox_(w, 1);
      const Tensor gradient = torch::randn({64, 256}).to(type) * (w == 0);
      return largest(penalty, w, gradient);
    };
    REQUIRE(pruned(TopK(2, runs(4))) < 1e-6);
    REQUIRE(pruned(MinSparsity(0.5)) < 1e-6);
    REQUIRE(pruned(TopGroups(5, rows())) < 1e-6);
    const Tensor inside = torch::tensor({1.0, 0.0001}).to(type);
    REQUIRE(largest(NonNegative(), inside, torch::tensor({0, 1}).to(type)) == Approx(1));
  }
}

TEST_CASE("stationarity: NonNegative around a penalty tells that an entry is negative") {
  const auto largest = [](const auto& penalty, const std::vector<float>& values) {
    const Tensor w = torch::tensor(values).requires_grad_();
    w.mutable_grad() = torch::tensor({0.1F, -0.1F});
    return stationarity(Parameters(w), penalty).largest;
  };
  REQUIRE(largest(NonNegative(L1(0.1)), {-1, 1}) > 1e6);
  REQUIRE(largest(NonNegative(MCP(0.1, 3)), {-1, 1}) > 1e6);
  REQUIRE(largest(NonNegative(L1(0.1)), {0, 1}) < 1e-6);  // inside, and at its boundary
  REQUIRE(largest(NonNegative(L1(0.1)), {2, 1}) == Approx(0.2));
}

TEST_CASE("stationarity: an empty tensor among those of MinSparsity") {
  const Tensor w = torch::ones({3}).requires_grad_(), none = torch::zeros({0}).requires_grad_();
  w.mutable_grad() = torch::ones({3});
  none.mutable_grad() = torch::ones({0});
  REQUIRE(stationarity(Parameters({w, none}), MinSparsity(0.0)).largest == Approx(1));
}

TEST_CASE("TargetSparsity: errors") {
  const Tensor w = torch::ones({4}).requires_grad_();
  optim::SGD sgd({w}, optim::SGDOptions(0.1));
  ProximalStep prox(sgd, w, L1(1)), none(sgd, w, L1(0));
  ProximalStep ridge(sgd, w, L2(1));
  for (const double bad : {0.0, 1.0, -0.5, std::numeric_limits<double>::quiet_NaN()}) {
    REQUIRE(contains(error_of([&] { TargetSparsity(prox, bad); }),
                     "TargetSparsity: target must be in (0, 1), got"));
  }
  REQUIRE(
      contains(error_of([&] { TargetSparsity(ridge, 0.5); }), "TargetSparsity: L2 makes no zeros"));
  REQUIRE(
      contains(error_of([&] { TargetSparsity(none, 0.5); }), "TargetSparsity: L1 makes no zeros"));
  ProximalStep nothing(sgd, w, L0(0));
  REQUIRE(contains(error_of([&] { TargetSparsity(nothing, 0.5); }),
                   "TargetSparsity: L0 makes no zeros"));
  ProximalStep scaled(sgd, w, L1(1).scaled_by(0));
  REQUIRE(contains(error_of([&] { TargetSparsity(scaled, 0.5); }),
                   "TargetSparsity: L1 makes no zeros"));
  ProximalStep count(sgd, w, L0(1));
  TargetSparsity of_a_count(count, 0.5);
  TargetSparsity control(prox, 0.5);
  control.options().every(0);
  REQUIRE(contains(error_of([&] { control.step(); }), "TargetSparsity: every must be >= 1, got 0"));
  control.options().every(1).gain(0);
  REQUIRE(contains(error_of([&] { control.step(); }),
                   "TargetSparsity: gain must be finite and > 0, got 0"));
}

TEST_CASE("TargetSparsity: reaches its target from a lambda 100 times off, with every optimizer",
          "[theorem]") {
  // A lambda that gives about so many zeros, in this problem.
  const std::vector<std::pair<double, double>> targets{
      {0.3, 2e-5}, {0.6, 8e-5}, {0.9, 5e-4}, {0.97, 1e-3}};
  for (const auto& [name, make, is] : support::optimizer_cases()) {
    if (!is.common || is.rmsprop) continue;
    for (const auto& [target, lambda] : targets) {
      for (const double off : {0.01, 100.0}) {
        torch::manual_seed(7);
        torch::nn::Sequential net(torch::nn::Linear(50, 32), torch::nn::Tanh(),
                                  torch::nn::Linear(32, 1));
        const double lr = !is.sgd ? 1e-3 : is.momentum ? 2e-3 : 2e-2;
        const auto optimizer = make(net->parameters(), lr);
        ProximalStep prox(*optimizer, net, L1(off * lambda));
        TargetSparsity control(prox, target);
        const Tensor a = torch::zeros({50, 1});
        a.narrow(0, 0, 7).normal_();
        double error = 0;
        for (int t = 0; t < 6000; ++t) {
          const Tensor x = torch::randn({8, 50});
          const Tensor y = torch::tanh(torch::mm(x, a)) + 0.1 * torch::randn({8, 1});
          optimizer->zero_grad();
          torch::mse_loss(net->forward(x), y).backward();
          optimizer->step();
          prox.step();
          control.step();
          if (t >= 4000) error += std::abs(control.zeros() - target) / 2000;
        }
        CAPTURE(name, target, off, control.factor(), control.zeros());
        REQUIRE(error < (target > 0.8 ? 0.01 : 0.05));
      }
    }
  }
}
