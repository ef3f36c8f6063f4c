// Groups: how tensors fall into them, the laws of their penalties, memory, links.
#include <torchreg/torchreg.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <condition_variable>
#include <functional>
#include <limits>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "support.hpp"

using namespace torchreg;
using support::contains;
using support::error_of;
using support::same_bits;
using torch::Tensor;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

using Members = std::vector<std::vector<int64_t>>;  // flat indices of each group

/// The groups of a grouping, found by stepping through the tensor.
Members members_of(at::IntArrayRef sizes,
                   const std::function<int64_t(const std::vector<int64_t>&)>& group_of) {
  Members members;
  int64_t count = 1;
  for (const int64_t size : sizes) count *= size;
  for (int64_t i = 0; i < count; ++i) {
    std::vector<int64_t> index(sizes.size());
    int64_t rest = i;
    for (std::size_t d = sizes.size(); d-- > 0; rest /= sizes[d]) index[d] = rest % sizes[d];
    const int64_t group = group_of(index);
    if (group < 0) continue;
    members.resize(std::max(members.size(), static_cast<std::size_t>(group) + 1));
    members[static_cast<std::size_t>(group)].push_back(i);
  }
  return members;
}

struct GroupingCase {
  std::string text;
  Grouping grouping;
  std::vector<int64_t> sizes;
  std::function<int64_t(const std::vector<int64_t>&)> group_of;
};

std::vector<GroupingCase> grouping_cases() {
  const Tensor index = torch::tensor({2, 0, -1, 2, 4}, torch::kLong);
  const std::vector<int64_t> number_of{2, 0, -1, 2, 4};
  return {
      {"rows()", rows(), {6, 4}, [](auto& i) { return i[0]; }},
      {"rows(3)", rows(3), {6, 4}, [](auto& i) { return i[0] / 3; }},
      {"rows()", rows(), {6, 2, 3, 3}, [](auto& i) { return i[0]; }},
      {"rows()", rows(), {6}, [](auto& i) { return i[0]; }},
      {"columns()", columns(), {6, 4}, [](auto& i) { return i[1]; }},
      {"columns(2)", columns(2), {6, 4, 3}, [](auto& i) { return i[1] / 2; }},
      {"along(-1)", along(-1), {2, 3, 4}, [](auto& i) { return i[2]; }},
      {"along(1, 3)", along(1, 3), {2, 3, 4}, [](auto& i) { return i[1] / 3; }},
      {"kernels()", kernels(), {3, 2, 3, 3}, [](auto& i) { return i[0] * 2 + i[1]; }},
      {"kernels()", kernels(), {3, 11, 3, 3}, [](auto& i) { return i[0] * 11 + i[1]; }},
      {"kernels()", kernels(), {3, 2, 5}, [](auto& i) { return i[0] * 2 + i[1]; }},
      {"blocks(2, 3)", blocks(2, 3), {4, 6}, [](auto& i) { return i[0] / 2 * 2 + i[1] / 3; }},
      {"blocks(2, 1)", blocks(2, 1), {4, 2, 3}, [](auto& i) { return i[0] / 2 * 2 + i[1]; }},
      {"runs(4)", runs(4), {3, 8}, [](auto& i) { return i[0] * 2 + i[1] / 4; }},
      {"runs(2)", runs(2), {2, 3, 4}, [](auto& i) { return (i[0] * 3 + i[1]) * 2 + i[2] / 2; }},
      {"whole()", whole(), {3, 4}, [](auto&) { return 0; }},
      {"whole()", whole(), {}, [](auto&) { return 0; }},
      {"by(index)", by(index), {3, 5}, [=](auto& i) { return number_of[i[1]]; }},
  };
}

/// Of a strided kind too: the same numbers, laid out in another way.
std::vector<Tensor> laid_out(const Tensor& x) {
  std::vector<Tensor> all{x.clone()};
  if (x.dim() >= 2) all.push_back(x.transpose(0, 1).contiguous().transpose(0, 1));
  if (x.dim() == 4) all.push_back(x.contiguous(torch::MemoryFormat::ChannelsLast));
  all.push_back(torch::stack({x, x}, x.dim()).select(x.dim(), 1));
  return all;
}

std::vector<double> numbers(const Tensor& x) {
  const Tensor flat = x.detach().to(torch::kCPU, torch::kDouble).contiguous().view(-1);
  return {flat.data_ptr<double>(), flat.data_ptr<double>() + flat.numel()};
}

double norm_of(const std::vector<double>& x) {
  double largest = 0, sum = 0;
  for (const double one : x) largest = std::max(largest, std::abs(one));
  if (largest == 0) return 0;
  for (const double one : x) sum += one / largest * (one / largest);
  return largest * std::sqrt(sum);
}

/// The prox of l1 |z| + t ||z|| for a step per entry, by bisection on the length of z.
std::vector<double> sparse_group_prox(std::vector<double> x, const std::vector<double>& s,
                                      double l1, double t) {
  std::vector<double> dual;
  for (std::size_t i = 0; i < x.size(); ++i) {
    x[i] = std::copysign(std::max(std::abs(x[i]) - l1 * s[i], 0.0), x[i]);
    dual.push_back(x[i] / s[i]);
  }
  if (t == 0) return x;
  if (norm_of(dual) <= t) return std::vector<double>(x.size(), 0.0);
  double low = 0, high = norm_of(x);
  for (int k = 0; k < 200; ++k) {
    const double middle = 0.5 * (low + high);
    std::vector<double> q;
    for (std::size_t i = 0; i < x.size(); ++i) q.push_back(x[i] / (middle + s[i] * t));
    (norm_of(q) > 1 ? low : high) = middle;
  }
  for (std::size_t i = 0; i < x.size(); ++i) x[i] *= low / (low + s[i] * t);
  return x;
}

Tensor proxed(const std::function<void(const Tensor&)>& prox_, const Tensor& x) {
  Tensor w = x.clone();
  prox_(w);
  return w;
}

double tolerance(torch::ScalarType type) {
  return type == torch::kDouble ? 1e-12 : type == torch::kFloat ? 2e-6 : 2e-2;
}

}  // namespace

TEST_CASE("A grouping tells its groups, how many there are, and what it is") {
  for (const auto& [text, grouping, sizes, group_of] : grouping_cases()) {
    CAPTURE(text, sizes);
    REQUIRE(grouping.describe() == text);
    const Tensor x = torch::randn(sizes, torch::kDouble);
    const Members members = members_of(sizes, group_of);
    REQUIRE(grouping.count(x) == static_cast<int64_t>(members.size()));
    REQUIRE(grouping.fits(x));
    for (const Tensor& w : laid_out(x)) {  // the group of largest norm stays, all others go
      TopGroups(1, grouping).prox_(w, 1);
      const auto before = numbers(x), after = numbers(w);
      std::size_t largest = 0;
      std::vector<double> norms;
      for (const auto& group : members) {
        std::vector<double> entries;
        for (const int64_t i : group) entries.push_back(before[i]);
        norms.push_back(norm_of(entries));
        if (norms.back() > norms[largest]) largest = norms.size() - 1;
      }
      std::vector<double> expected = before;
      for (std::size_t g = 0; g < members.size(); ++g) {
        for (const int64_t i : members[g]) {
          if (g != largest) expected[i] = 0;
        }
      }
      REQUIRE(after == expected);
    }
  }
  REQUIRE(rows().unweighted().describe() == "rows().unweighted()");
  const Tensor w = torch::randn({4, 4}).requires_grad_();
  torch::optim::SGD sgd({w}, 0.1);
  ProximalStep prox(sgd, w, TopK(2, runs(4)));
  REQUIRE(contains(prox.describe(), "TopK(k = 2, runs(4))"));
}

TEST_CASE("Group lasso and sparse group lasso equal bisection in every grouping and layout") {
  torch::manual_seed(1);
  for (const auto& [text, grouping, sizes, group_of] : grouping_cases()) {
    const Members members = members_of(sizes, group_of);
    for (const auto type : {torch::kDouble, torch::kFloat, torch::kBFloat16}) {
      const Tensor x = torch::randn(sizes, torch::kDouble).to(type);
      const Tensor steps = (torch::rand(sizes, torch::kDouble) + 0.2).to(type);
      for (const double l1 : {0.0, 0.3}) {
        for (const bool each : {false, true}) {
          for (const Tensor& w : laid_out(x)) {
            CAPTURE(text, type, l1, each);
            const SparseGroupLasso penalty(l1, 0.4, grouping);
            if (each) {
              penalty.prox_(w, steps);
            } else {
              penalty.prox_(w, 0.7);
            }
            const auto before = numbers(x), after = numbers(w), s = numbers(steps);
            std::vector<double> expected;  // in no group: L1 alone
            for (std::size_t i = 0; i < before.size(); ++i) {
              const double t = l1 * (each ? s[i] : 0.7);
              expected.push_back(std::copysign(std::max(std::abs(before[i]) - t, 0.0), before[i]) +
                                 0.0);
            }
            for (const auto& group : members) {
              std::vector<double> own, of_own;
              for (const int64_t i : group) {
                own.push_back(before[i]);
                of_own.push_back(each ? s[i] : 0.7);
              }
              const double weight = 0.4 * std::sqrt(static_cast<double>(group.size()));
              const auto z = sparse_group_prox(own, of_own, l1, weight);
              for (std::size_t k = 0; k < group.size(); ++k) expected[group[k]] = z[k];
            }
            for (std::size_t i = 0; i < after.size(); ++i) {
              REQUIRE(after[i] == Approx(expected[i]).margin(10 * tolerance(type)));
              REQUIRE((after[i] == 0) == (std::abs(expected[i]) < 1e-300));
            }
            REQUIRE(support::negative_zeros(w.to(torch::kFloat)) == 0);
          }
        }
      }
    }
  }
}

