// Terms of the loss, prox_, soft_threshold and sparsity.
#include <torchreg/torchreg.hpp>

#include <cmath>
#include <limits>
#include <sstream>
#include <string_view>

#include "support.hpp"

using namespace torchreg;
using support::contains;
using support::error_of;
using support::Net;
using support::same_bits;
using support::Tensor;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

struct Logarithmic {
  double lambda, eps;
  Tensor value(const Tensor& w) const { return lambda * (w.abs() / eps).log1p(); }
};

/// Half the squared norm of each row: not separable, and without a slope.
struct RowNorms {
  [[maybe_unused]] static constexpr bool is_separable = false;
  Tensor value(const Tensor& w) const {
    REQUIRE(w.dim() == 2);
    return torch::linalg_vector_norm(w, 2, at::IntArrayRef{1});
  }
};

struct Ridge {
  static constexpr const char* name = "Ridge";
  double mu;
  std::vector<std::pair<const char*, double>> strengths() const { return {{"mu", mu}}; }
  Tensor value(const Tensor& w) const { return mu * w.square(); }
};

/// A formula for lanes of which the value at 0 is not 0.
struct Offset {
  [[maybe_unused]] static constexpr bool takes_lanes = true;
  template <class Number>
  Number value(const Number& w) const {
    return 1 + 2 * w.abs();
  }
  template <class Number>
  Number slope(const Number& w) const {
    return 2 * w.sign();
  }
  template <class Number>
  Number prox(const Number& w, const Number& step) const {
    return w - w.clamp(-2 * step, 2 * step);
  }
};

Tensor gradient(const Tensor& term, const Tensor& w, bool create_graph = false) {
  return torch::autograd::grad({term}, {w}, {}, /*retain_graph=*/true, create_graph)[0];
}

}  // namespace

TEST_CASE("Penalty: the value and gradient of L1, L2 and ElasticNet are their formulas") {
  torch::manual_seed(1);
  const Tensor w = torch::randn({5, 7}, torch::kDouble).requires_grad_();
  const Tensor a = w.abs().sum(), q = w.square().sum();
  struct Case {
    Tensor term, expected;
  };
  for (const auto& [term, expected] :
       {Case{L1(0.3)(w), 0.3 * a}, Case{L2(0.3)(w), 0.15 * q},
        Case{ElasticNet(0.3, 0.2)(w), 0.3 * a + 0.1 * q},
        Case{ElasticNet::from_alpha(2, 0.25)(w), 0.5 * a + 0.75 * q}}) {
    REQUIRE(term.dim() == 0);
    REQUIRE(torch::allclose(term, expected, 1e-13, 0));
    REQUIRE(torch::allclose(gradient(term, w), gradient(expected, w), 1e-13, 0));
    const Tensor first = gradient(term, w, /*create_graph=*/true);
    const Tensor same = gradient(expected, w, /*create_graph=*/true);
    REQUIRE(torch::allclose(gradient((first * first).sum(), w), gradient((same * same).sum(), w),
                            1e-13, 0));
  }
}

TEST_CASE("Penalty: one term for a module is the sum over its selected parameters") {
  Net net;
  const Tensor expected = 0.1 * (net->fc1->weight.abs().sum() + net->fc2->weight.abs().sum());
  REQUIRE(torch::allclose(L1(0.1)(net), expected));
  REQUIRE(torch::allclose(L1(0.1)(*net), expected));
  REQUIRE(torch::allclose(L1(0.1)(net.ptr()), expected));
  REQUIRE(torch::allclose(L1(0.1)({net->fc1->weight, net->fc2->weight}), expected));
  REQUIRE(torch::allclose(L1(0.1)(select(net, weights())), expected));
  REQUIRE(torch::allclose(L1(0.1, biases())(net),
                          0.1 * (net->fc1->bias.abs().sum() + net->fc2->bias.abs().sum())));
  L1(0.1)(net).backward();
  REQUIRE(torch::allclose(net->fc1->weight.grad(), 0.1 * net->fc1->weight.sign()));
  REQUIRE_FALSE(net->fc1->bias.grad().defined());
}

TEST_CASE("Penalty: a term is one node of the graph for the whole list") {
  Net net;
  const Tensor term = L1(0.1)(net);
  REQUIRE(term.grad_fn() != nullptr);
  REQUIRE(term.grad_fn()->name() == "L1Backward");
  REQUIRE(term.grad_fn()->next_edges().size() == 2);
  for (std::size_t i = 0; i < 2; ++i) {
    REQUIRE(contains(term.grad_fn()->next_edge(i).function->name(), "AccumulateGrad"));
  }
}

TEST_CASE("Penalty: backward frees a term's tensors, and says so when it is called twice") {
  const Tensor w = torch::ones({3}).requires_grad_();
  const Tensor term = L1(0.1)(w);
  const auto uses = w.use_count();
  term.backward({}, /*retain_graph=*/true);
  term.backward();
  REQUIRE(torch::allclose(w.grad(), torch::full({3}, 0.2)));
  REQUIRE(w.use_count() == uses - 1);
  REQUIRE(contains(error_of([&] { term.backward(); }), "backward through the graph a second time"));
}

TEST_CASE("Penalty: the node of a term makes no gradients but those that are asked for") {
  const Tensor frozen = torch::ones({3}), w = torch::ones({3}).requires_grad_();
  const auto gradients = (*L1(0.1)({frozen, w}).grad_fn())({torch::ones({})});
  REQUIRE_FALSE(gradients[0].defined());
  REQUIRE(torch::allclose(gradients[1], torch::full({3}, 0.1)));
}

