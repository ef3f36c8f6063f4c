// What a formula may declare, and what the engine does for it: domain, memory, strengths, data,
// entries that are no numbers, and a failure in the middle.
#include <torchreg/check_laws.hpp>
#include <torchreg/torchreg.hpp>

#include <algorithm>
#include <limits>
#include <stdexcept>

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

constexpr double kInf = std::numeric_limits<double>::infinity();

/// sum of factor |w|, with a factor per entry: by registers too.
struct Weighted {
  static constexpr const char* name = "Weighted";
  static constexpr bool takes_lanes = true;
  Tensor factors;
  int* asked = nullptr;

  Tensor data(const Parameter& parameter) const {
    if (asked != nullptr) ++*asked;
    return parameter.path == "free" ? torch::zeros({}) : factors;
  }
  template <class X>
  X value(const X& w, const X& factor) const {
    return factor * w.abs();
  }
  template <class X>
  X slope(const X& w, const X& factor) const {
    return factor * w.sign();
  }
  template <class X>
  X prox(const X& w, const X& step, const X& factor) const {
    return shrink(w, X(step * factor));
  }
};

/// The same for tensors alone, its slope by autograd.
struct WeightedByValue {
  Tensor factors;
  Tensor data(const Parameter& /*parameter*/) const { return factors; }
  Tensor value(const Tensor& w, const Tensor& factor) const { return factor * w.abs(); }
  Tensor prox(const Tensor& w, const Tensor& step, const Tensor& factor) const {
    return shrink(w, Tensor(step * factor));
  }
};

/// Keeps the largest `kept` entries of all parameters together: their threshold is its data.
struct GlobalPruning {
  int64_t kept;
  std::vector<Tensor> data(const std::vector<Tensor>& w, const std::vector<Tensor>& steps) const {
    std::vector<Tensor> flat;
    for (std::size_t i = 0; i < w.size(); ++i) {
      TORCH_CHECK(steps.empty() || steps[i].sizes() == w[i].sizes());
      flat.push_back(w[i].abs().reshape({-1}));
    }
    const Tensor threshold = std::get<0>(torch::cat(flat).topk(kept)).min();
    return std::vector<Tensor>(w.size(), threshold);
  }
  Tensor prox(const Tensor& w, const Tensor& /*step*/, const Tensor& threshold) const {
    return torch::where(w.abs() >= threshold, w, torch::zeros_like(w));
  }
};

struct Ranged {
  double a = 1, b = 2, c = 0.5;
  std::vector<Strength> strengths() const {
    return {{"a", a, above(0)}, {"b", b, at_least(2)}, {"c", c, fraction()}};
  }
  Tensor value(const Tensor& w) const { return w; }
};

/// Has a tensor of four columns, and so fits whole rows alone.
struct Columns {
  Tensor thresholds;
  Tensor value(const Tensor& w) const { return thresholds * w.abs(); }
  Tensor prox(const Tensor& w, const Tensor& step) const {
    return shrink(w, Tensor(step * thresholds).expand_as(w));
  }
};

/// Has a column of numbers, and tells how large its largest result was, or would be.
struct Rows {
  Tensor thresholds;
  int64_t* largest;
  Tensor prox(const Tensor& w, const Tensor& step) const {
    int64_t entries = 1;
    for (const int64_t size : at::infer_size(w.sizes(), thresholds.sizes())) entries *= size;
    *largest = std::max(*largest, entries);
    TORCH_CHECK(entries <= w.numel(), "too large");
    return shrink(w, Tensor(step * thresholds).expand_as(w));
  }
};

/// Throws at its n-th call, or at each one from there on.
struct Failing {
  int* calls;
  int at;
  bool forever = false;
  Tensor prox(const Tensor& w, const Tensor& /*step*/) const {
    const int call = ++*calls;
    TORCH_CHECK(forever ? call < at : call != at, "no");
    return w - 1;
  }
};

/// The same, of groups, at its second call.
struct FailingGroups {
  torchreg::Grouping grouping;
  int* calls;
  [[maybe_unused]] static constexpr bool takes_some = true;
  Tensor value(const Tensor& w) const { return w.square(); }
  Tensor prox(const Tensor& w, const Tensor& step) const {
    TORCH_CHECK(++*calls != 2, "no");
    return w - step;
  }
};