TEST_CASE("The group prox meets its optimality conditions at condition numbers to 1e8") {
  torch::manual_seed(2);
  const int64_t groups = 500, size = 7;
  // Groups by an index go to LibTorch's operations, rows through registers.
  const auto by_index = by(torch::arange(groups).unsqueeze(1));
  for (const auto& grouping : {rows().unweighted(), by_index.unweighted()}) {
    for (const auto& [decades, scale, share] :
         std::vector<std::tuple<double, double, double>>{{0, 1, 0},
                                                         {0, 1e3, 0.1},
                                                         {2, 1e-3, 0},
                                                         {2, 1, 0.1},
                                                         {4, 1e3, 0},
                                                         {4, 1e-3, 0.1},
                                                         {8, 1, 0},
                                                         {8, 1, 0.1},
                                                         {8, 1e-3, 0},
                                                         {8, 1e3, 0.1}}) {
      CAPTURE(grouping.describe(), decades, scale, share);
      const Tensor s =
          torch::pow(10, decades * (torch::rand({groups, size}, torch::kDouble) - 0.5));
      const Tensor x = scale * torch::randn({groups, size}, torch::kDouble) * s.sqrt();
      const Tensor w = x.clone();
      const double t = 0.5 * scale, l1 = share * scale;
      SparseGroupLasso(l1, t, grouping).prox_(w, s);
      const Tensor g = (x - w) / s;  // in l1 d|w| + t d||w||
      const Tensor norms = w.norm(2, 1, true);
      const Tensor live = norms > 0;
      const Tensor smooth = g - t * w / norms.where(live, torch::ones_like(norms));
      const Tensor off_zero = (smooth - l1 * w.sign()).abs();
      const Tensor at_zero = (smooth.abs() - l1).clamp_min(0);
      const Tensor residual = off_zero.where(w != 0, at_zero) / (scale + g.abs());
      REQUIRE(residual.masked_select(live.expand_as(w)).max().item<double>() < 1e-9);
      const Tensor dual = (g.abs() - l1).clamp_min(0).norm(2, 1, true);
      const Tensor dead = dual.masked_select(norms == 0);
      if (dead.numel() > 0) REQUIRE(dead.max().item<double>() <= t * (1 + 1e-12));
      REQUIRE(live.any().item<bool>());
    }
  }
}

TEST_CASE("Groups of one are entries, and a constant metric is one step") {
  torch::manual_seed(3);
  for (const auto type : {torch::kDouble, torch::kFloat, torch::kHalf}) {
    const Tensor x = torch::randn({5, 6}, torch::kDouble).to(type);
    const Tensor steps = (torch::rand({5, 6}, torch::kDouble) + 0.1).to(type);
    const double error = 4 * tolerance(type);
    const auto near = [&](const Tensor& a, const Tensor& b) {
      return torch::allclose(a.to(torch::kDouble), b.to(torch::kDouble), error, error) &&
             torch::equal(a == 0, b == 0);
    };
    const auto both = [&](const auto& grouped, const auto& entrywise) {
      for (const double step : {0.3, 5.0}) {
        const auto one = [&](const auto& p) {
          return proxed([&](const Tensor& w) { p.prox_(w, step); }, x);
        };
        REQUIRE(near(one(grouped), one(entrywise)));
        const Tensor w = x.clone().requires_grad_(), v = x.clone().requires_grad_();
        if constexpr (torchreg::detail::HasValue<
                          std::decay_t<decltype(grouped.formula())>>::value) {
          const Tensor a = grouped(w), b = entrywise(v);
          a.backward(), b.backward();
          REQUIRE(a.item<double>() == Approx(b.item<double>()).epsilon(1e-3));
          REQUIRE(torch::allclose(w.grad(), v.grad(), error, error));
        }
      }
    };
    both(GroupLasso(0.4, runs(1)), L1(0.4));
    both(SparseGroupLasso(0.3, 0.1, blocks(1, 1)), L1(0.4));
    both(GroupMCP(0.4, 2, runs(1)), MCP(0.4, 2));
    both(GroupSCAD(0.4, 3, runs(1)), SCAD(0.4, 3));
    both(GroupL0(0.4, runs(1)), L0(0.4));
    REQUIRE(near(proxed([&](const Tensor& w) { GroupLasso(0.4, runs(1)).prox_(w, steps); }, x),
                 proxed([&](const Tensor& w) { L1(0.4).prox_(w, steps); }, x)));
    REQUIRE(near(proxed([&](const Tensor& w) { GroupL0(0.4, runs(1)).prox_(w, steps); }, x),
                 proxed([&](const Tensor& w) { L0(0.4).prox_(w, steps); }, x)));
    for (const auto& grouping : {rows(), columns(2), blocks(5, 3)}) {
      REQUIRE(near(proxed([&](const Tensor& w) { GroupLasso(0.2, grouping).prox_(w, 0.75); }, x),
                   proxed(
                       [&](const Tensor& w) {
                         GroupLasso(0.2, grouping).prox_(w, torch::full({5, 6}, 0.75).to(type));
                       },
                       x)));
    }
  }
}

TEST_CASE("The prox of MCP and SCAD of norms is no worse than a thousand candidates") {
  torch::manual_seed(4);
  const Tensor x = 3 * torch::randn({40, 3}, torch::kDouble);
  const auto value = [](bool is_mcp, double a, double lambda, double shape) {
    if (is_mcp) {
      return a <= shape * lambda ? lambda * a - a * a / (2 * shape) : shape * lambda * lambda / 2;
    }
    if (a <= lambda) return lambda * a;
    if (a > shape * lambda) return lambda * lambda * (shape + 1) / 2;
    return (2 * shape * lambda * a - a * a - lambda * lambda) / (2 * (shape - 1));
  };
  for (const bool is_mcp : {true, false}) {
    const double shape = is_mcp ? 1.5 : 2.5, lambda = 0.8 * std::sqrt(3.0);
    for (const double step : {0.1, 1.2, 2.0, 3.2, 20.0}) {
      const Tensor w = x.clone();
      if (is_mcp) {
        GroupMCP(0.8, shape).prox_(w, step);
      } else {
        GroupSCAD(0.8, shape).prox_(w, step);
      }
      for (int64_t g = 0; g < 40; ++g) {
        const double of_x = x[g].norm().item<double>(), of_w = w[g].norm().item<double>();
        REQUIRE(torch::allclose(w[g] * of_x, x[g] * of_w, 1e-12, 1e-12));
        const auto objective = [&](double r) {
          return value(is_mcp, r, lambda, shape) + (r - of_x) * (r - of_x) / (2 * step);
        };
        double best = objective(0);
        for (int k = 0; k <= 1000; ++k) best = std::min(best, objective(of_x * k / 1000));
        CAPTURE(is_mcp, step, of_x, of_w);
        REQUIRE(objective(of_w) <= best + 1e-12 * (1 + best));
      }
    }
  }
}

TEST_CASE("The order of the groups does not matter, and pieces of rows are as the whole") {
  torch::manual_seed(5);
  const Tensor x = torch::randn({700, 130});  // of several pieces
  const Tensor order = torch::randperm(700), steps = torch::rand({700, 130}) + 0.1;
  const Tensor permuted = x.index_select(0, order), w = x.clone(), one_by_one = x.clone();
  const GroupLasso lasso(0.08);
  lasso.prox_(w, steps);
  lasso.prox_(permuted, steps.index_select(0, order));
  REQUIRE(torch::allclose(w.index_select(0, order), permuted, 1e-6, 0));
  REQUIRE(torch::equal(w.index_select(0, order) == 0, permuted == 0));
  for (int64_t i = 0; i < 700; i += 100) {
    lasso.prox_(one_by_one.narrow(0, i, 100), steps.narrow(0, i, 100));
  }
  REQUIRE(torch::allclose(w, one_by_one, 1e-6, 0));
  const Tensor by_columns = x.t().contiguous();
  GroupLasso(0.08, columns()).prox_(by_columns, steps.t().contiguous());
  REQUIRE(torch::allclose(by_columns.t(), w, 1e-6, 0));
}

TEST_CASE("One, two and eight threads give the same bits, of long groups too") {
  torch::manual_seed(14);
  const Tensor x = torch::randn({3, 100003}), steps = torch::rand({3, 100003}) + 0.1;
  const int threads = at::get_num_threads();
  for (const auto& grouping : {rows(), columns(), whole(), by(torch::tensor({{0}, {1}, {-1}}))}) {
    CAPTURE(grouping.describe());
    std::vector<Tensor> results;
    for (const int count : {1, 2, 8}) {
      at::set_num_threads(count);
      const Tensor a = x.clone(), b = x.clone(), leaf = x.clone().requires_grad_();
      const SparseGroupLasso penalty(0.05, 0.05, grouping);
      penalty.prox_(a, 0.5);
      penalty.prox_(b, steps);
      const Tensor term = penalty(leaf);
      term.backward();
      results.push_back(torch::cat({a, b, leaf.grad(), term.detach().expand({1, 100003})}));
    }
    at::set_num_threads(threads);
    REQUIRE(same_bits(results[0], results[1]));
    REQUIRE(same_bits(results[0], results[2]));
  }
}

TEST_CASE("A term of groups is its formula, with two derivatives, and slope 0 at a zero group") {
  torch::manual_seed(6);
  for (const auto& grouping :
       {rows(), columns(), blocks(2, 3), by(torch::tensor({1, 0, -1, 1, 1, 0}))}) {
    CAPTURE(grouping.describe());
    const Tensor x = torch::randn({4, 6}, torch::kDouble);
    const auto naive = [&](const Tensor& w) {
      Tensor sum = 0.2 * w.abs().sum();
      for (int64_t g = 0; g < grouping.count(x); ++g) {
        Tensor entries;
        if (grouping.describe() == "rows()") entries = w[g];
        if (grouping.describe() == "columns()") entries = w.select(1, g);
        if (grouping.describe() == "blocks(2, 3)")
          entries = w.narrow(0, g / 2 * 2, 2).narrow(1, g % 2 * 3, 3);
        if (grouping.describe() == "by(index)")
          entries = g == 0 ? w.index_select(1, torch::tensor({1, 5}))
                           : w.index_select(1, torch::tensor({0, 3, 4}));
        sum = sum +
              0.3 * std::sqrt(static_cast<double>(entries.numel())) * entries.square().sum().sqrt();
      }
      return sum;
    };
    const Tensor w = x.clone().requires_grad_(), v = x.clone().requires_grad_();
    const SparseGroupLasso penalty = SparseGroupLasso(0.1, 0.15, grouping).scaled_by(2);
    const Tensor a = penalty(w), b = naive(v);
    REQUIRE(a.item<double>() == Approx(b.item<double>()).epsilon(1e-12));
    const auto first = torch::autograd::grad({a}, {w}, {}, true, true)[0];
    const auto expected = torch::autograd::grad({b}, {v}, {}, true, true)[0];
    REQUIRE(torch::allclose(first, expected, 1e-12, 1e-12));
    const auto second = torch::autograd::grad({first.pow(3).sum()}, {w})[0];
    REQUIRE(torch::allclose(second, torch::autograd::grad({expected.pow(3).sum()}, {v})[0], 1e-10,
                            1e-12));
    const Tensor added = x.clone().requires_grad_();
    added.mutable_grad() = torch::ones_like(x);
    REQUIRE(penalty.add_gradient_(added).item<double>() == Approx(a.item<double>()));
    REQUIRE(torch::allclose(added.grad(), 1 + expected, 1e-12, 1e-12));
  }
  const Tensor zero = torch::zeros({3, 2}).requires_grad_();
  for (const Tensor& term :
       {GroupLasso(1)(zero), SparseGroupLasso(1, 1)(zero), GroupMCP(1)(zero), GroupSCAD(1)(zero)}) {
    REQUIRE(torch::equal(torch::autograd::grad({term}, {zero})[0], torch::zeros({3, 2})));
  }
  const Tensor still = torch::randn({3, 2}).requires_grad_();
  const Tensor frozen = torch::randn({3, 2});
  (GroupLasso(1)({still, frozen})).backward();
  REQUIRE(still.grad().defined());
}