TEST_CASE("Penalty: a term refuses gradients in forward mode") {
  const auto level = torch::autograd::ForwardADLevel::get_next_idx();
  const Tensor w =
      torch::_make_dual(torch::ones({3}), torch::ones({3}), static_cast<int64_t>(level));
  const L1 l1(0.1);
  REQUIRE(contains(error_of([&] { l1(w); }), "L1: gradients in forward mode are not implemented"));
  torch::autograd::ForwardADLevel::release_idx(level);
}

TEST_CASE("Penalty: without a gradient mode there is no graph, and frozen tensors get none") {
  const Tensor w = torch::ones({3}), v = torch::ones({3}).requires_grad_();
  {
    torch::NoGradGuard no_grad;
    REQUIRE_FALSE(L1(1)(v).requires_grad());
    REQUIRE(L1(1)(v).item<double>() == 3);
  }
  REQUIRE_FALSE(L1(1)(w).requires_grad());
  L1(1)({w, v}).backward();
  REQUIRE_FALSE(w.grad().defined());
  REQUIRE(torch::equal(v.grad(), torch::ones({3})));
}

TEST_CASE("Penalty: the slope at a kink is 0, and finite for values at zero") {
  for (const auto type : {torch::kFloat, torch::kDouble, torch::kHalf, torch::kBFloat16}) {
    const Tensor w = torch::zeros({4}, type).requires_grad_();
    (L1(1)(w) + ElasticNet(1, 1)(w)).backward();
    REQUIRE(torch::equal(w.grad(), torch::zeros({4}, type)));
  }
}

TEST_CASE("Penalty: the proxes of formulas themselves keep 0 at a step of 0") {
  const auto stays = [](const auto& penalty) {
    const Tensor none = torch::zeros({3}), z = penalty.formula().prox(none, none);
    return torch::equal(z, none);
  };
  REQUIRE(stays(L1(1)));
  REQUIRE(stays(ElasticNet(1, 1)));
  REQUIRE(stays(torchreg::L0(1)));
  REQUIRE(stays(torchreg::LHalf(1)));
  REQUIRE(stays(torchreg::LogSum(1, 0.1)));
  REQUIRE(stays(torchreg::MCP(1)));
  REQUIRE(stays(torchreg::SCAD(1)));
}

TEST_CASE("Penalty: half types accumulate in float32, and lists promote") {
  const Tensor half = torch::full({70000}, 2.0, torch::kHalf).requires_grad_();
  const Tensor single = torch::ones({2}).requires_grad_();
  const Tensor twice = torch::ones({2}, torch::kDouble).requires_grad_();
  REQUIRE(L1(1)(half).item<double>() == 140000);  // the largest half is 65504
  REQUIRE(L1(1)(half).scalar_type() == torch::kFloat);
  REQUIRE(L1(1)({half, single}).scalar_type() == torch::kFloat);
  REQUIRE(L1(1)({half, twice}).scalar_type() == torch::kDouble);
  REQUIRE(Penalty(Logarithmic{1, 1})({half, twice}).scalar_type() == torch::kDouble);
  L1(1)({half, single, twice}).backward();
  REQUIRE(half.grad().scalar_type() == torch::kHalf);
  REQUIRE(torch::equal(half.grad(), torch::ones({70000}, torch::kHalf)));
  REQUIRE(torch::equal(twice.grad(), torch::ones({2}, torch::kDouble)));
}

TEST_CASE("Penalty: a term of many small tensors of different types is the sum of theirs") {
  torch::manual_seed(5);
  std::vector<Tensor> tensors;
  double expected = 0;
  for (int64_t i = 0; i < 60; ++i) {
    const auto type = i % 7 == 3 ? torch::kHalf : i % 2 == 0 ? torch::kBFloat16 : torch::kFloat;
    tensors.push_back(torch::randn({i, 40}).to(type).t());
    expected += tensors.back().abs().sum(torch::kDouble).item<double>();
  }
  REQUIRE(L1(1)(tensors).item<double>() == Approx(expected));
}

TEST_CASE("Penalty: a user's formula needs no more than value") {
  torch::manual_seed(2);
  const Tensor w = torch::randn({3, 4}, torch::kDouble).requires_grad_();
  const Tensor term = Penalty(Logarithmic{0.5, 0.1}, named("fc1.weight"))(w);
  REQUIRE(torch::allclose(term, 0.5 * (w.abs() / 0.1).log1p().sum()));
  REQUIRE(torch::allclose(gradient(term, w), 0.5 * w.sign() / (w.abs() + 0.1)));
  const Tensor rows = Penalty(RowNorms{})(w);
  REQUIRE(torch::allclose(rows, w.square().sum(1).sqrt().sum()));
}

TEST_CASE("Penalty: a user's formula for lanes gives the same for every number of entries") {
  torch::manual_seed(4);
  for (const auto type : {torch::kFloat, torch::kDouble}) {
    for (int64_t n = 0; n < 80; ++n) {
      CAPTURE(n, type);
      const Penalty offset(Offset{});
      const Tensor w = torch::randn({n}, type).requires_grad_();
      const Tensor expected = soft_threshold(w.detach(), 0.5);
      const Tensor term = offset(w);
      REQUIRE(torch::allclose(term, 1.0 * n + 2 * w.abs().sum()));
      REQUIRE(same_bits(gradient(term, w), 2 * w.sign()));
      offset.prox_(w, 0.25);
      REQUIRE(same_bits(w, expected));
    }
  }
}