/// Makes numbers of all that is none.
struct Careless {
  [[maybe_unused]] static constexpr bool takes_lanes = true;
  template <class X>
  X prox(const X& w, const X& step) const {
    return w.clamp(X(-1 * step), step);
  }
};

/// Half way back to where the parameter was.
struct TowardStart {
  Tensor data(const Parameter& parameter) const { return parameter.tensor.detach(); }
  Tensor prox(const Tensor& w, const Tensor& /*step*/, const Tensor& start) const {
    return (w + start) / 2;
  }
};

/// Halves an entry, by way of its step: makes NaN of a step that is 0.
struct ByStep {
  [[maybe_unused]] static constexpr bool takes_lanes = true;
  template <class X>
  X value(const X& w) const {
    return 0.5 * w * w;
  }
  template <class X>
  X slope(const X& w) const {
    return w;
  }
  template <class X>
  X prox(const X& w, const X& step) const {
    return w * step / (step + step);
  }
};

/// L1, but for a factor of its slope, one of its threshold, and some of the mean step in each.
struct Lawless {
  [[maybe_unused]] static constexpr const char* name = "Lawless";
  double slope_by, reach_by, mean;
  Tensor value(const Tensor& w) const { return w.abs(); }
  Tensor slope(const Tensor& w) const { return slope_by * w.sign(); }
  Tensor prox(const Tensor& w, const Tensor& step) const {
    const Tensor reach = reach_by * (step + mean * (step.mean() - step));
    return w.sign() * (w.abs() - reach).clamp_min(0);
  }
};

/// L1 that says where its kink is.
struct WithKink {
  double lambda, said;
  Tensor value(const Tensor& w) const { return lambda * w.abs(); }
  Tensor prox(const Tensor& w, const Tensor& step) const {
    return torchreg::shrink(w, Tensor(lambda * step));
  }
  double kink() const { return said; }
};

struct Halving {
  [[maybe_unused]] static constexpr bool is_constraint = true;
  Tensor prox(const Tensor& w, const Tensor& /*step*/) const { return w / 2; }
};

/// An interval, but the nearest of it only from below.
struct Interval {
  [[maybe_unused]] static constexpr bool is_constraint = true;
  Tensor prox(const Tensor& w, const Tensor& /*step*/) const {
    return w.masked_fill(w.abs() > 1, -1);
  }
};

/// The group lasso, but for groups with an entry whose step is 0.
struct RestsTogether {
  torchreg::Grouping grouping = torchreg::rows();
  Tensor value(const Tensor& w) const { return torch::norm(w, 2, 1); }
  Tensor slope(const Tensor& w) const { return w / torch::norm(w, 2, 1, true).clamp_min(1e-300); }
  Tensor prox(const Tensor& w, const Tensor& step) const {
    const Tensor z = torchreg::detail::shrink_groups(w, step, torch::ones({}, w.options()));
    return step.dim() == 0 ? z : w.where((step == 0).any(1, true), z);
  }
};

struct TensorLambda {
  Tensor lambda;
  Tensor value(const Tensor& w) const { return lambda * w.abs(); }
  Tensor slope(const Tensor& w) const { return lambda * w.sign(); }
};

struct Rectified {
  [[maybe_unused]] static constexpr bool takes_lanes = true;
  template <class X>
  X prox(const X& w, const X& /*step*/) const {
    return w.clamp_min(0);
  }
};

struct WritesToWeights {
  Tensor prox(const Tensor& w, const Tensor& step) const { return w.sub_(step).clamp_min_(0); }
};

struct WritesToSteps {
  Tensor prox(const Tensor& w, const Tensor& step) const { return w - step.mul_(0.5); }
};

struct WritesInTerms {
  Tensor value(const Tensor& w) const { return w.abs_(); }
};

struct WritesInSlopes {
  Tensor value(const Tensor& w) const { return w.abs(); }
  Tensor slope(const Tensor& w) const { return w.sign_(); }
};

}  // namespace