TEST_CASE("A group with a NaN or an infinite entry is left as it is, whole") {
  for (const auto type : {torch::kDouble, torch::kFloat, torch::kBFloat16}) {
    for (const bool each : {false, true}) {
      const Tensor x =
          torch::tensor({std::nan(""), 1.0, 0.1, -0.1, kInf, 0.5, 0.2, 3.0}, torch::kDouble)
              .view({4, 2})
              .to(type);
      const auto check = [&](const auto& penalty, bool takes_each) {
        if (each && !takes_each) return;
        CAPTURE(type, each, penalty.selector().describe(),
                torchreg::detail::name_of<std::decay_t<decltype(penalty.formula())>>());
        const Tensor w = x.clone();
        if (each) {
          penalty.prox_(w, torch::full({4, 2}, 0.5).to(type));
        } else {
          penalty.prox_(w, 0.5);
        }
        REQUIRE(torch::allclose(w[0], x[0], 0, 0, /*equal_nan=*/true));
        REQUIRE(torch::equal(w[2], x[2]));
        REQUIRE(w.isfinite().sum().item<int64_t>() == 6);
        return;
      };
      check(GroupLasso(1), true);
      check(SparseGroupLasso(1, 1), true);
      check(GroupL0(1), true);
      check(GroupMCP(1), false);
      check(L2Ball(0.1), true);
      check(L1Ball(0.1, rows()), true);
      check(Simplex(1), true);
      check(TopK(1, rows()), true);
      check(TopGroups(1, rows()), true);
    }
  }
}

TEST_CASE("Steps of 0 hold their entries, and strengths of 0 leave all as it was") {
  torch::manual_seed(7);
  const Tensor x = torch::randn({6, 4}, torch::kDouble);
  Tensor steps = torch::rand({6, 4}, torch::kDouble) + 0.2;
  steps[0].zero_();
  steps.select(1, 2).zero_();
  const auto rests = steps == 0;
  const auto held = [&](const auto& penalty) {
    const Tensor w = x.clone();
    penalty.prox_(w, steps);
    REQUIRE(w.isfinite().all().item<bool>());
    return torch::equal(w.masked_select(rests), x.masked_select(rests));
  };
  const auto by_index = by(torch::arange(6).unsqueeze(1));  // not in registers
  REQUIRE(held(GroupLasso(5)));
  REQUIRE(held(GroupLasso(5, by_index)));
  REQUIRE(held(SparseGroupLasso(1, 5)));
  REQUIRE(held(SparseGroupLasso(1, 5, by_index)));
  REQUIRE(held(GroupL0(5)));
  const Tensor tiny = torch::full({1, 10}, 0.1f);  // a square of 0 at rest, in floats
  tiny[0][0] = 1e-30f;
  GroupLasso(5).prox_(tiny, torch::ones({1, 10}).masked_fill(tiny < 1e-20f, 0));
  REQUIRE(tiny[0][0].item<float>() == 1e-30f);
  REQUIRE((tiny.slice(1, 1) == 0).all().item<bool>());
  REQUIRE(held(L2Ball(0.01)));
  REQUIRE(held(L1Ball(0.01, rows())));
  REQUIRE(held(Simplex(0.5)));
  for (const auto& grouping : {rows(), by_index}) {
    for (const double lambda : {0.3, 5.0}) {  // entries at rest: still a minimum over the others
      const Tensor w = x.clone();
      GroupLasso(lambda, grouping).prox_(w, steps);
      const Tensor g = (x - w) / steps.where(steps > 0, torch::ones_like(steps));
      const Tensor expected = 2 * lambda * w / w.norm(2, 1, true);
      REQUIRE(torch::allclose(g.masked_select(steps > 0), expected.masked_select(steps > 0), 1e-9,
                              1e-9));
    }
  }
  for (const auto& none : {GroupLasso(0), GroupLasso(1, rows().weighted(torch::zeros({6})))}) {
    Tensor tiny = 1e-30 * torch::randn({6, 4}), kept = tiny.clone();
    none.prox_(tiny, 1);
    REQUIRE(torch::allclose(tiny, kept, 1e-6, 0));
    none.prox_(tiny, torch::ones({6, 4}));
    REQUIRE(torch::allclose(tiny, kept, 1e-6, 0));
  }
}

TEST_CASE("Weights of groups: roots of their sizes, ones, or given") {
  const Tensor x = torch::ones({2, 4}, torch::kDouble);
  const auto shrunk_by = [&](const Grouping& grouping) {
    const Tensor w = x.clone();
    GroupLasso(0.1, grouping).prox_(w, 1);
    return (x.norm(2, 1) - w.norm(2, 1)) / 0.1;
  };
  const auto are = [](const Tensor& a, const std::vector<double>& b) {
    return torch::allclose(a, torch::tensor(b, torch::kDouble));
  };
  REQUIRE(are(shrunk_by(rows()), {2, 2}));
  REQUIRE(are(shrunk_by(rows().unweighted()), {1, 1}));
  REQUIRE(are(shrunk_by(rows().weighted(torch::tensor({3.0, 0.0}))), {3, 0}));
  const Tensor index = torch::tensor({0, 0, 0, 1}), w = torch::ones({4}, torch::kDouble);
  GroupLasso(0.1, by(index)).prox_(w, 1);
  REQUIRE(w[3].item<double>() == Approx(0.9));
  REQUIRE(w.narrow(0, 0, 3).norm().item<double>() == Approx(std::sqrt(3.0) * 0.9));
  const Tensor v = torch::ones({4}, torch::kDouble);
  GroupLasso(0.1, by(index).unweighted()).prox_(v, 1);
  REQUIRE(v.narrow(0, 0, 3).norm().item<double>() == Approx(std::sqrt(3.0) - 0.1));
}

TEST_CASE("Errors of groupings say what does not fit, before anything is written") {
  const Tensor bias = torch::ones({5}), weight = torch::ones({4, 6});
  const auto error = [&](const Grouping& grouping, const Tensor& w) {
    return error_of([&] { GroupLasso(1, grouping).prox_({weight, w}, 1); });
  };
  REQUIRE(error(columns(), bias) ==
          "GroupLasso: columns() does not fit \"tensor 1\" of shape [5]: it has 1 dimension");
  REQUIRE(contains(error(rows(3), torch::ones({3, 2})),
                   "rows(3) does not fit \"tensor 0\" of shape "
                   "[4, 6]: 4 is no multiple of 3"));
  REQUIRE(contains(error(kernels(), weight), "kernels() does not fit"));
  REQUIRE(
      contains(error(by(torch::zeros({6}, torch::kLong)), bias), ": the index does not broadcast"));
  REQUIRE(contains(error(by(torch::full({1}, -2, torch::kLong)), bias),
                   ": group numbers must be -1 to G-1"));
  REQUIRE(contains(error(rows().weighted(torch::ones({6})), torch::ones({6, 1})),
                   "of shape [4, 6]: 6 weights for 4 groups"));
  REQUIRE(torch::equal(weight, torch::ones({4, 6})));
  REQUIRE(contains(error_of([] { by(torch::zeros({2})); }), "int64"));
  REQUIRE(contains(error_of([] { rows(0); }), "size must be >= 1"));
  REQUIRE(error_of([] { GroupLasso(-1); }) == "GroupLasso: lambda must be finite and >= 0, got -1");
  REQUIRE(
      contains(error_of([] { GroupMCP(1, 0); }), "GroupMCP: gamma must be finite and > 0, got 0"));
  REQUIRE(contains(error_of([] { TopK(0); }), "TopK: k must be finite and >= 1, got 0"));
  REQUIRE(
      contains(error_of([] { SparseGroupLasso::from_alpha(1, 2); }), "alpha must be in [0, 1]"));
  const auto factors = [](const Parameter& p) { return torch::ones_like(p.tensor); };
  REQUIRE(contains(
      error_of([&] { GroupLasso(1).scaled_by(factors).prox_(weight, 1); }),
      "GroupLasso: a factor per entry is for separable penalties; give the grouping weights"));
  REQUIRE(contains(error_of([&] {
                     GroupMCP(1).prox_(weight, torch::ones({4, 6}));
                   }),
                   "GroupMCP has no exact prox for a step per entry; use GroupLasso"));
}

namespace {

/// A user's formula of groups: lambda sum ||z_g||^2 / 2.
struct GroupRidge {
  double lambda;
  Grouping grouping;
  std::vector<int64_t>* seen = nullptr;
  Tensor value(const Tensor& w) const { return 0.5 * lambda * w.square().sum(1); }
  Tensor prox(const Tensor& w, const Tensor& step) const {
    if (seen != nullptr) *seen = w.sizes().vec();
    return w / (1 + lambda * step);
  }
};

struct GroupRidgeWithSlope : GroupRidge {
  Tensor slope(const Tensor& w) const { return lambda * w; }
};

}  // namespace

namespace {

/// Groups halved; keeps the steps that its prox was given.
struct StepsSeen {
  Grouping grouping;
  Tensor* steps;
  Tensor prox(const Tensor& w, const Tensor& step) const {
    *steps = step.clone();
    return w / 2;
  }
};

}  // namespace