TEST_CASE(
    "Penalty: a schedule writes to the formula, and a bad strength is found at the next use") {
  const Tensor w = torch::ones({3}).requires_grad_();
  L1 l1(0.5);
  const Tensor before = l1(w);
  l1.formula().lambda = 2;
  REQUIRE(l1(w).item<double>() == 6);
  before.backward();
  REQUIRE(torch::equal(w.grad(), torch::full({3}, 0.5)));  // of the lambda it was made with
  l1.formula().lambda = -1;
  REQUIRE(error_of([&] { l1(w); }) == "L1: lambda must be finite and >= 0, got -1");
  REQUIRE(error_of([&] { l1.prox_(w, 1); }) == "L1: lambda must be finite and >= 0, got -1");
}

TEST_CASE("Penalty: errors say who, what was required and what came") {
  REQUIRE(error_of([] { L1(-0.01); }) == "L1: lambda must be finite and >= 0, got -0.01");
  REQUIRE(contains(error_of([] { L2 l2(kNaN); }), "L2: lambda must be finite and >= 0, got nan"));
  REQUIRE(contains(error_of([] { L2 l2(kInf); }), "L2: lambda must be finite and >= 0, got inf"));
  REQUIRE(error_of([] { ElasticNet(-1, 0); }) == "ElasticNet: l1 must be finite and >= 0, got -1");
  REQUIRE(error_of([] { ElasticNet(0, -1); }) == "ElasticNet: l2 must be finite and >= 0, got -1");
  REQUIRE(contains(error_of([] { ElasticNet::from_alpha(1, 1.5); }),
                   "ElasticNet: l1_ratio must be in [0, 1], got 1.5"));
  REQUIRE(
      contains(error_of([] { ElasticNet::from_alpha(1, kNaN); }), "l1_ratio must be in [0, 1]"));
  REQUIRE(contains(error_of([] { ElasticNet::from_alpha(-1, 0.5); }), "ElasticNet: alpha must be"));
  REQUIRE(error_of([] {
            L1(1)(Tensor());
          }) == "L1: \"tensor 0\" is undefined (a layer without a bias?)");
  REQUIRE(error_of([] {
            L1(1)(torch::ones({2}, torch::kLong));
          }) == "L1: \"tensor 0\" is Long; a floating-point tensor is required");
  REQUIRE(contains(error_of([] {
                     L1(1)
                     (std::vector<Tensor>{});
                   }),
                   "L1: the list of tensors is empty"));
  REQUIRE(contains(error_of([] { L1(1).prox_(torch::ones({2}), -1); }),
                   "L1: step must be finite and >= 0, got -1"));
  REQUIRE(contains(error_of([] {
                     L1(1).prox_(torch::ones({2}), torch::tensor({1.0, kNaN}));
                   }),
                   "L1: step must be finite and >= 0"));
}

TEST_CASE("Penalty: a formula may name itself and the strengths to be checked") {
  REQUIRE(error_of([] { Penalty ridge(Ridge{-1}); }) ==
          "Ridge: mu must be finite and >= 0, got -1");
  REQUIRE(error_of([] { Penalty(Ridge{1})(Tensor()); }) ==
          "Ridge: \"tensor 0\" is undefined (a layer without a bias?)");
}

TEST_CASE("Penalty: a failed prox_ changes nothing") {
  const Tensor w = torch::ones({2}), ids = torch::ones({2}, torch::kLong);
  REQUIRE(contains(error_of([&] { L1(0.5).prox_({w, ids}, 1); }), "L1: \"tensor 1\" is Long"));
  const Tensor expanded = torch::ones({1}).expand({3});
  REQUIRE(contains(error_of([&] {
                     L1(0.5).prox_({w, expanded}, 1);
                   }),
                   "L1: \"tensor 1\" is expanded"));
  REQUIRE(torch::equal(w, torch::ones({2})));
}

TEST_CASE("prox_: thresholds, shrinks, and gives true zeros") {
  const auto stepped = [](const auto& penalty, double step) {
    const Tensor w = torch::tensor({-3.0, -0.5, -0.0, 0.0, 0.5, 1.0, 3.0}, torch::kDouble);
    const Tensor strided = torch::stack({w, w}, 1).select(1, 0);
    for (const Tensor& tensor : {w, strided}) {
      penalty.prox_(tensor, step);
      REQUIRE(support::negative_zeros(tensor) == 0);
    }
    REQUIRE(torch::equal(w, strided));
    return w;
  };
  const auto expect = [](std::vector<double> x) { return torch::tensor(x, torch::kDouble); };
  REQUIRE(torch::equal(stepped(L1(2), 0.5), expect({-2, 0, 0, 0, 0, 0, 2})));
  REQUIRE(torch::equal(stepped(L2(2), 0.5), expect({-1.5, -0.25, 0, 0, 0.25, 0.5, 1.5})));
  REQUIRE(torch::equal(stepped(ElasticNet(2, 2), 0.5), expect({-1, 0, 0, 0, 0, 0, 1})));
  REQUIRE(torch::equal(stepped(L1(0), 1), stepped(L1(1), 0)));
  REQUIRE(torch::equal(stepped(L1(0), 1), expect({-3, -0.5, 0, 0, 0.5, 1, 3})));
}

TEST_CASE("prox_: of a module steps what the selector selects") {
  Net net;
  const Tensor weight = net->fc1->weight.detach().clone(), bias = net->fc1->bias.detach().clone();
  L1(1).prox_(net, 0.1);
  REQUIRE(same_bits(net->fc1->weight.detach(), soft_threshold(weight, 0.1)));
  REQUIRE(same_bits(net->fc1->bias.detach(), bias));
}