TEST_CASE("Data: factors per entry, or one, are cut, laid out and cast as the parameter is") {
  torch::manual_seed(50);
  for (const auto type : {torch::kFloat, torch::kDouble, torch::kBFloat16}) {
    for (const Tensor& x : {torch::randn({300, 401}), torch::randn({401, 300}).t(),
                            torch::randn({300, 802}).slice(1, 0, 802, 2), torch::randn({3, 401})}) {
      const Tensor w = x.to(type).detach().requires_grad_();
      for (int way = 0; way < 4; ++way) {
        const bool by_value = way % 2 == 0, is_number = way < 2;
        const Tensor factors =
            is_number ? torch::rand({}, torch::kDouble) : torch::rand({401}, torch::kDouble);
        const auto wide = factors.expand_as(w).to(type == torch::kBFloat16 ? torch::kFloat : type);
        CAPTURE(type, x.sizes(), x.strides(), by_value, is_number);
        const Tensor leaf = w.detach().clone().requires_grad_();
        const auto use = [&](const auto& penalty) {
          const Tensor term = penalty(leaf);
          REQUIRE(torch::allclose(term, (wide * leaf.detach().abs()).sum(torch::kDouble).to(term),
                                  1e-4, 1e-4));
          const Tensor slope = torch::autograd::grad({term}, {leaf})[0];
          REQUIRE(torch::allclose(slope, (wide * leaf.detach().sign()).to(type)));
          penalty.prox_(leaf, 0.5);
        };
        by_value ? use(Penalty(WeightedByValue{factors})) : use(Penalty(Weighted{factors}));
        REQUIRE(torch::allclose(leaf, soft_threshold(w.detach(), 0.5 * wide), 1e-6, 1e-6));
      }
    }
  }
}

TEST_CASE("Data: one number for all entries is as an array of it, to the bit") {
  torch::manual_seed(51);
  const Tensor number = torch::rand({}, torch::kDouble);
  const auto trained = [&](bool is_number, const std::vector<Tensor>& start) {
    std::vector<Tensor> w;
    for (const Tensor& x : start) w.push_back(x.detach().clone().requires_grad_());
    optim::Adam adam(w, optim::AdamOptions(0.01));
    const Tensor alike = number.to(start[0].scalar_type());
    const Tensor own = alike.clone();
    ProximalStep prox(adam, w, Penalty(Weighted{is_number ? own : alike.expand({64}).clone()}));
    own.fill_(7);  // of no use any more
    for (int step = 0; step < 4; ++step) {
      for (const Tensor& x : w) {
        step == 0 ? void(x.mutable_grad() = torch::ones_like(x)) : void(x.grad().neg_());
      }
      adam.step();
      prox.step();
    }
    return w;
  };
  for (const auto type : {torch::kFloat, torch::kDouble, torch::kBFloat16}) {
    for (const auto& shape : std::vector<std::vector<int64_t>>{{3, 64}, {2000, 64}}) {
      std::vector<Tensor> start;
      for (int i = 0; i < 3; ++i) start.push_back(torch::randn(shape).mul_(0.05).to(type));
      start.push_back(torch::randn({5, 128}).mul_(0.05).to(type).slice(1, 0, 128, 2));
      const auto by_number = trained(true, start), by_array = trained(false, start);
      for (std::size_t i = 0; i < start.size(); ++i) {
        CAPTURE(type, shape, i);
        REQUIRE(same_bits(by_number[i], by_array[i]));
        REQUIRE((by_number[i] == 0).any().item<bool>());
      }
    }
  }
}

TEST_CASE("Data: are asked for once by a ProximalStep, again by reset(), and follow a dtype") {
  int asked = 0;
  const Tensor w = torch::ones({2, 3}).requires_grad_();
  optim::SGD sgd({w}, optim::SGDOptions(0.5));
  ProximalStep prox(sgd, w, Penalty(Weighted{row({0, 1, 4}), &asked}));
  for (int t = 0; t < 3; ++t) {
    step_with(sgd, w, torch::zeros({2, 3}));
    prox.step();
  }
  REQUIRE(asked == 1);
  REQUIRE(torch::equal(w.detach(), torch::tensor({1.0F, 0.0F, 0.0F}).expand({2, 3})));
  w.set_data(torch::ones({2, 3}, torch::kDouble));
  w.mutable_grad() = Tensor();
  step_with(sgd, w, torch::zeros({2, 3}, torch::kDouble));
  prox.step();
  REQUIRE(torch::equal(w.detach(), row({1, 0.5, 0}).expand({2, 3})));
  prox.reset();
  REQUIRE(asked == 2);
}