TEST_CASE("A user's formula of groups gets them as rows, padded, without those in no group") {
  std::vector<int64_t> seen;
  const Tensor w = torch::ones({6}, torch::kDouble).requires_grad_();
  const Penalty ridge(GroupRidge{1, by(torch::tensor({0, 0, 0, 1, -1, 3})), &seen});
  ridge.prox_(w.detach(), 1);
  REQUIRE(seen == std::vector<int64_t>{4, 3});
  REQUIRE(torch::allclose(w, torch::tensor({.5, .5, .5, .5, 1., .5}, torch::kDouble)));
  const Penalty with_slope(GroupRidgeWithSlope{{1, by(torch::tensor({0, 0, 0, 1, -1, 3}))}});
  for (const Tensor& term : {ridge(w), with_slope(w)}) {
    REQUIRE(term.item<double>() == Approx(0.5 * 5 * 0.25));
    at::globalContext().setDeterministicAlgorithms(true, false);  // new memory is NaN
    const Tensor gradient = torch::autograd::grad({term}, {w})[0];
    at::globalContext().setDeterministicAlgorithms(false, false);
    REQUIRE(torch::allclose(gradient, torch::tensor({.5, .5, .5, .5, 0., .5}, torch::kDouble)));
  }
  const Tensor steps = torch::tensor({0., 1., 1., 1., 1., 1.}, torch::kDouble);
  ridge.prox_(w.detach(), steps);
  REQUIRE(torch::allclose(w, torch::tensor({.5, .25, .25, .25, 1., .25}, torch::kDouble)));
  Tensor seen_steps;
  Penalty(StepsSeen{by(torch::tensor({0, 0, 1})), &seen_steps})
      .prox_(torch::ones({3}), torch::tensor({.25, 0., .5}));
  REQUIRE(torch::equal(seen_steps, torch::tensor({{.25, 0.}, {.5, 1.}})));
}

namespace {

/// The memory of one group in numbers, as it is defined; `textbook(w, s)` is the prox.
struct GroupModel {
  double n;
  std::function<std::vector<double>(const std::vector<double>&, const std::vector<double>&)>
      textbook;
  std::function<std::vector<double>(const std::vector<double>&)> slope;
  enum { unknown, zero, live } state = unknown;
  std::vector<double> memory{};
  int64_t steps = 0;

  std::vector<double> step(const std::vector<double>& w, const std::vector<double>& s) {
    ++steps;
    const double span = std::min(std::max(static_cast<double>(steps) / 4, 1.0), n);
    const auto is_zero = [](const std::vector<double>& z) {
      return std::all_of(z.begin(), z.end(), [](double x) { return x == 0; });
    };
    const std::size_t size = w.size();
    std::vector<double> z = textbook(w, s), g(size), far(size), y(size), moved(size);
    for (std::size_t i = 0; i < size; ++i) g[i] = w[i] / s[i], far[i] = span * s[i];
    if (state == zero) {
      for (std::size_t i = 0; i < size; ++i) {
        memory[i] += (g[i] - memory[i]) / span;
        moved[i] = s[i] * memory[i];
      }
      if (is_zero(textbook(moved, s))) z.assign(size, 0);
      if (!is_zero(z)) memory = z, state = live;
      return z;
    }
    if (state == live) {
      const auto r = slope(memory);
      for (std::size_t i = 0; i < size; ++i) y[i] = w[i] + (far[i] - s[i]) * r[i];
      if (is_zero(textbook(y, far))) {
        for (std::size_t i = 0; i < size; ++i) memory[i] = y[i] / far[i];
        state = zero;
        return std::vector<double>(size, 0.0);
      }
    }
    state = is_zero(z) ? zero : live;
    memory = state == zero ? g : z;
    return z;
  }
};

}  // namespace

TEST_CASE("A step with the memory of groups gives each 0 or the bits of the textbook prox") {
  torch::manual_seed(27);
  for (const auto type : {torch::kFloat, torch::kDouble}) {
    for (const auto& [grouping, shape] : {std::pair{rows(), std::vector<int64_t>{40, 7}},
                                          {rows(), {40, 16}},
                                          {rows(), {9, 100}},
                                          {columns(), {17, 40}},
                                          {columns(), {1500, 9}},
                                          {kernels(), {8, 9, 3, 3}},
                                          {blocks(2, 2), {8, 10}},
                                          {along(-1), {6, 11}},
                                          {rows(), {70, 1}}}) {
      for (const double l1 : {0.0, 0.05}) {
        const SparseGroupLasso penalty(l1, 0.3, grouping);
        Tensor w = torch::randn(shape, type).mul_(0.1).requires_grad_();
        torch::optim::SGD sgd({w}, torch::optim::SGDOptions(0.1));
        ProximalStep prox(sgd, w, penalty);
        int64_t zeros = 0, others = 0;
        for (int t = 0; t < 40; ++t) {
          w.mutable_grad() = 0.35 * torch::randn(shape, type) + w.detach();
          sgd.step();
          const Tensor textbook = w.detach().clone();
          penalty.prox_(textbook, 0.1);
          prox.step();
          const Tensor is_bits = w.detach() == textbook, is_zero = w.detach() == 0;
          zeros += is_zero.sum().item<int64_t>();
          others += (textbook != 0).logical_and(is_zero).sum().item<int64_t>();
          CAPTURE(grouping.describe(), type, l1, t);
          REQUIRE((is_bits | is_zero).all().item<bool>());
        }
        REQUIRE(zeros > 0);
        REQUIRE(others > 0);
        REQUIRE(zeros < 40 * w.numel());
      }
    }
  }
}

TEST_CASE("A group that the textbook prox zeroes at its very edge remembers its gradient") {
  if (!torchreg::detail::cpu_has_simd()) return;
  torch::manual_seed(29);
  constexpr int64_t size = 8;
  int64_t zeros = 0;
  for (int k = 0; k < 4000; ++k) {
    Tensor w = torch::randn({size}), s = torch::rand({size}) + 0.5;
    Tensor memory = torch::full({size}, kInf), zero = torch::full({1}, -1.0f);
    const Tensor x = (w - w.clamp(-0.3 * s, 0.3 * s)) / s;
    torchreg::detail::NormArrays<float> a{};
    a.w = w.data_ptr<float>(), a.memory = memory.data_ptr<float>();
    a.zero = zero.data_ptr<float>(), a.steps = s.data_ptr<float>();
    a.step = a.weight_of_groups = a.newest = 1, a.size = size, a.l1 = 0.3;
    a.group = x.to(torch::kDouble).norm().item<double>() * (1 + 3e-8 * (k % 7 - 3));
    REQUIRE(torchreg::detail::NormRow<float, true>(a, 0).run());
    REQUIRE((zero.item<float>() == 1) == (w == 0).all().item<bool>());
    REQUIRE(memory.isfinite().all().item<bool>());
    zeros += zero.item<float>() == 1 ? 1 : 0;
  }
  REQUIRE(zeros > 1000);
  REQUIRE(zeros < 3000);
}

TEST_CASE("The memory of groups is its definition, step by step, saved and resumed to the bit") {
  torch::manual_seed(8);
  const double l1 = 0.05, group = 0.2;
  const int64_t rows_count = 8, size = 3;
  const auto prox_of = [=](double t) {
    return [=](const std::vector<double>& w, const std::vector<double>& s) {
      return sparse_group_prox(w, s, l1, t);
    };
  };
  const double t = group * std::sqrt(3.0);
  const auto slope = [=](const std::vector<double>& w) {
    std::vector<double> r;
    const double norm = norm_of(w);
    for (const double x : w) r.push_back(x == 0 ? 0 : std::copysign(l1, x) + t * x / norm);
    return r;
  };
  for (const bool adam : {false, true}) {
    CAPTURE(adam);
    const Tensor w = (0.3 * torch::randn({rows_count, size}, torch::kDouble)).requires_grad_();
    torch::optim::Adam by_adam({w}, torch::optim::AdamOptions(0.05));
    torch::optim::SGD by_sgd({w}, torch::optim::SGDOptions(0.1).momentum(0.5));
    torch::optim::Optimizer& optimizer =
        adam ? static_cast<torch::optim::Optimizer&>(by_adam) : by_sgd;
    const auto make = [&](const Parameters& p) {
      return adam ? std::make_unique<ProximalStep<SparseGroupLasso>>(by_adam, p,
                                                                     SparseGroupLasso(l1, group))
                  : std::make_unique<ProximalStep<SparseGroupLasso>>(by_sgd, p,
                                                                     SparseGroupLasso(l1, group));
    };
    auto prox = make(w);
    prox->options().memory(10);
    std::vector<GroupModel> models(rows_count, GroupModel{10, prox_of(t), slope});
    int zeros = 0, wakes = 0;
    for (int step = 0; step < 200; ++step) {
      const Tensor target = torch::linspace(-1, 1, rows_count, torch::kDouble).unsqueeze(1) *
                            torch::ones({1, size}, torch::kDouble) * (step < 120 ? 0.6 : -0.9);
      w.mutable_grad() =
          w.detach() - target + 0.5 * torch::randn({rows_count, size}, torch::kDouble);
      optimizer.step();
      const auto moved = numbers(w);
      const auto s = adam ? numbers(step_size(by_adam, w)) : std::vector<double>();
      prox->step();
      const auto after = numbers(w);
      for (int64_t g = 0; g < rows_count; ++g) {
        const auto of = [&](const std::vector<double>& x) {
          return std::vector<double>(x.begin() + g * size, x.begin() + (g + 1) * size);
        };
        auto& model = models[g];
        // SGD's momentum adds up at its first steps: the step is what was taken.
        std::vector<double> own_step;
        if (adam) {
          own_step = of(s);
        } else {
          double kappa = 1;
          for (int k = 0; k < step; ++k) kappa = 0.5 * kappa + 1;
          own_step.assign(size, 0.1 * kappa);
        }
        const bool was_zero = model.state == GroupModel::zero;
        const auto expected = model.step(of(moved), own_step);
        const auto found = of(after);
        for (int64_t i = 0; i < size; ++i) {
          CAPTURE(step, g, i);
          REQUIRE(found[i] == Approx(expected[i]).epsilon(1e-9).margin(1e-11));
          REQUIRE((found[i] == 0) == (expected[i] == 0));
        }
        zeros += model.state == GroupModel::zero;
        wakes += was_zero && model.state == GroupModel::live;
      }
      if (step == 60) {  // saved and loaded in mid-run
        std::stringstream stream;
        torch::serialize::OutputArchive out;
        out << *prox;
        out.save_to(stream);
        auto resumed = make(w);
        resumed->options().memory(10);
        torch::serialize::InputArchive in;
        in.load_from(stream);
        in >> *resumed;
        prox = std::move(resumed);
      }
    }
    REQUIRE(zeros > 50);
    REQUIRE(wakes > 0);
  }
}