TEST_CASE("prox_: a tensor of steps broadcasts, and belongs to one tensor") {
  const Tensor w = torch::ones({2, 3});
  L1(1).prox_(w, torch::tensor({0.25, 0.5, 2.0}));
  REQUIRE(torch::equal(w, torch::tensor({0.75, 0.5, 0.0}).expand({2, 3})));
  L1(1).prox_(w, torch::tensor(0.25));
  REQUIRE(torch::equal(w, torch::tensor({0.5, 0.25, 0.0}).expand({2, 3})));
  REQUIRE(contains(error_of([&] {
                     L1(1).prox_({w, torch::ones({2})}, torch::ones({3}));
                   }),
                   "L1: a tensor of steps is for one tensor, got 2"));
}

TEST_CASE("prox_: NaN and infinities are kept, whatever the formula makes of them") {
  struct Forgetful {
    Tensor prox(const Tensor& w, const Tensor& step) const {
      return torch::where(w.abs() > step, w, torch::zeros_like(w));  // NaN becomes 0
    }
  };
  const Tensor x = torch::tensor({kNaN, kInf, -kInf, 1.0});
  const auto kept = [&](const auto& penalty) {
    const Tensor w = x.clone();
    penalty.prox_(w, 0.5);
    return torch::equal(w.isnan(), x.isnan()) && torch::equal(w.isinf(), x.isinf());
  };
  REQUIRE(kept(L1(1)));
  REQUIRE(kept(L2(1)));
  REQUIRE(kept(ElasticNet(1, 1)));
  REQUIRE(kept(Penalty(Forgetful{})));
}

TEST_CASE("prox_: pieces, layouts and threads make no difference") {
  torch::manual_seed(3);
  const auto reference = [](const Tensor& w) { return soft_threshold(w, 0.5); };
  const Tensor large = torch::randn({3, 70001});
  const std::vector<Tensor> layouts = {
      large,
      large.t(),
      torch::randn({400, 300}).slice(1, 0, 200),
      torch::randn({2, 100001}).slice(1, 0, 100000),
      torch::randn({2, 8, 60, 70}).contiguous(torch::MemoryFormat::ChannelsLast),
      torch::randn({}),
      torch::randn({0, 3}),
  };
  for (const Tensor& w : layouts) {
    const Tensor expected = reference(w);
    CAPTURE(w.sizes(), w.strides());
    REQUIRE(torch::allclose(L1(0.1)(w), 0.1 * w.abs().sum(torch::kDouble).to(torch::kFloat)));
    L1(1).prox_(w, 0.5);
    REQUIRE(same_bits(w, expected));
  }
  const int threads = at::get_num_threads();
  for (const Tensor& x : {torch::randn({300001}), torch::randn({2, 300001}).slice(1, 1)}) {
    std::vector<Tensor> values, results;
    for (const int count : {1, 2, 8}) {
      at::set_num_threads(count);
      values.push_back(L1(0.3)(x));
      results.push_back(x.clone());
      ElasticNet(1, 1).prox_(results.back(), 0.1);
    }
    at::set_num_threads(threads);
    for (std::size_t i = 1; i < values.size(); ++i) {
      REQUIRE(same_bits(values[0], values[i]));
      REQUIRE(same_bits(results[0], results[i]));
    }
  }
}

TEST_CASE("prox_: a piece has no more entries than it may, however long a row is") {
  for (const Tensor& w :
       {torch::ones({2, 10001}).slice(1, 1), torch::ones({3, 70, 2, 501}).slice(2, 1)}) {
    int64_t entries = 0;
    torchreg::detail::Operands<Tensor> tensors;
    tensors.w = w;
    torchreg::detail::for_each_piece(tensors, 100, [&](const auto& piece) {
      REQUIRE(piece.w.numel() <= 100);
      entries += piece.w.numel();
    });
    REQUIRE(entries == w.numel());
  }
}

#if __has_include(<ATen/ops/_lazy_clone.h>)
TEST_CASE("Penalty: a lazy copy of a large tensor is read and written on threads") {
  const Tensor w = torch::ones({1 << 18});
  const int threads = at::get_num_threads();
  at::set_num_threads(2);
  REQUIRE(L1(1)(torch::_lazy_clone(w)).item<double>() == 1 << 18);
  const Tensor copy = torch::_lazy_clone(w);
  L1(1).prox_(copy, 0.25);
  at::set_num_threads(threads);
  REQUIRE((copy == 0.75).all().item<bool>());
  REQUIRE((w == 1).all().item<bool>());
}
#endif

TEST_CASE("Penalty: a sum that float cannot hold is infinite") {
  const Tensor w = torch::full({1}, 3e38, torch::kFloat);
  REQUIRE(L1(1)({w, w.clone()}).item<double>() == kInf);
}

TEST_CASE("prox_: a user's may return another dtype than it gets") {
  struct InFloat {
    Tensor prox(const Tensor& w, const Tensor& step) const { return (w - step).to(torch::kFloat); }
  };
  const Tensor w = torch::ones({3});
  Penalty(InFloat{}).prox_(w, 0.25);
  REQUIRE((w == 0.75).all().item<bool>());
}

TEST_CASE("prox_: half types are computed in float32 and rounded once") {
  for (const auto type : {torch::kHalf, torch::kBFloat16}) {
    const Tensor w = torch::randn({1000}).to(type);
    const Tensor expected = soft_threshold(w.to(torch::kFloat), 0.1).to(type) + 0.0;
    REQUIRE(same_bits(soft_threshold(w, 0.1), expected));
    L1(1).prox_(w, 0.1);
    REQUIRE(same_bits(w, expected));
    const Tensor tiny = torch::tensor({-1.0f, 1.0f}).to(type);
    L2(1e38).prox_(tiny, 1e38);  // underflows
    REQUIRE(torch::equal(tiny, torch::zeros({2}, type)));
    REQUIRE(support::negative_zeros(tiny.to(torch::kFloat)) == 0);
  }
}