TEST_CASE("Data: of all parameters together are found at each step") {
  const Tensor a = row({1, -5, 2}).requires_grad_(), b = row({4, 0.5}).requires_grad_();
  optim::Adam adam({a, b}, optim::AdamOptions(1e-3));
  ProximalStep prox(adam, {a, b}, Penalty(GlobalPruning{3}));
  prox.options().memory(0);
  for (const Tensor& w : {a, b}) w.mutable_grad() = torch::zeros_like(w);
  adam.step();
  prox.step();
  REQUIRE(torch::equal(a.detach(), row({0, -5, 2})));
  REQUIRE(torch::equal(b.detach(), row({4, 0})));
  Penalty(GlobalPruning{1}).prox_({a, b}, 1);
  REQUIRE(torch::equal(a.detach(), row({0, -5, 0})));
}

TEST_CASE("Data: of all parameters are not asked for where none takes a step") {
  const Tensor w = row({1, -5, 2}).requires_grad_();
  const Penalty pruning(GlobalPruning{1});  // a sort of nothing would throw
  pruning.prox_(w, 0);
  optim::Adam adam({w}, optim::AdamOptions(1e-3));
  ProximalStep prox(adam, w, pruning);
  step_with(adam, w, row({0, 0, 0}));
  prox.step();
  REQUIRE(torch::equal(w.detach(), row({0, -5, 0})));
  prox.step();
  prox.flush();
}

TEST_CASE("Data: that are the parameter itself are those of the moment when they were asked for") {
  const Tensor w = torch::ones({3}).requires_grad_();
  optim::SGD sgd({w}, optim::SGDOptions(0.5));
  ProximalStep prox(sgd, w, Penalty(TowardStart()));
  prox.options().memory(0);
  step_with(sgd, w, torch::full({3}, 4.0F));  // to -1
  prox.step();
  REQUIRE((w == 0).all().item<bool>());  // half way back to 1
}

TEST_CASE("NaN, infinite and vanishing second moments leave entries where they are") {
  for (const bool strided : {false, true}) {
    const double other = strided ? kInf : std::nan("");  // infinite alone, and beside a NaN
    CAPTURE(strided);
    const Tensor all = torch::full({4, 2}, 2.0);
    const Tensor w = (strided ? all.select(1, 0) : all.select(1, 0).contiguous()).detach();
    w.set_requires_grad(true);
    optim::Adam adam({w}, optim::AdamOptions(0.1));
    ProximalStep prox(adam, w, Penalty(ByStep()));
    prox.options().memory(0);
    step_with(adam, w, torch::ones({4}));
    auto& state = static_cast<optim::AdamParamState&>(*adam.state().begin()->second);
    state.exp_avg_sq().copy_(torch::tensor({1.0, kInf, other, strided ? 1.0 : 0.0}));
    torch::NoGradGuard no_grad;
    w.fill_(2);
    prox.step();
    REQUIRE(w[0].item<double>() == Approx(1));
    for (int i = 1; i < 3; ++i) REQUIRE(w[i].item<double>() == 2);
    REQUIRE(w[3].item<double>() == Approx(1));  // one that never had a gradient, too
  }
}

TEST_CASE("Data: errors say of which parameter, and what to do") {
  const Tensor w = torch::ones({2, 3});
  const auto error = [&](const Tensor& factors) {
    return error_of([&] { Penalty(Weighted{factors}).prox_(w, 1); });
  };
  REQUIRE(error(torch::ones({2})) ==
          "Weighted: data of shape [2] does not broadcast to \"tensor 0\" of shape [2, 3]");
  REQUIRE(error(Tensor()) == "Weighted: data of \"tensor 0\" are undefined");
  REQUIRE(contains(error(torch::ones({3}).requires_grad_()), "require a gradient"));
  REQUIRE((w == 1).all().item<bool>());
}

TEST_CASE("Strengths: each is held to its range") {
  const auto error = [](Ranged formula) { return error_of([&] { Penalty penalty(formula); }); };
  REQUIRE(error({}).empty());
  REQUIRE(error({0, 2, 0}) == "Penalty: a must be finite and > 0, got 0");
  REQUIRE(error({1, 1.5, 0}) == "Penalty: b must be finite and >= 2, got 1.5");
  REQUIRE(error({1, 2, 1.5}) == "Penalty: c must be in [0, 1], got 1.5");
  REQUIRE(error({1, 2, std::nan("")}) == "Penalty: c must be in [0, 1], got nan");
  REQUIRE(error({kInf, 2, 0}) == "Penalty: a must be finite and > 0, got inf");
}