TEST_CASE("Groups in registers are as those of LibTorch's operations, with memory") {
  for (const auto type : {torch::kFloat, torch::kDouble}) {
    for (const bool adam : {false, true}) {
      for (const bool by_columns : {false, true}) {
        for (const int64_t memory : {0, 8}) {
          for (const auto& [size, has_dead] :
               {std::pair<int64_t, bool>{5, true}, {5, false}, {45, true}, {45, false}}) {
            CAPTURE(type, adam, by_columns, memory, size, has_dead);
            torch::manual_seed(13);
            const int64_t groups = 12;
            const Tensor truth = torch::randn({groups, 1}).expand({groups, size}).to(type);
            const auto laid = [&](const Tensor& x) {
              return (by_columns ? x.t() : x).contiguous().clone();
            };
            const Tensor w = laid((0.1 * torch::randn({groups, size})).to(type)).requires_grad_();
            const Tensor twin = w.detach().clone().requires_grad_();
            const Tensor number = torch::arange(groups).unsqueeze(by_columns ? 0 : 1);
            const auto run = [&, size = size, has_dead = has_dead](auto& first, auto& second) {
              const auto grouping = by_columns ? columns() : rows();
              ProximalStep prox(first, w, SparseGroupLasso(0.02, 0.2, grouping).scaled_by(2));
              ProximalStep slow(second, twin, SparseGroupLasso(0.01, 0.1, by(number)).scaled_by(4));
              prox.options().memory(memory), slow.options().memory(memory);
              int64_t changes = 0;
              Tensor zeros = torch::zeros({groups}, torch::kBool);
              for (int step = 0; step < 80; ++step) {
                const Tensor noise = (0.3 * torch::randn({groups, size})).to(type);
                const Tensor wanted = step < 50 ? truth : -truth.flip(0);
                Tensor g = laid(noise - wanted) + w.detach();
                if (has_dead) g.select(by_columns ? 0 : 1, 3).zero_();  // an entry of each group
                w.mutable_grad() = g, twin.mutable_grad() = g.clone();
                first.step(), second.step();
                prox.step(), slow.step();
                const double error = type == torch::kFloat ? 2e-4 : 1e-11;
                REQUIRE(torch::allclose(w, twin, error, error));
                const Tensor now = (w == 0).all(by_columns ? 0 : 1);
                REQUIRE(torch::equal(now, (twin == 0).all(by_columns ? 0 : 1)));
                changes += (now != zeros).sum().template item<int64_t>();
                zeros = now;
              }
              REQUIRE(changes > 0);
            };
            if (adam) {
              torch::optim::Adam a({w}, 0.02), b({twin}, 0.02);
              run(a, b);
            } else {
              const auto options = torch::optim::SGDOptions(0.05).momentum(0.5);
              torch::optim::SGD a({w}, options), b({twin}, options);
              run(a, b);
            }
          }
        }
      }
    }
  }
}

TEST_CASE("Short groups and columns in registers are their definition, of tiny and huge ones too") {
  torch::manual_seed(8);
  for (const auto type : {torch::kFloat, torch::kDouble}) {
    for (const int64_t size : {1, 2, 3, 4, 7, 8, 9, 16, 25, 31, 32, 33}) {
      for (const double l1 : {0.0, 0.3}) {
        CAPTURE(type, size, l1);
        Tensor x = torch::randn({150, size}, torch::kDouble).to(type);
        x[3].zero_();
        x[70].mul_(1e-25), x[71].mul_(1e25);  // their squares under- and overflow in float
        x[149].mul_(0.1);
        const Tensor weights = torch::rand({150});
        const Tensor wide = x.to(torch::kDouble);
        const Tensor shrunk = wide.sign() * (wide.abs() - 0.7 * l1).clamp_min(0);
        const Tensor reach = 0.7 * 0.8 * weights.to(torch::kDouble).unsqueeze(1);
        const Tensor norms = shrunk.norm(2, 1, true);
        const Tensor expected = shrunk * ((norms - reach).clamp_min(0) / norms.clamp_min(1e-99));
        for (const bool by_columns : {false, true}) {
          const auto grouping = by_columns ? columns() : rows();
          const SparseGroupLasso penalty(l1, 0.8, grouping.weighted(weights));
          const auto prox = [&](const Tensor& v) { penalty.prox_(v, 0.7); };
          const Tensor w = by_columns ? proxed(prox, x.t().contiguous()).t() : proxed(prox, x);
          REQUIRE(
              torch::allclose(w.to(torch::kDouble), expected, tolerance(type), tolerance(type)));
          REQUIRE(torch::equal(w == 0, expected == 0));
        }
      }
    }
  }
}

TEST_CASE("An entry whose step is no number rests, and its group is nearest among the others") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const auto type : {torch::kFloat, torch::kDouble}) {
    for (const bool in_registers : {true, false}) {
      for (const int64_t memory : {0, 256}) {
        CAPTURE(type, in_registers, memory);
        const Tensor numbers = torch::arange(3).unsqueeze(1);
        const auto grouping = in_registers ? rows() : by(numbers);
        const GroupLasso penalty(0.5, grouping);
        const Tensor w = torch::empty({3, 4}, type).requires_grad_();
        torch::optim::Adam adam({w}, 0.1);
        ProximalStep prox(adam, w, penalty);
        prox.options().memory(memory);
        Tensor g = torch::linspace(0.5, 2, 12, type).view({3, 4});
        g[1][2] = nan, g[2][0] = nan;
        w.mutable_grad() = g;
        adam.step();
        torch::NoGradGuard no_grad;
        w.fill_(2), w[2].fill_(1e-4), w[2][0] = 2;  // as nan_to_num_() would repair it
        const Tensor expected = w.clone();
        penalty.prox_(expected, torch::nan_to_num(step_size(adam, w), 0, 0, 0));
        prox.step();
        const double error = tolerance(type);
        REQUIRE(torch::allclose(w, expected, error, error));
        REQUIRE(w[1][2].item<double>() == 2);
        REQUIRE((w != 0).all().item<bool>());  // none within a group
      }
    }
  }
}

TEST_CASE("Steps so short that squares of w / step overflow leave groups as they are") {
  for (const int64_t memory : {0, 256}) {
    const Tensor w = torch::ones({4, 5}).requires_grad_();
    torch::optim::Adam adam({w}, 1e-20);
    ProximalStep prox(adam, w, GroupLasso(0.1));
    prox.options().memory(memory);
    support::step_with(adam, w, torch::ones({4, 5}));
    prox.step();
    REQUIRE(torch::equal(w, torch::ones({4, 5})));
  }
}

TEST_CASE("A group of weight 0 stays under strengths beyond the type") {
  for (const auto type : {torch::kFloat, torch::kDouble}) {
    for (const int64_t size : {3, 9, 33, 40}) {
      for (const bool are_columns : {false, true}) {
        CAPTURE(type, size, are_columns);
        const Tensor weights = torch::tensor({0.0, 1.0, 0.0, 1.0});
        const Tensor w = torch::ones(
            are_columns ? std::vector<int64_t>{size, 4} : std::vector<int64_t>{4, size}, type);
        const auto grouping = are_columns ? columns() : torchreg::rows();
        GroupLasso(1e308, grouping.weighted(weights)).prox_(w, 100);
        const Tensor kept = (weights == 0).to(type).unsqueeze(are_columns ? 0 : 1).expand_as(w);
        REQUIRE(torch::equal(w, kept));
      }
    }
  }
}

TEST_CASE("Groups under steps and strengths beyond the type stay numbers") {
  const Tensor x = torch::tensor({{1.0, -2.0}, {3.0, -4.0}});
  const auto check = [&](const auto& penalty, const Tensor& step, const auto& expected) {
    for (const auto type : {torch::kFloat, torch::kHalf}) {
      for (const bool are_columns : {false, true}) {
        CAPTURE(type, are_columns, step);
        const Tensor w = are_columns ? x.to(type).t().clone().t() : x.to(type).clone();
        penalty.prox_(w, step);
        REQUIRE(torch::allclose(w.to(torch::kDouble), expected(x).to(torch::kDouble), 1e-5, 0));
      }
    }
  };
  const auto stays = [](const Tensor& w) { return w; };
  const auto vanishes = [](const Tensor& w) { return torch::zeros_like(w); };
  const Tensor one = torch::ones({}), each = torch::ones({2, 2}), none = torch::zeros({2, 2});
  for (const auto& grouping : {torchreg::rows(), columns()}) {
    check(GroupLasso(1, grouping), 1e-40 * each, stays);
    check(SparseGroupLasso(1, 0.5, grouping), 1e-40 * each, stays);
    check(GroupLasso(1e39, grouping), none, stays);
    check(GroupLasso(1e39, grouping), each, vanishes);
    check(GroupLasso(1e39, grouping), one, vanishes);
    check(GroupMCP(1e-40, 3, grouping), one, stays);
    check(GroupSCAD(1e-40, 3.7, grouping), one, stays);
    check(GroupMCP(1e39, 3, grouping), one, vanishes);
    check(GroupSCAD(1e39, 3.7, grouping), one, vanishes);
    for (const double size : {1.0, 1e-30, 1e30}) {
      const Tensor w = x.to(torch::kFloat) * size, own = w.clone();
      GroupLasso(1e39, grouping).scaled_by(0).prox_(w, 1);
      REQUIRE(torch::equal(w, own));
      const Tensor stepped = own.clone().set_requires_grad(true);
      torch::optim::SGD sgd({stepped}, 0.1);
      ProximalStep prox(sgd, stepped, GroupLasso(1, grouping).scaled_by(0));
      support::step_with(sgd, stepped, torch::zeros({2, 2}));
      prox.step();
      REQUIRE(torch::equal(stepped.detach(), own));
    }
    const Tensor tiny = x * 1e-30;  // whose squares are 0
    for (const Tensor& step : {none, none + torch::tensor({{0.0, 1.0}, {0.0, 1.0}})}) {
      const Tensor w = tiny.clone();
      GroupLasso(1e39, grouping).prox_(w, step);
      REQUIRE(torch::equal(w, tiny.masked_fill(step > 0, 0)));
    }
  }
  const Tensor w = x.clone().set_requires_grad(true);
  torch::optim::Adagrad adagrad({w}, torch::optim::AdagradOptions(1e-38));
  ProximalStep prox(adagrad, w, GroupLasso(1));
  for (int t = 0; t < 4; ++t) {
    support::step_with(adagrad, w, torch::ones({2, 2}));
    prox.step();
  }
  REQUIRE(torch::equal(w.detach(), x));
}