TEST_CASE("In place: a backward through a graph that is older than the prox throws") {
  for (const auto type : {torch::kFloat, torch::kBFloat16}) {
    const Tensor w = torch::ones({3}, type).requires_grad_();
    const Tensor term = L1(1)(w) + (w * w).sum();
    L1(1).prox_(w, 0.1);
    REQUIRE_THROWS_AS(term.backward(), c10::Error);
  }
}

TEST_CASE("soft_threshold: by a number and by a tensor, out of place and in place") {
  const Tensor w = torch::tensor({-2.0, -0.5, 0.5, 2.0});
  REQUIRE(torch::equal(soft_threshold(w, 1), torch::tensor({-1.0, 0.0, 0.0, 1.0})));
  REQUIRE(torch::equal(soft_threshold(w, torch::tensor({0.0, 1.0, 0.25, 3.0})),
                       torch::tensor({-2.0, 0.0, 0.25, 0.0})));
  const Tensor v = w.clone().requires_grad_();
  soft_threshold_(v, 1.0);
  REQUIRE(torch::equal(v.detach(), torch::tensor({-1.0, 0.0, 0.0, 1.0})));
  soft_threshold_(v, torch::full({4}, 0.5));
  REQUIRE(torch::equal(v.detach(), torch::tensor({-0.5, 0.0, 0.0, 0.5})));
  REQUIRE(support::negative_zeros(soft_threshold(torch::tensor({-0.0, -0.5}), 0.0)) == 0);
  REQUIRE(contains(error_of([&] { soft_threshold(w, -1.0); }), "soft_threshold: t must be finite"));
  REQUIRE(contains(error_of([&] { soft_threshold(w, torch::tensor({-1.0f})); }),
                   "soft_threshold: t must be finite"));
  REQUIRE(contains(error_of([&] { soft_threshold(torch::arange(3), 1.0); }),
                   "soft_threshold: \"tensor 0\" is Long"));
  REQUIRE(contains(error_of([&] { soft_threshold(Tensor(), 1.0); }), "is undefined"));
  REQUIRE(contains(error_of([&] {
                     soft_threshold(w, torch::ones({3, 1}));
                   }),
                   "soft_threshold: t of shape [3, 1] does not broadcast to \"tensor 0\""));
  const Tensor x = torch::tensor({-2.0, 0.5}).requires_grad_();
  REQUIRE(torch::equal(gradient(soft_threshold(x, 1.0).sum(), x), torch::tensor({1.0, 0.0})));
}

TEST_CASE("sparsity: counts exact zeros, rows, columns, filters and what is not finite") {
  Net net;
  {
    torch::NoGradGuard no_grad;
    net->fc1->weight.fill_(1);
    net->fc1->weight[1].fill_(0);
    net->fc1->weight.select(1, 2).fill_(-0.0);
    net->fc1->weight[0][0] = 1e-30;
    net->fc2->weight.fill_(kNaN);
    net->fc2->bias.fill_(0);
    net->fc1->bias.fill_(1);
  }
  const Sparsity counted = sparsity(net);
  REQUIRE(counted.tensors.size() == 4);
  REQUIRE(counted.tensors[0].path == "fc1.weight");
  REQUIRE(counted.tensors[0].zeros == 6);
  REQUIRE(counted.tensors[0].zero_rows == 1);
  REQUIRE(counted.tensors[0].zero_columns == 1);
  REQUIRE(counted.tensors[2].nonfinite == 8);
  REQUIRE(counted.zeros == 8);
  REQUIRE(counted.entries == 26);
  REQUIRE(counted.fraction() == 8.0 / 26);
  std::ostringstream printed;
  printed << counted;
  REQUIRE(contains(printed.str(), "fc1.weight      6       12   50.00     1        1        0"));
  REQUIRE(contains(printed.str(), "total           8       26   30.77"));

  const Tensor filters = torch::ones({3, 2, 2, 2});
  filters[2].fill_(0);
  REQUIRE(sparsity(filters).tensors[0].zero_filters == 1);
  REQUIRE(sparsity(torch::ones({0, 3})).fraction() == 0);
  REQUIRE(contains(error_of([] { sparsity(Tensor()); }), "sparsity: \"tensor 0\" is undefined"));
}

TEST_CASE("sparsity: one pass over an array counts what LibTorch's operations count") {
  torch::manual_seed(56);
  const std::vector<std::vector<int64_t>> shapes = {{},        {1},          {1003}, {1100000},
                                                    {40, 19},  {19, 40},     {7, 1}, {1, 7},
                                                    {6, 5, 3}, {5, 4, 3, 3}, {3, 0}, {2, 0, 4}};
  for (const auto type : {torch::kFloat, torch::kDouble}) {
    for (const auto& shape : shapes) {
      Tensor w = torch::randn(shape, type);
      w.masked_fill_(torch::rand(shape) < 0.6, -0.0);
      w.masked_fill_(torch::rand(shape) < 0.05, kNaN).masked_fill_(torch::rand(shape) < 0.05, kInf);
      if (w.dim() > 1) w.slice(0, 0, 2).fill_(0);
      if (w.dim() == 2) w.slice(1, 3, 9).fill_(0);
      if (w.dim() == 2 && w.size(1) > 4) w[0][4] = kNaN;  // that column is not zero
      const Tensor sliced = torch::stack({w, w}, -1).select(-1, 0);
      std::ostringstream of_array, of_operations;
      of_array << sparsity(w);
      of_operations << sparsity(sliced);
      REQUIRE(of_array.str() == of_operations.str());
    }
  }
}