TEST_CASE("Strengths: a tensor that requires a gradient is refused beside a slope") {
  const Tensor w = torch::ones({3}).requires_grad_();
  const Tensor lambda = torch::ones({}).requires_grad_();
  REQUIRE(contains(error_of([&] { Penalty(TensorLambda{lambda})(w); }),
                   "a tensor in the formula requires a gradient"));
  REQUIRE(Penalty(TensorLambda{lambda.detach()})(w).item<double>() == 3);
  torch::NoGradGuard no_grad;
  REQUIRE(Penalty(TensorLambda{lambda})(w).item<double>() == 3);
}

TEST_CASE("check_laws: right formulas pass, and each law that is broken is named") {
  torch::manual_seed(2);
  const auto error = [](const auto& penalty) { return error_of([&] { check_laws(penalty); }); };
  REQUIRE(error(ElasticNet(0.3, 0.2)).empty());
  REQUIRE(error(MCP(0.5, 3)).empty());
  REQUIRE(error(GroupLasso(0.3)).empty());
  REQUIRE(error(TopK(2)).empty());
  REQUIRE(contains(error(Penalty(Lawless{2, 1, 0})), "Lawless: the slope is no derivative"));
  REQUIRE(
      contains(error(Penalty(Lawless{1, 0.9, 0})), "with one step for all entries the prox of"));
  REQUIRE(contains(error(Penalty(Lawless{1, 1, 0.1})), "with a step of each entry the prox of"));
  REQUIRE(
      contains(error(Penalty(Lawless{std::nan(""), 1, 0})), "Lawless: the slope is not finite"));
  REQUIRE(contains(error(Penalty(Halving())), "the prox of its own result is another"));
  REQUIRE(contains(error(Penalty(Interval())), "with one step for all entries the prox of"));
  REQUIRE(contains(error(Penalty(RestsTogether())), "with steps of which some are 0 the prox of"));
  for (const double kink : {0.299, 0.301, -0.3}) {
    REQUIRE(contains(error(Penalty(WithKink{0.3, kink})), "where the prox has another"));
  }
  REQUIRE(error(Penalty(WithKink{0.3, 0.3})).empty());
  REQUIRE(error(SparseGroupLasso(0.3, 0.5)).empty());
  REQUIRE(error(Box(-0.5, 1)).empty());
  REQUIRE(error(torchreg::Simplex(2)).empty());
}

TEST_CASE("A formula with a tensor of its own fits few rows as well as many") {
  const Tensor thresholds = torch::tensor({0.0F, 1.0F, 2.0F, 3.0F});
  for (const int64_t rows : {1, 10, 40000}) {
    CAPTURE(rows);
    const Tensor w = torch::full({rows, 4}, 2.5).requires_grad_();
    const Penalty columns(Columns{thresholds});
    REQUIRE(columns(w).item<double>() == Approx(15.0 * static_cast<double>(rows)));
    columns.prox_(w, 1);
    REQUIRE(torch::equal(w.detach(), torch::tensor({2.5F, 1.5F, 0.5F, 0.0F}).expand({rows, 4})));
  }
}

TEST_CASE("A formula with a tensor of its own that fits a piece by chance is refused") {
  for (const int64_t pieces : {2, 3}) {
    const Tensor w = torch::ones({pieces * 32000});
    const Penalty halves(Columns{torch::zeros({32000})});
    REQUIRE(!error_of([&] { halves.prox_(w, 1); }).empty());
    REQUIRE(!error_of([&] { halves(w); }).empty());
  }
}

TEST_CASE("A formula with a number for each row makes no matrix of rows and pieces") {
  const int64_t rows = 20000;
  const Tensor thresholds = torch::arange(4.0).to(torch::kFloat).repeat({rows / 4}).unsqueeze(1);
  const Tensor w = torch::full({rows, 4}, 2.5);
  int64_t largest = 0;
  Penalty(Rows{thresholds, &largest}).prox_(w, 1);
  REQUIRE(torch::equal(w, (2.5 - thresholds).clamp_min(0).expand({rows, 4})));
  REQUIRE(largest == w.numel());
}