TEST_CASE("The prox of group lasso is as large as its tensor, however small or large that is") {
  torch::manual_seed(20);
  const std::vector<std::pair<Grouping, std::vector<int64_t>>> cases{{torchreg::rows(), {6, 50}},
                                                                     {torchreg::rows(), {100, 5}},
                                                                     {columns(), {50, 6}},
                                                                     {kernels(), {9, 4, 3, 3}}};
  const auto proxed = [](double lambda, const Grouping& grouping, const Tensor& x,
                         const Tensor& step) {
    const Tensor w = x.clone();
    const GroupLasso lasso(lambda, grouping);
    step.dim() == 0 ? lasso.prox_(w, step.item<double>()) : lasso.prox_(w, step.to(w.dtype()));
    return w;
  };
  for (const auto& [grouping, sizes] : cases) {
    const Tensor x = torch::randn(sizes, torch::kDouble);
    const Tensor each = torch::rand(sizes, torch::kDouble).masked_fill_(torch::rand(sizes) < .2, 0);
    for (const auto type : {torch::kFloat, torch::kDouble}) {
      for (const double size : {1e-30, 1e-22, 1e-18, 1e-10, 1e25}) {
        const double scale = type == torch::kDouble ? std::pow(size, 6) : size;
        for (const Tensor& step : {torch::ones({}, torch::kDouble), each}) {
          for (const double lambda : {0.0, 0.5, 2.5}) {
            CAPTURE(grouping, type, scale, step.dim(), lambda);
            const Tensor expected = proxed(lambda, grouping, x, step), w = (x * scale).to(type);
            for (const Tensor& z : {proxed(lambda * scale, grouping, w, step),
                                    proxed(lambda, grouping, w, step * scale)}) {
              const Tensor own = z.to(torch::kDouble) / scale;
              REQUIRE(torch::allclose(own, expected, 1e-5, 1e-6));
              REQUIRE(torch::equal(own == 0, expected == 0));
            }
          }
        }
      }
    }
  }
}

TEST_CASE("Groups of tiny entries become 0.0, not -0.0, and those of no group stay in a step") {
  const Tensor tiny = torch::full({1, 4}, -1e-17f);
  GroupLasso(1).prox_(tiny, 0.1);
  REQUIRE(torch::equal(tiny, torch::zeros({1, 4})));
  REQUIRE(!tiny.signbit().any().item<bool>());
  const Tensor w = torch::ones({4}).requires_grad_();
  torch::optim::SGD sgd({w}, 0.1);
  ProximalStep prox(sgd, w, GroupLasso(1, by(torch::full({4}, -1))));
  for (int step = 0; step < 2; ++step) {
    support::step_with(sgd, w, torch::zeros({4}));
    prox.step();
  }
  REQUIRE(torch::equal(w, torch::ones({4})));
}

TEST_CASE("Under minibatch noise just the true groups are alive, after every optimizer") {
  torch::manual_seed(9);
  const int64_t groups = 20, size = 5, samples = 2000;
  const Tensor x = torch::randn({samples, groups * size}, torch::kDouble);
  Tensor truth = torch::zeros({groups * size, 1}, torch::kDouble);
  truth.narrow(0, 0, 3 * size).copy_(torch::randn({3 * size, 1}, torch::kDouble).sign());
  const Tensor y = x.matmul(truth) + 2 * torch::randn({samples, 1}, torch::kDouble);
  for (const auto& optimizer_case : support::optimizer_cases()) {
    if (!optimizer_case.is.common) continue;
    CAPTURE(optimizer_case.name);
    Tensor w = torch::zeros({groups, size}, torch::kDouble).requires_grad_();
    const auto optimizer = optimizer_case.make({w}, optimizer_case.is.sgd ? 2e-3 : 1e-2);
    ProximalStep prox(*optimizer, w, GroupLasso(0.15));
    int64_t alive = 0, looks = 0;
    for (int step = 0; step < 4000; ++step) {
      const Tensor batch = torch::randint(samples, {8}, torch::kLong);
      const Tensor error =
          x.index_select(0, batch).matmul(w.view({-1, 1})) - y.index_select(0, batch);
      optimizer->zero_grad();
      (error.square().mean() / 2).backward();
      optimizer->step();
      prox.step();
      if (step < 2000) continue;
      alive += groups - sparsity(w, rows()).zero_groups;
      ++looks;
    }
    REQUIRE(static_cast<double>(alive) / static_cast<double>(looks) < 3.05);
    REQUIRE(sparsity(w, rows()).zero_groups == 17);
    REQUIRE((w.narrow(0, 0, 3) != 0).any(1).all().item<bool>());
  }
}

namespace {

struct UnitsImpl : torch::nn::Module {
  UnitsImpl() {
    fc1 = register_module("fc1", torch::nn::Linear(3, 4));
    scale = register_parameter("scale", torch::ones({8}));
    fc2 = register_module("fc2", torch::nn::Linear(4, 2));
    to(torch::kDouble);
  }
  Tensor forward(const Tensor& x) { return fc2(torch::tanh(fc1(x)) * scale.view({4, 2}).sum(1)); }
  torch::nn::Linear fc1{nullptr}, fc2{nullptr};
  Tensor scale;
};
TORCH_MODULE(Units);

Links units() {
  return linked({{"fc1.weight", 0}, {"fc1.bias", 0}, {"scale", 0}, {"fc2.weight", 1}});
}

}  // namespace

TEST_CASE("Linked slices are as one tensor of them side by side, after SGD and Adam") {
  for (const bool adam : {false, true}) {
    torch::manual_seed(10);
    Units net;
    const auto joined = [](const Units& n) {
      torch::NoGradGuard no_grad;
      return torch::cat({n->fc1->weight, n->fc1->bias.view({4, 1}), n->scale.view({4, 2}),
                         n->fc2->weight.t()},
                        1)
          .clone();
    };
    Tensor all = joined(net).requires_grad_();
    const auto run = [&](auto& optimizer, auto& of_all) {
      ProximalStep linked_step(optimizer, net, GroupLasso(0.3, units()));
      ProximalStep step(of_all, all, GroupLasso(0.3, rows()));
      bool any = false;
      for (int k = 0; k < 60; ++k) {
        net->zero_grad();
        const Tensor x = torch::randn({8, 3}, torch::kDouble);
        (net->forward(x) - x.narrow(1, 0, 2)).square().mean().backward();
        all.mutable_grad() =
            torch::cat({net->fc1->weight.grad(), net->fc1->bias.grad().view({4, 1}),
                        net->scale.grad().view({4, 2}), net->fc2->weight.grad().t()},
                       1)
                .clone();
        optimizer.step(), of_all.step();
        linked_step.step(), step.step();
        REQUIRE(torch::allclose(joined(net), all, 1e-10, 1e-12));
        any = any || (all == 0).all(1).any().template item<bool>();
      }
      REQUIRE(any);
    };
    const auto parameters = net->parameters();
    if (adam) {
      torch::optim::Adam a(parameters, 0.02), b({all}, 0.02);
      run(a, b);
    } else {
      torch::optim::SGD a(parameters, 0.1), b({all}, 0.1);
      run(a, b);
    }
    const auto counted = sparsity(*net, units());
    REQUIRE(counted.groups == 4);
    REQUIRE(counted.tensors.size() == 1);
    REQUIRE(counted.tensors[0].entries == 32);
    REQUIRE(counted.zero_groups == (all == 0).all(1).sum().item<int64_t>());
    Tensor a = GroupLasso(0.3, units())(net), b = GroupLasso(0.3)(all);
    REQUIRE(a.item<double>() == Approx(b.item<double>()));
    net->zero_grad();
    a.backward();
    all.mutable_grad() = Tensor();
    b.backward();
    REQUIRE(torch::allclose(net->fc2->weight.grad().t(), all.grad().narrow(1, 6, 2)));
    net->zero_grad();
    GroupLasso(0.3, units()).add_gradient_(net);
    REQUIRE(torch::allclose(net->fc1->bias.grad(), all.grad().select(1, 3)));
  }
}

TEST_CASE("A linked tensor that was not moved stays, and counts") {
  Units net;
  torch::NoGradGuard no_grad;
  for (auto& p : net->parameters()) p.fill_(0.1);
  const Tensor scale = net->scale.clone();
  const auto parameters = net->parameters();
  torch::optim::SGD sgd(parameters, torch::optim::SGDOptions(0.1));
  ProximalStep prox(sgd, net, GroupLasso(1, units()));
  prox.options().memory(0);
  for (auto& p : net->parameters()) p.mutable_grad() = torch::zeros_like(p);
  net->scale.mutable_grad() = Tensor();
  sgd.step();
  prox.step();
  REQUIRE(torch::equal(net->scale, scale));
  const Tensor w = net->fc1->weight;
  const double z = w[0][0].item<double>();  // by the stationarity of the group with scale at rest
  const double norm = std::sqrt(6 * z * z + 2 * 0.01);
  REQUIRE((0.1 - z) / 0.1 == Approx(std::sqrt(8.0) * z / norm).epsilon(1e-9));
}

TEST_CASE("A write to any tensor of a link forgets its groups' memory, which begins anew") {
  for (const std::size_t written : {0, 1}) {
    CAPTURE(written);
    const std::vector<Tensor> both{torch::zeros({3, 2}).requires_grad_(),
                                   torch::zeros({3}).requires_grad_()};
    torch::optim::SGD sgd(both, torch::optim::SGDOptions(0.1));
    ProximalStep prox(sgd, both, GroupLasso(1, linked({{"tensor 0", 0}, {"tensor 1", 0}})));
    prox.options().memory(16);
    const auto step = [&](double gradient) {
      for (const Tensor& w : both) w.mutable_grad() = torch::full_like(w, gradient);
      sgd.step();
      prox.step();
    };
    for (int t = 0; t < 100; ++t) step(0.1);
    {
      torch::NoGradGuard no_grad;
      both[written].fill_(0);
    }
    for (int t = 0; t < 100; ++t) step(0.1);
    step(-5);  // one, against a hundred
    for (const Tensor& w : both) REQUIRE((w == 0).all().item<bool>());
  }
}