TEST_CASE("prox_: no strength leaves every bit, of log sums and singular values too") {
  torch::manual_seed(57);
  for (const auto type : {torch::kFloat, torch::kDouble}) {
    Tensor w = torch::randn({40, 30}, type);
    w[0].mul_(1e-9);
    const Tensor x = w.clone();
    LogSum(0, 0.3).prox_(w, 0.01);
    Nuclear(0).prox_(w, 0.01);
    REQUIRE(same_bits(w, x));
  }
}

TEST_CASE("prox_: of LogSum solves its condition where entries are far smaller than eps") {
  for (const double eps : {1.0, 10.0}) {
    for (const double size : {1e-3, 1e-5}) {
      const double lambda = 0.1 * size * eps;
      const Tensor w = torch::full({1}, size);
      LogSum(lambda, eps).prox_(w, 1);
      const double z = w.item<double>(), x = torch::full({1}, size).item<double>();
      REQUIRE(std::abs(z - x + lambda / (z + eps)) < 1e-6 * x);
    }
  }
}

TEST_CASE("prox_: of MCP and SCAD makes nothing longer, in steps a rounding below gamma too") {
  const auto proxed = [](const auto& penalty, const Tensor& x, double step) {
    Tensor z = x.clone();
    penalty.prox_(z, step);
    return z;
  };
  for (const auto type : {torch::kFloat, torch::kDouble}) {
    const double unit = type == torch::kFloat ? std::ldexp(1.0, -24) : std::ldexp(1.0, -53);
    for (const auto& [lambda, gamma] : {std::pair{1.0, 2.0}, {0.1, 3.0}, {1e-3, 0.5}, {0.7, 3.3}}) {
      const Tensor near = 1 + unit * torch::arange(-8, 9, torch::kDouble);
      const Tensor all = lambda * torch::cat({gamma * near, (gamma + 1) * near,
                                              torch::linspace(0, 9, 10001, torch::kDouble)});
      const Tensor x = all.to(type), strided = torch::stack({x, x}, 1).select(1, 0);
      for (const double step :
           {gamma * (1 - unit), gamma * (1 - 2 * unit), gamma, 0.9999 * gamma}) {
        for (const Tensor& w : {x, strided}) {
          REQUIRE((proxed(MCP(lambda, gamma), w, step) <= w).all().item<bool>());
          if (gamma <= 1) continue;
          REQUIRE((proxed(SCAD(lambda, gamma + 1), w, step) <= w).all().item<bool>());
        }
      }
    }
  }
}

TEST_CASE("Penalty: a factor in front of a term is in its gradient") {
  for (const auto type : {torch::kFloat, torch::kBFloat16}) {
    const Tensor w = torch::ones({3}, type).requires_grad_();
    (3 * L1(0.5)(w)).backward();
    REQUIRE(torch::equal(w.grad(), torch::full({3}, 1.5, type)));
  }
}

TEST_CASE("Penalty: no piece of a half tensor overflows in its sum") {
  REQUIRE(L1(1)(torch::full({70000}, 16.0, torch::kHalf)).item<double>() == 1120000);
}

TEST_CASE("soft_threshold: NaN stays NaN, and infinities stay infinite") {
  const Tensor w = torch::tensor({kNaN, kInf, -kInf});
  for (const double t : {0.0, 1.0}) {
    const Tensor z = soft_threshold(w, t);
    REQUIRE(torch::equal(z.isnan(), w.isnan()));
    REQUIRE(torch::equal(z.slice(0, 1), w.slice(0, 1)));
  }
}

TEST_CASE("sparsity: rows are w[i, :] and columns are w[:, j]") {
  const Tensor w = torch::ones({3, 4});
  w[0].fill_(0);
  w[2].fill_(0);
  REQUIRE(sparsity(w).tensors[0].zero_rows == 2);
  REQUIRE(sparsity(w).tensors[0].zero_columns == 0);
}

TEST_CASE(
    "sparsity: counts frozen parameters too, and leaves out what has no floating-point type") {
  struct FrozenImpl : torch::nn::Module {
    FrozenImpl() {
      register_parameter("a", torch::zeros({2, 3}), /*requires_grad=*/false);
      register_parameter("b", torch::ones({2}));
      register_parameter("ids", torch::zeros({2}, torch::kLong), /*requires_grad=*/false);
    }
  };
  FrozenImpl frozen;
  const Sparsity in_part = sparsity(frozen);
  REQUIRE(in_part.entries == 8);
  REQUIRE(in_part.zeros == 6);
  REQUIRE(in_part.tensors.size() == 2);
  for (Tensor& p : frozen.parameters()) p.set_requires_grad(false);
  REQUIRE(sparsity(frozen).zeros == 6);
  const torch::nn::Module empty;
  REQUIRE(contains(error_of([&] { sparsity(empty); }), "select: the module has no parameters"));
}

namespace {

/// A strength for each entry of a vector, on faces that do not see that w is a column.
struct Broadcast {
  Tensor lambda;
  Tensor value(const Tensor& w) const { return lambda * w.abs(); }
  Tensor prox(const Tensor& w, const Tensor& step) const {
    return soft_threshold(w, step) * lambda;
  }
};
struct BroadcastSlope {
  [[maybe_unused]] static constexpr const char* name = "BroadcastSlope";
  Tensor value(const Tensor& w) const { return w.abs(); }
  Tensor slope(const Tensor& w) const { return w.sign().unsqueeze(0); }
};
struct Mean {
  Tensor value(const Tensor& w) const { return w.abs().mean(); }
  Tensor slope(const Tensor& w) const { return w.sign() / w.numel(); }
  Tensor prox(const Tensor& w, const Tensor&) const { return w.mean(); }
};
struct Named {
  [[maybe_unused]] static constexpr std::string_view name = "Named";
  Tensor prox(const Tensor& w, const Tensor&) const { return w.mean(); }
};
struct Undefined {
  Tensor value(const Tensor&) const { return {}; }
};

}  // namespace