TEST_CASE("A failure in a later piece leaves the tensor as it was, and the next step repeats it") {
  const Tensor w = torch::full({300000}, 10.0).requires_grad_();
  optim::SGD sgd({w}, optim::SGDOptions(0.1));
  int calls = 0;
  ProximalStep prox(sgd, w, Penalty(Failing{&calls, 2, true}));
  prox.options().memory(0);
  step_with(sgd, w, torch::zeros({300000}));
  REQUIRE(contains(error_of([&] { prox.step(); }), "no"));
  REQUIRE(calls >= 2);
  REQUIRE((w == 10).all().item<bool>());
  prox.penalty().formula().at = 1 << 30;
  prox.step();
  REQUIRE((w == 9).all().item<bool>());
}

TEST_CASE("A failure in later groups leaves the tensor and its memory as they were") {
  for (const bool by_columns : {false, true}) {
    CAPTURE(by_columns);
    int calls = 0;
    const Penalty failing(FailingGroups{by_columns ? columns() : torchreg::rows(), &calls});
    const Tensor w = torch::full({500, 500}, 10.0);
    REQUIRE(contains(error_of([&] { failing.prox_(w, 1); }), "no"));
    REQUIRE(calls == 2);
    REQUIRE((w == 10).all().item<bool>());
    failing.prox_(w, 1);
    REQUIRE((w == 9).all().item<bool>());
    const Tensor leaf = torch::full({500, 500}, 10.0).requires_grad_();
    optim::Adam adam({leaf}, optim::AdamOptions(1e-3));
    ProximalStep prox(adam, leaf, failing);
    calls = 0;
    step_with(adam, leaf, torch::ones({500, 500}));
    const Tensor before = leaf.detach().clone();
    REQUIRE(contains(error_of([&] { prox.step(); }), "no"));
    REQUIRE(torch::equal(leaf.detach(), before));
    prox.step();
    REQUIRE((leaf < before).all().item<bool>());
  }
}

TEST_CASE("NaN, infinities and steps of 0 are the engine's business, whatever a formula makes") {
  const double nan = std::nan("");
  const Tensor x = row({nan, kInf, -kInf, 5, -0.5});
  const auto check = [&](const Tensor& w) {
    REQUIRE(torch::equal(w.isnan(), x.isnan()));
    REQUIRE(w[1].item<double>() == kInf);
    REQUIRE(w[2].item<double>() == -kInf);
  };
  for (const auto type : {torch::kFloat, torch::kDouble, torch::kBFloat16}) {
    for (const bool strided : {false, true}) {
      CAPTURE(type, strided);
      const auto fresh = [&] {
        return strided ? torch::stack({x, x}, 1).to(type).select(1, 0) : x.to(type).clone();
      };
      const Tensor w = fresh(), by_tensor = fresh(), at_zero = fresh();
      Penalty(Careless()).prox_(w, 1);
      check(w);
      REQUIRE(w[3].item<double>() == 1);
      Penalty(Rectified()).prox_(w, 1);
      check(w);
      REQUIRE(w[4].item<double>() == 0);
      Penalty(Careless()).prox_(by_tensor, row({1, 1, 1, 1, 0}));
      check(by_tensor);
      REQUIRE(by_tensor[3].item<double>() == 1);
      REQUIRE(by_tensor[4].item<double>() == -0.5);
      Penalty(Careless()).prox_(at_zero, 0);
      check(at_zero);
      REQUIRE(at_zero[3].item<double>() == 5);
    }
  }
}

TEST_CASE("A formula that writes to its arguments is told so, as it would spoil the memory") {
  const Tensor w = torch::ones({4}).requires_grad_();
  REQUIRE(contains(error_of([&] { Penalty(WritesToWeights()).prox_(w, 1); }),
                   "Penalty: prox wrote to its arguments for \"tensor 0\""));
  REQUIRE(contains(error_of([&] { Penalty(WritesToSteps()).prox_(w, 1); }), "prox wrote to its"));
  const Penalty of_terms(WritesInTerms{});
  REQUIRE(contains(error_of([&] { of_terms(w.detach()); }), "value wrote to its arguments"));
  REQUIRE(contains(error_of([&] { torch::autograd::grad({Penalty(WritesInSlopes())(w)}, {w}); }),
                   "slope wrote to its arguments"));
}