TEST_CASE("Links: errors name the path, the dimension and the sizes") {
  Units net;
  torch::optim::SGD sgd(net->parameters(), 0.1);
  const auto error = [&](const Links& links) {
    return error_of([&] { ProximalStep prox(sgd, net, GroupLasso(1, links)); });
  };
  REQUIRE(contains(error(linked({{"fc1.wieght", 0}})), "did you mean \"fc1.weight\"?"));
  REQUIRE(contains(error(linked({{"fc1.weight", 2}})),
                   "\"fc1.weight\" of shape [4, 3] has no dimension 2"));
  REQUIRE(
      contains(error(linked({{"fc1.weight", 0}, {"fc2.weight", 0}})),
               "\"fc2.weight\" of shape [2, 4] has 2 slices along dimension 0, no multiple of 4"));
  REQUIRE(contains(error_of([] {
                     linked({{"a", 0}, {"a", 1}});
                   }),
                   "linked: \"a\" is in two links"));
  REQUIRE(contains(error_of([] { linked({{"a", 0}}).add({{"a", 0}}); }), "is in two links"));
  Links links = linked({{"a", 0}});
  REQUIRE(contains(error_of([&] { links.add({{"b", 0}, {"a", 0}}); }), "\"a\" is in two links"));
  REQUIRE(links.selector().describe() == "linked(\"a\")");  // as before
  links.add({{"b", 0}});
  REQUIRE(contains(error_of([&] { sparsity(*net, linked({{"fc1.wieght", 0}})); }), "did you mean"));
  net->fc1->bias.set_requires_grad(false);
  REQUIRE(contains(error(units()), "fc1.bias"));
  net->fc1->bias.set_requires_grad(true);
  const auto sgds = [&](double lr) {
    return torch::optim::OptimizerParamGroup({net->fc1->weight},
                                             std::make_unique<torch::optim::SGDOptions>(lr));
  };
  std::vector<torch::optim::OptimizerParamGroup> param_groups;
  param_groups.push_back(sgds(0.1));
  param_groups.emplace_back(
      torch::optim::OptimizerParamGroup({net->fc1->bias, net->scale, net->fc2->weight},
                                        std::make_unique<torch::optim::SGDOptions>(0.2)));
  torch::optim::SGD two(std::move(param_groups), torch::optim::SGDOptions(0.1));
  ProximalStep differ(two, net, GroupMCP(1, 3, units()));
  for (auto& p : net->parameters()) p.mutable_grad() = torch::ones_like(p);
  two.step();
  const Tensor before = net->fc1->weight.detach().clone();
  REQUIRE(contains(error_of([&] { differ.step(); }),
                   "GroupMCP has no exact prox for a step per entry"));
  REQUIRE(torch::equal(before, net->fc1->weight));
  for (auto& group : two.param_groups()) {
    static_cast<torch::optim::SGDOptions&>(group.options()).lr(0.1);
  }
  differ.step();  // what was refused was not noted
  REQUIRE(!torch::equal(before, net->fc1->weight));
  torch::optim::Adam adam(net->parameters(), 0.1);
  REQUIRE(
      error_of([&] { ProximalStep prox(adam, net, GroupSCAD(1)); }) ==
      "ProximalStep: GroupSCAD has no exact prox for a step per entry (Adam); use GroupLasso, or "
      "SGD with momentum");
  REQUIRE(contains(error_of([&] { ProximalStep prox(adam, net, Nuclear(1)); }),
                   "; use SGD with momentum"));
}

TEST_CASE("A link names a tied tensor by its first path") {
  struct Tied : torch::nn::Module {
    Tied() {
      encoder = register_module("encoder", torch::nn::Linear(4, 4));
      decoder = register_module("decoder", torch::nn::Linear(4, 4));
      decoder->weight = decoder->register_parameter("tied", encoder->weight);
    }
    torch::nn::Linear encoder{nullptr}, decoder{nullptr};
  };
  const Tied net;
  const Links second = linked({{"encoder.bias", 0}, {"decoder.tied", 0}});
  const std::string what =
      "linked: \"decoder.tied\" is a second path of \"encoder.weight\"; name it by the first";
  torch::optim::SGD sgd(net.parameters(), 0.1);
  REQUIRE(error_of([&] { ProximalStep prox(sgd, net, GroupLasso(1, second)); }) == what);
  REQUIRE(error_of([&] { GroupLasso(1, second)(net); }) == what);
  REQUIRE(error_of([&] { sparsity(net, second); }) == what);
  REQUIRE(sparsity(net, linked({{"encoder.bias", 0}, {"encoder.weight", 0}})).groups == 4);
}

TEST_CASE("A tensor in no link is refused: the links are the selector") {
  Units net;
  const GroupLasso wider(0.1, linked({{"fc1.weight", 0}}), weights());
  const std::string what =
      "GroupLasso: \"fc2.weight\" is in no link; leave the selector out, which is the links' own";
  REQUIRE(error_of([&] { wider(*net); }) == what);
  torch::optim::SGD sgd(net->parameters(), 0.1);
  REQUIRE(error_of([&] { ProximalStep prox(sgd, *net, wider); }) == what);
}

TEST_CASE("lambda_max asks no tensor whose gradient is in free groups alone") {
  const auto grouping = by(torch::tensor({0, 0, -1}, torch::kLong)).unweighted();
  const auto tensor = [](const std::vector<float>& gradient) {
    const Tensor w = torch::zeros({3}).requires_grad_();
    w.mutable_grad() = torch::tensor(gradient);
    return w;
  };
  const Tensor free = tensor({0, 0, 5}), held = tensor({3, 4, 5});
  REQUIRE(lambda_max({free, held}, GroupLasso(1, grouping)) == Approx(5).epsilon(1e-6));
  REQUIRE(lambda_max({free}, GroupLasso(1, grouping)) == 0);
  const auto unpenalized = runs(1).weighted(torch::tensor({0.0, 1.0, 1.0}));
  REQUIRE(lambda_max({tensor({2, 0, 0})}, GroupLasso(1, unpenalized)) == 0);
  REQUIRE(
      contains(error_of([&] { lambda_max({held}, GroupLasso(0, grouping)); }), "makes no zeros"));
}

TEST_CASE("A group is not held at zero beside an entry that rests elsewhere, in any type") {
  for (const auto type : {torch::kFloat, torch::kDouble, torch::kBFloat16}) {
    CAPTURE(type);
    Tensor a = torch::zeros({1, 2}, type).requires_grad_();
    Tensor b = torch::zeros({1, 1}, type).requires_grad_();
    torch::optim::SGD sgd({a, b}, torch::optim::SGDOptions(0.5));
    const Links pair = linked({{"tensor 0", 0}, {"tensor 1", 0}}).unweighted();
    ProximalStep prox(sgd, {a, b}, GroupLasso(1, pair));
    prox.options().memory(8);
    const auto step = [&](double of_a, double of_b) {
      a.mutable_grad() = torch::full_like(a, of_a).detach();
      b.mutable_grad() = torch::full_like(b, of_b).detach();
      sgd.step();
      prox.step();
    };
    for (int i = 0; i < 40; ++i) step(0.1, 0.1);
    REQUIRE((a == 0).all().item<bool>());
    b.set_requires_grad(false);  // the optimizer still moves it, by the gradient that it has
    step(-1.5, -1);
    REQUIRE(a[0][0].item<double>() == Approx(0.468).epsilon(0.01));
  }
}

TEST_CASE("The certificate at zeros is that of entries in no group, too") {
  const Tensor w = torch::tensor({0.0, 1.0, 2.0, 2.0, 0.0, 3.0}, torch::kDouble).requires_grad_();
  w.mutable_grad() = torch::tensor({9.0, -0.1, 0.0, 0.0, 0.0, 0.0}, torch::kDouble);
  const auto grouping = by(torch::tensor({-1, -1, 0, 0, -1, -1}, torch::kLong));
  const Stationarity found = stationarity(Parameters(w), SparseGroupLasso(0.1, 0.1, grouping));
  REQUIRE(found.largest == Approx(8.9));
  REQUIRE(found.tensors[0].largest_at_zeros == Approx(8.9));
}

TEST_CASE("TargetSparsity by groups counts no empty group") {
  const auto grouping = by(torch::tensor({{0}, {10}, {20}, {30}}, torch::kLong));
  const Tensor w = torch::ones({4, 2}).requires_grad_();
  {
    torch::NoGradGuard no_grad;
    w[0].zero_();
  }
  torch::optim::SGD sgd({w}, 0.1);
  ProximalStep prox(sgd, w, GroupLasso(1, grouping));
  REQUIRE(TargetSparsity(prox, 0.5, grouping).zeros() == 0.25);
}

TEST_CASE("A state of other groups, or of entries, is not loaded") {
  Tensor w = torch::eye(4).requires_grad_();
  torch::optim::SGD sgd({w}, torch::optim::SGDOptions(0.1));
  ProximalStep by_rows(sgd, w, GroupLasso(0.1)), by_columns(sgd, w, GroupLasso(0.1, columns()));
  ProximalStep along_rows(sgd, w, SparseGroupLasso(0.1, 0.1, along(0)));
  ProximalStep entries(sgd, w, L1(0.1));
  const auto indexed = [&](const std::vector<int64_t>& numbers) {
    return GroupLasso(0.1, by(torch::tensor(numbers, torch::kLong).view({4, 1})));
  };
  ProximalStep of_index(sgd, w, indexed({0, 0, 1, 1})), of_other(sgd, w, indexed({0, 1, 0, 1}));
  w.mutable_grad() = torch::zeros({4, 4});
  sgd.step();
  by_rows.step();
  const std::string of_rows = support::saved(by_rows);
  REQUIRE(error_of([&] { support::load(by_columns, of_rows); }) ==
          "ProximalStep: the saved state is of \"tensor 0\" [4, 4] in groups of [1, 4] where this "
          "one has \"tensor 0\" [4, 4] in groups of [4, 1]");
  REQUIRE(contains(error_of([&] { support::load(entries, of_rows); }),
                   "in groups of [1, 4] where this one has \"tensor 0\" [4, 4]"));
  REQUIRE(contains(error_of([&] { support::load(by_rows, support::saved(entries)); }),
                   "is of \"tensor 0\" [4, 4] where"));
  REQUIRE(contains(error_of([&] { support::load(of_other, support::saved(of_index)); }),
                   "in 2 groups by index"));
  support::load(of_index, support::saved(of_index));
  ProximalStep of_three(sgd, w, indexed({2, 1, 1, 2})), of_others(sgd, w, indexed({1, 2, 2, 1}));
  REQUIRE(!error_of([&] { support::load(of_others, support::saved(of_three)); }).empty());
  Tensor a = torch::ones({4}).requires_grad_(), b = torch::ones({4}).requires_grad_();
  Tensor c = torch::ones({4}).requires_grad_();
  torch::optim::SGD of_all({a, b, c}, torch::optim::SGDOptions(0.1));
  const auto pair = [](const std::string& with, const std::string& other) {
    return GroupLasso(1, linked({{"tensor 0", 0}, {with, 0}}).add({{other, 0}}));
  };
  ProximalStep first(of_all, {a, b, c}, pair("tensor 1", "tensor 2"));
  ProximalStep second(of_all, {a, b, c}, pair("tensor 2", "tensor 1"));
  REQUIRE(contains(error_of([&] { support::load(second, support::saved(first)); }),
                   "in groups of [1] linked to \"tensor 0\" where this one has \"tensor 1\""));
  support::load(along_rows, of_rows);  // the same groups under another name, of another penalty
}