TEST_CASE("Penalty: a formula's result of another shape is an error, and changes nothing") {
  for (const auto type : {torch::kDouble, torch::kFloat, torch::kBFloat16}) {
    const Tensor column = torch::full({4, 1}, 2, type).requires_grad_();
    const Penalty broadcast(Broadcast{torch::ones({4}, type)});
    REQUIRE(contains(error_of([&] { broadcast(column); }),
                     "Penalty: value returned [4, 4] for \"tensor 0\" of shape [4, 1]"));
    REQUIRE(contains(error_of([&] { broadcast.prox_(column, 0.1); }),
                     "Penalty: prox returned [4, 4] for \"tensor 0\" of shape [4, 1]"));
    const Tensor term = Penalty(BroadcastSlope{})(column);
    REQUIRE(contains(error_of([&] { term.backward(); }),
                     "BroadcastSlope: slope returned [1, 4, 1] for \"tensor 0\" of shape [4, 1]"));
    REQUIRE(contains(error_of([&] { Penalty(Mean{})(column); }),
                     "Penalty: value returned [] for \"tensor 0\" of shape [4, 1]"));
    REQUIRE(contains(error_of([&] { Penalty(Mean{}).prox_(column, 0.1); }),
                     "Penalty: prox returned [] for \"tensor 0\" of shape [4, 1]"));
    REQUIRE(contains(error_of([&] { Penalty(Undefined{})(column); }),
                     "Penalty: value returned nothing for \"tensor 0\""));
    REQUIRE((column == 2).all().item<bool>());
  }
  Net net;
  REQUIRE(contains(error_of([&] { Penalty(Mean{}, named("fc1.weight"))(net); }),
                   "Penalty: value returned [] for \"fc1.weight\" of shape [4, 3]"));
  REQUIRE(contains(error_of([&] { Penalty(Mean{})(net); }),
                   "Penalty: value returned [] for \"fc1.weight\" of shape [4, 3]"));
  REQUIRE(contains(error_of([&] { Penalty(Mean{}).prox_(net, 0.1); }),
                   "Penalty: prox returned [] for \"fc1.weight\" of shape [4, 3]"));
  const Tensor number = torch::tensor(2.0);
  REQUIRE(Penalty(Mean{})(number).item<double>() == 2);  // its own shape
}

TEST_CASE("Penalty: memory that is not aligned to its type is read as it lies") {
  std::vector<char> bytes(sizeof(float) * 101 + 1);
  std::vector<float> numbers(101, 2);
  std::memcpy(bytes.data() + 1, numbers.data(), sizeof(float) * numbers.size());
  const Tensor w = torch::from_blob(bytes.data() + 1, {101}, torch::kFloat);
  REQUIRE(L1(1)(w).item<double>() == 202);
  L1(1).prox_(w, 0.5);
  std::memcpy(numbers.data(), bytes.data() + 1, sizeof(float) * numbers.size());
  for (const float number : numbers) REQUIRE(number == 1.5F);
}

TEST_CASE("Penalty: a step or a threshold of another shape is an error that shows both") {
  const Tensor w = torch::ones({3, 2}), five = torch::ones({5});
  REQUIRE(error_of([&] { L1(1).prox_(w, five); }) ==
          "L1: step of shape [5] does not broadcast to \"tensor 0\" of shape [3, 2]");
  REQUIRE(error_of([&] { soft_threshold(w, five); }) ==
          "soft_threshold: t of shape [5] does not broadcast to \"tensor 0\" of shape [3, 2]");
  L1(1).prox_(w, torch::full({2}, 0.5));
  REQUIRE((w == 0.5).all().item<bool>());
}

TEST_CASE("Penalty: an error of a large tensor is that of its whole shape, which users know") {
  struct Short {
    Tensor prox(const Tensor& w, const Tensor&) const { return w.slice(0, 0, 5); }
  };
  const Tensor w = torch::ones({100, 1000});
  REQUIRE(contains(error_of([&] { Penalty(Short{}).prox_(w, 0.1); }),
                   "Penalty: prox returned [5, 1000] for \"tensor 0\" of shape [100, 1000]"));
  REQUIRE((w == 1).all().item<bool>());
}

TEST_CASE("Penalty: a formula's name may be any static text; a member of that name is none") {
  struct Viewed {
    static constexpr std::string_view name() { return "unused"; }
    Tensor prox(const Tensor& w, const Tensor&) const { return w.mean(); }
  };
  struct Member {
    std::string name = "mine";
    Tensor prox(const Tensor& w, const Tensor&) const { return w.mean(); }
  };
  const Tensor w = torch::ones({2});
  REQUIRE(contains(error_of([&] { Penalty(Named{}).prox_(w, 1); }), "Named: prox returned []"));
  REQUIRE(contains(error_of([&] { Penalty(Viewed{}).prox_(w, 1); }), "Penalty: prox returned []"));
  REQUIRE(contains(error_of([&] { Penalty(Member{}).prox_(w, 1); }), "Penalty: prox returned []"));
}