TEST_CASE("Overflow: strengths and steps beyond the type leave numbers") {
  for (const auto type : {torch::kFloat, torch::kHalf, torch::kBFloat16, torch::kDouble}) {
    CAPTURE(type);
    const auto fresh = [&] { return torch::tensor({1.0, -2.0, kInf}).to(type); };
    const Tensor a = fresh(), b = fresh(), c = fresh(), d = fresh();
    L1(1e39).prox_(a, 0);
    REQUIRE(torch::equal(a, fresh()));
    torchreg::L2(1e38).prox_(b, 1e38);
    REQUIRE(b[0].item<double>() < 1e-30);
    REQUIRE(b[2].item<double>() == kInf);
    ElasticNet(1, 0).prox_(c, 1e300);
    REQUIRE(torch::equal(c, torch::tensor({0.0, 0.0, kInf}).to(type)));
    L1(0).prox_(d, 1e300);
    REQUIRE(torch::equal(d, fresh()));
  }
}

TEST_CASE("Overflow: a learning rate whose inverse is none leaves the memory") {
  const Tensor w = torch::tensor({0.0F, 1.0F}).requires_grad_();
  optim::SGD sgd({w}, optim::SGDOptions(0.1));
  ProximalStep prox(sgd, w, L1(1));
  const auto train = [&](double lr, float gradient) {
    support::set_lr(sgd, lr);
    step_with(sgd, w, torch::tensor({gradient, 0.0F}));
    prox.step();
  };
  for (int t = 0; t < 40; ++t) train(0.1, 0.5F);
  const std::string before = support::saved(prox);
  train(1e-40, 0.5F);
  train(0.1, -1.5F);  // one gradient beyond lambda, against forty below: the memory holds
  REQUIRE(w[0].item<float>() == 0);
}

TEST_CASE("InferenceMode: a tensor that was made there is refused before it is written to") {
  const Tensor w = [] {
    const c10::InferenceMode guard;
    return torch::ones({3});
  }();
  REQUIRE(
      contains(error_of([&] { L1(1).prox_(w, 0.5); }), "\"tensor 0\" was made in InferenceMode"));
  REQUIRE((w == 1).all().item<bool>());
  REQUIRE(contains(error_of([&] { torchreg::soft_threshold_(w, 0.5); }),
                   "soft_threshold_: \"tensor 0\" was made in InferenceMode"));
  REQUIRE((w == 1).all().item<bool>());
  const Tensor leaf = torch::ones({3}).requires_grad_();
  leaf.mutable_grad() = w;
  REQUIRE(contains(error_of([&] { L1(1).add_gradient_(leaf); }),
                   "\"tensor 0.grad\" was made in InferenceMode"));
  REQUIRE((w == 1).all().item<bool>());
  const c10::InferenceMode guard;
  L1(1).prox_(w, 0.5);
  REQUIRE((w == 0.5).all().item<bool>());
}

TEST_CASE("A term has the same bits with any number of threads") {
  struct ByValue {
    Tensor value(const Tensor& w) const { return w.square(); }
  };
  torch::manual_seed(51);
  const Tensor x = torch::randn({700, 501}).requires_grad_();
  std::vector<Tensor> many;
  for (int i = 0; i < 40000; ++i) many.push_back(torch::randn({1}));
  const int threads = at::get_num_threads();
  std::vector<Tensor> values;
  for (const int count : {1, 2, 5}) {
    at::set_num_threads(count);
    values.push_back(torch::stack({Penalty(ByValue())(x).detach(), Penalty(ByValue())(many)}));
  }
  at::set_num_threads(threads);
  REQUIRE(same_bits(values[0], values[1]));
  REQUIRE(same_bits(values[0], values[2]));
}

TEST_CASE("A step that is no number is shown as one") {
  REQUIRE(error_of([] { L1(1).prox_(torch::ones({2}), torch::tensor(-0.5)); }) ==
          "L1: step must be finite and >= 0, got -0.5");
  REQUIRE(error_of([] {
            L1(1).prox_(torch::ones({2}), torch::tensor({-0.5, 1.0}));
          }) == "L1: step must be finite and >= 0, got -0.5 to 1");
}