TEST_CASE("Weights are refused by formulas that take none") {
  const auto weighted = rows().weighted(torch::ones({2}));
  REQUIRE(contains(error_of([&] {
                     L1Ball(1, weighted).prox_(torch::ones({2, 3}), 1);
                   }),
                   "L1Ball takes no weights of groups: leave weighted() out"));
  GroupLasso(1, weighted).prox_(torch::ones({2, 3}), 1);
}

TEST_CASE("Weights of links are one for each group") {
  torch::nn::Linear fc(2, 3);
  const Links units = linked({{"weight", 0}, {"bias", 0}});
  const Grouping few = Grouping(units).weighted(torch::ones({2}));
  REQUIRE(contains(error_of([&] { GroupLasso(1, few, units.selector())(fc); }),
                   "GroupLasso: linked(...) does not fit \"weight\" of shape [3, 2]: 2 weights for "
                   "3 groups"));
  torch::NoGradGuard no_grad;
  fc->weight.fill_(3), fc->bias.fill_(1);
  GroupLasso(1, Grouping(units).weighted(torch::tensor({0., 1., 99.})), units.selector())
      .prox_(fc, 1);
  const double norm = std::sqrt(19.0);
  REQUIRE(torch::allclose(fc->bias, torch::tensor({1., (norm - 1) / norm, 0.}).to(torch::kFloat)));
}

TEST_CASE("Certificate and lambda_max of groups are their closed forms") {
  torch::manual_seed(11);
  const Tensor w = torch::randn({4, 3}, torch::kDouble).requires_grad_();
  {
    torch::NoGradGuard no_grad;
    w[1].zero_();
  }
  const Tensor g = torch::randn({4, 3}, torch::kDouble);
  w.mutable_grad() = g;
  const double t = 0.7 * std::sqrt(3.0);
  const auto found = stationarity(w, GroupLasso(0.7));
  double largest = 0, sum = 0, at_zeros = 0;
  for (int64_t k = 0; k < 4; ++k) {
    const double norm = w[k].norm().item<double>();
    const double distance = norm == 0 ? std::max(g[k].norm().item<double>() - t, 0.0)
                                      : (g[k] + t * w[k].detach() / norm).norm().item<double>();
    largest = std::max(largest, distance);
    sum += distance * distance;
    if (norm == 0) at_zeros = distance;
  }
  REQUIRE(found.largest == Approx(largest).epsilon(1e-6));
  REQUIRE(found.norm == Approx(std::sqrt(sum)).epsilon(1e-6));
  REQUIRE(found.tensors[0].largest_at_zeros == Approx(at_zeros).epsilon(1e-6));
  REQUIRE(lambda_max(w, GroupLasso(1)) ==
          Approx(g.norm(2, 1).max().item<double>() / std::sqrt(3.0)).epsilon(1e-6));
  REQUIRE(lambda_max(w, GroupLasso(1, whole())) ==
          Approx(g.norm().item<double>() / std::sqrt(12.0)).epsilon(1e-6));
  REQUIRE(lambda_max(w, Nuclear(1)) ==
          Approx(torch::linalg_svdvals(g).max().item<double>()).epsilon(1e-6));
  Units net;
  for (auto& p : net->parameters()) p.mutable_grad() = torch::randn_like(p);
  const Tensor joined = torch::cat({net->fc1->weight.grad(), net->fc1->bias.grad().view({4, 1}),
                                    net->scale.grad().view({4, 2}), net->fc2->weight.grad().t()},
                                   1);
  REQUIRE(lambda_max(net, GroupLasso(1, units())) ==
          Approx(joined.norm(2, 1).max().item<double>() / std::sqrt(8.0)).epsilon(1e-6));
  REQUIRE(stationarity(net, GroupLasso(1, units())).tensors.size() == 1);
}

TEST_CASE("Sparsity by groups leaves out what does not fit, and counts no empty group") {
  Units net;
  {
    torch::NoGradGuard no_grad;
    net->fc1->weight[2].zero_();
    net->fc2->weight.zero_();
  }
  const auto by_columns = sparsity(*net, columns());
  REQUIRE(by_columns.tensors.size() == 2);
  REQUIRE(by_columns.groups == 7);
  REQUIRE(by_columns.zero_groups == 4);
  const auto by_rows = sparsity(*net, rows());
  REQUIRE(by_rows.tensors.size() == 5);
  REQUIRE(by_rows.zero_groups == 1 + 2);
  REQUIRE(contains(error_of([&] { sparsity(*net, kernels()); }), "kernels() fits no tensor"));
  REQUIRE(sparsity(torch::zeros({3}), by(torch::tensor({0, 2, 2}))).zero_groups == 2);
  std::ostringstream text;
  text << by_rows;
  REQUIRE(contains(text.str(), "zero groups"));
  const auto before = sparsity(*net, units());
  for (const Tensor& p : net->parameters()) p.set_requires_grad(false);
  REQUIRE(sparsity(*net, units()).zero_groups == before.zero_groups);
  REQUIRE(sparsity(*net, units()).entries == before.entries);
}

TEST_CASE("TargetSparsity by groups reaches its fraction of groups") {
  torch::manual_seed(12);
  const Tensor x = torch::randn({500, 60}, torch::kDouble);
  const Tensor scale = torch::linspace(0.1, 2, 20, torch::kDouble).repeat_interleave(3);
  const Tensor y = (x * scale * torch::randn({60}, torch::kDouble)).sum(1);
  Tensor w = torch::zeros({20, 3}, torch::kDouble).requires_grad_();
  torch::optim::Adam adam({w}, torch::optim::AdamOptions(0.02));
  ProximalStep prox(adam, w, GroupLasso(1e-3));
  TargetSparsity target(prox, 0.5, rows());
  for (int step = 0; step < 4000; ++step) {
    adam.zero_grad();
    (0.5 * (x.matmul(w.view({-1})) - y).square().mean()).backward();
    adam.step();
    prox.step();
    target.step();
  }
  REQUIRE(target.zeros() == Approx(0.5).margin(0.051));
  REQUIRE(static_cast<double>(sparsity(w, rows()).zero_groups) / 20 == target.zeros());
}

namespace {

/// Adds tensors of two threads up: what allreduce() does between processes.
class Exchange {
 public:
  Tensor sum(const Tensor& own) {
    std::unique_lock<std::mutex> lock(mutex_);
    const std::size_t round = round_;
    Tensor& total = totals_[round % 2];  // the next round may begin before the first has read it
    total = is_second_ ? total + own : own.clone();
    is_second_ = !is_second_;
    if (is_second_) {
      met_.wait(lock, [&] { return round != round_; });
    } else {
      ++round_;
      met_.notify_all();
    }
    return total.clone();
  }

 private:
  std::mutex mutex_;
  std::condition_variable met_;
  std::array<Tensor, 2> totals_;
  bool is_second_ = false;
  std::size_t round_ = 0;
};

}  // namespace

TEST_CASE("Groups cut into two shards are stepped as whole ones, after every optimizer") {
  torch::manual_seed(31);
  constexpr int64_t kRows = 12, kColumns = 7, kCut = 3;
  const Tensor start = torch::randn({kRows, kColumns}, torch::kDouble);
  const Tensor target = 0.6 * torch::randn({kRows, kColumns}, torch::kDouble) *
                        (torch::rand({kRows, 1}, torch::kDouble) < 0.5);
  const Tensor scale = torch::rand({kRows, kColumns}, torch::kDouble) * 3 + 0.2;
  const double lambda = 0.05;
  int with_zeros = 0;
  for (const auto& optimizer_case : support::optimizer_cases()) {
    for (const int64_t memory : {0, 64}) {
      CAPTURE(optimizer_case.name, memory);
      Exchange exchange;
      const auto sum = [&](const Tensor& own) { return exchange.sum(own); };
      const auto leaf = [](const Tensor& w) { return w.clone().requires_grad_(); };
      const Tensor whole = leaf(start);
      const std::vector<Tensor> shards{leaf(start.slice(1, 0, kCut)), leaf(start.slice(1, kCut))};
      const auto optimizer = optimizer_case.make({whole}, 1e-2);
      ProximalStep prox(*optimizer, whole, GroupLasso(lambda));
      prox.options().memory(memory);
      const auto first = optimizer_case.make({shards[0]}, 1e-2);
      const auto second = optimizer_case.make({shards[1]}, 1e-2);
      ProximalStep step_first(*first, shards[0], ShardedGroupLasso(lambda, sum));
      ProximalStep step_second(*second, shards[1], ShardedGroupLasso(lambda, sum));
      step_first.options().memory(memory), step_second.options().memory(memory);
      for (int step = 0; step < 150; ++step) {
        const Tensor noise = 0.1 * torch::randn({kRows, kColumns}, torch::kDouble);
        const auto gradient = [&](const Tensor& w, const Tensor& aim, const Tensor& by) {
          w.mutable_grad() = (by * (w.detach() - aim)).contiguous();
        };
        gradient(whole, target + noise, scale);
        gradient(shards[0], (target + noise).slice(1, 0, kCut), scale.slice(1, 0, kCut));
        gradient(shards[1], (target + noise).slice(1, kCut), scale.slice(1, kCut));
        optimizer->step(), first->step(), second->step();
        prox.step();
        std::thread other([&] { step_second.step(); });
        step_first.step();
        other.join();
      }
      const Tensor joined = torch::cat(shards, 1).detach();
      REQUIRE(torch::equal(joined == 0, whole == 0));
      REQUIRE(torch::allclose(joined, whole.detach(), 1e-9, 1e-12));
      with_zeros += (joined == 0).any().item<bool>();
    }
  }
  REQUIRE(with_zeros > 10);
}

TEST_CASE("A term of groups cut into two shards has the whole's value and the own gradient") {
  const Tensor w = torch::randn({6, 5}, torch::kDouble), whole = w.clone().requires_grad_();
  GroupLasso(0.3)(whole).backward();
  const double value = GroupLasso(0.3)(whole).item<double>();
  Exchange exchange;
  const auto sum = [&](const Tensor& own) { return exchange.sum(own); };
  std::vector<Tensor> shards{w.slice(1, 0, 2).clone(), w.slice(1, 2).clone()};
  std::vector<double> values(2);
  const auto run = [&](std::size_t k) {
    shards[k].requires_grad_();
    const Tensor term = ShardedGroupLasso(0.3, sum)(shards[k]);
    values[k] = term.item<double>();
    term.backward();
  };
  std::thread other([&] { run(1); });
  run(0);
  other.join();
  REQUIRE(values[0] == Approx(value).epsilon(1e-12));
  REQUIRE(values[1] == Approx(value).epsilon(1e-12));
  REQUIRE(torch::allclose(torch::cat({shards[0].grad(), shards[1].grad()}, 1), whole.grad()));
}