TEST_CASE("Tables and errors: paths in UTF-8 are aligned, control characters are written out") {
  torchreg::detail::Table table({"path", "n"});
  table.row({"größe", "1"});
  table.row({"a\nb\x01", "22"});
  REQUIRE(table.str() ==
          "path       n\n"
          "größe      1\n"
          "a\\nb\\001  22\n");
  torchreg::detail::Table wide({"path", "n"});
  wide.row({"重み", "1"});  // two columns each, in a terminal
  wide.row({"e\u0301te", "2"});
  wide.row({"\U0001f600", "3"});
  REQUIRE(wide.str() ==
          "path  n\n"
          "重み  1\n"
          "e\u0301te   2\n"
          "\U0001f600    3\n");
  REQUIRE(torchreg::detail::literal("a\"\x1b[0m") == "\"a\\\"\\033[0m\"");
  REQUIRE(torchreg::detail::literal("\xc2\x85\xc2\xa0\xe2\x82\x85") ==
          "\"\\302\\205\xc2\xa0\xe2\x82\x85\"");
}

TEST_CASE("Nuclear: the second derivative is finite where singular values are equal, and right") {
  const auto second = [](const Tensor& at, const Tensor& direction) {
    const Tensor w = at.clone().requires_grad_();
    const Tensor first = torch::autograd::grad({Nuclear(0.7)(w)}, {w}, {}, true, true)[0];
    return torch::autograd::grad({(first * direction).sum()}, {w})[0];
  };
  const auto first = [](const Tensor& at) {
    const Tensor w = at.clone().requires_grad_();
    return torch::autograd::grad({Nuclear(0.7)(w)}, {w})[0];
  };
  torch::manual_seed(4);
  const auto kDouble = torch::kDouble;
  const Tensor orthogonal = std::get<0>(torch::linalg_qr(torch::randn({4, 3}, kDouble)));
  for (const Tensor& at : {torch::eye(3, kDouble), torch::randn({4, 3}, kDouble), orthogonal,
                           torch::randn({2, 5}, kDouble), torch::randn({3, 2, 2}, kDouble)}) {
    const Tensor direction = torch::randn_like(at), other = torch::randn_like(at);
    const double step = 1e-5;
    const Tensor change = (first(at + step * other) - first(at - step * other)) / (2 * step);
    REQUIRE((second(at, direction) * other).sum().item<double>() ==
            Approx((change * direction).sum().item<double>()).epsilon(1e-6).margin(1e-8));
  }
  for (const Tensor& at : {torch::zeros({3, 3}, kDouble), torch::eye(4, 3, kDouble),
                           torch::diag(torch::tensor({2.0, 0.0, 0.0}, kDouble))}) {
    REQUIRE(second(at, torch::ones_like(at)).isfinite().all().item<bool>());
  }
}

TEST_CASE("LogSum leaves weights whose squares are beyond the type") {
  for (const double large : {1e18, 1.9e19, 1e38}) {
    const Tensor w = torch::full({2}, large, torch::kFloat);
    LogSum(1e-3, 0.1).prox_(w, 0.1);
    REQUIRE(torch::equal(w, torch::full({2}, large, torch::kFloat)));
  }
}

TEST_CASE("sparsity: of tensors of all kinds, in one table") {
  const Tensor filters = torch::zeros({3, 2, 2}), number = torch::zeros({}),
               none = torch::ones({0, 2});
  const Tensor matrix = torch::tensor({{0.0, 1.0}, {0.0, std::nan("")}});
  const Sparsity counted =
      sparsity({filters, number, none, matrix, torch::zeros({2}, torch::kHalf)});
  REQUIRE(counted.tensors[0].zero_filters == 3);
  REQUIRE(counted.tensors[0].zero_columns == 0);
  REQUIRE(counted.tensors[1].zeros == 1);
  REQUIRE(counted.tensors[2].entries == 0);
  REQUIRE(counted.tensors[3].zeros == 2);
  REQUIRE(counted.tensors[3].zero_rows == 0);
  REQUIRE(counted.tensors[3].zero_columns == 1);
  REQUIRE(counted.tensors[3].nonfinite == 1);
  REQUIRE(counted.tensors[4].zeros == 2);
  REQUIRE(counted.zeros == 17);
}

TEST_CASE("Penalty: a term with strengths of the tensors' own shape does for several small ones") {
  struct Weighted {
    Tensor lambda;  // of shape [2, 2], which no joined tensor has
    Tensor value(const Tensor& w) const { return lambda * w.abs(); }
    Tensor slope(const Tensor& w) const { return lambda * w.sign(); }
  };
  const Tensor a = torch::ones({2, 2}).requires_grad_(), b = (2 * torch::ones({2, 2}));
  const Penalty weighted(Weighted{torch::tensor({{0.1F, 0.2F}, {0.3F, 0.4F}})});
  const Tensor term = weighted({a, b});
  REQUIRE(term.item<double>() == Approx(3.0));
  term.backward();
  REQUIRE(torch::equal(a.grad(), weighted.formula().lambda));
}

TEST_CASE("Penalties under strengths beyond the type make zeros, in registers and without") {
  const auto check = [](const auto& penalty) {
    for (const auto type : {torch::kFloat, torch::kHalf, torch::kBFloat16, torch::kDouble}) {
      CAPTURE(penalty.formula().name, type);
      const Tensor w = torch::linspace(-2, 2, 8, torch::kDouble).to(type), one = w.clone();
      penalty.prox_(one, 0.5);
      REQUIRE(torch::equal(one, torch::zeros_like(w)));
      const Tensor each = w.clone(), none = w.clone();
      penalty.prox_(each, torch::full({8}, 0.5));
      penalty.prox_(none, torch::zeros({8}));
      REQUIRE(torch::equal(each, torch::zeros_like(w)));
      REQUIRE(torch::equal(none, w));
    }
  };
  for (const double lambda : {1e38, 1e300}) {
    check(L1(lambda));
    check(ElasticNet(lambda, 0.5));
    check(MCP(lambda));
    check(SCAD(lambda));
    check(L0(lambda));
    check(LHalf(lambda));
  }
}
