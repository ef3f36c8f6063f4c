// Constraints: feasible, idempotent, the nearest point in the metric of the steps.
#include <torchreg/torchreg.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "support.hpp"

using namespace torchreg;
using support::contains;
using support::error_of;
using support::row;
using support::same_bits;
using torch::Tensor;

namespace {

/// A constraint, whether a matrix of groups in rows obeys it, and one that does.
struct Set {
  std::string name;
  std::function<void(const Tensor& w, const Tensor& step)> prox_;
  std::function<bool(const Tensor& w)> contains;
  std::function<Tensor(const Tensor& w)> some;  ///< a point of the set near w
  bool is_convex = true;
};

template <class Penalty>
auto prox_by(const Penalty& penalty) {
  return [penalty](const Tensor& w, const Tensor& step) {
    if (step.dim() == 0) {
      penalty.prox_(w, step.item<double>());
    } else {
      penalty.prox_(w, step);
    }
  };
}

std::vector<Set> sets() {
  const auto within = [](const Tensor& x, double bound) {
    return (x <= bound * (1 + 1e-12)).all().item<bool>();
  };
  return {
      {"L2Ball", prox_by(L2Ball(0.8)), [=](const Tensor& w) { return within(w.norm(2, 1), 0.8); },
       [](const Tensor& w) { return w * (0.8 / w.norm(2, 1, true)).clamp_max(1); }},
      {"L1Ball", prox_by(L1Ball(0.8, rows())),
       [=](const Tensor& w) { return within(w.abs().sum(1), 0.8); },
       [](const Tensor& w) { return w * (0.8 / w.abs().sum(1, true)).clamp_max(1); }},
      {"Simplex", prox_by(Simplex(0.8)),
       [](const Tensor& w) {
         return (w >= 0).all().item<bool>() &&
                torch::allclose(w.sum(1), torch::full({w.size(0)}, 0.8, torch::kDouble), 1e-12);
       },
       [](const Tensor& w) {
         const Tensor a = w.abs() + 1e-3;
         return a * (0.8 / a.sum(1, true));
       }},
      {"Box", prox_by(Box(-0.3, 0.5)),
       [](const Tensor& w) { return ((w >= -0.3) & (w <= 0.5)).all().item<bool>(); },
       [](const Tensor& w) { return w.clamp(-0.3, 0.5); }},
      {"TopK", prox_by(TopK(2, rows())),
       [](const Tensor& w) { return ((w != 0).sum(1) <= 2).all().item<bool>(); },
       [](const Tensor& w) {
         Tensor z = torch::zeros_like(w);
         for (int64_t i = 0; i < w.size(0); ++i) {
           const auto order = torch::randperm(w.size(1));
           for (int64_t k = 0; k < 2; ++k)
             z[i][order[k].item<int64_t>()] = w[i][order[k].item<int64_t>()];
         }
         return z;
       },
       false},
      {"TopGroups", prox_by(TopGroups(3, rows())),
       [](const Tensor& w) { return (w != 0).any(1).sum().item<int64_t>() <= 3; },
       [](const Tensor& w) {
         Tensor z = torch::zeros_like(w);
         const auto order = torch::randperm(w.size(0));
         for (int64_t k = 0; k < 3; ++k) z[order[k].item<int64_t>()] = w[order[k].item<int64_t>()];
         return z;
       },
       false},
      {"MinSparsity", prox_by(MinSparsity(0.6)),
       [](const Tensor& w) {
         return (w == 0).sum().item<double>() >= 0.6 * static_cast<double>(w.numel());
       },
       [](const Tensor& w) {
         const auto order = torch::randperm(w.numel()).narrow(0, 0, 24);
         return w.contiguous().view(-1).index_fill(0, order, 0).view(w.sizes());
       },
       false},
  };
}

double distance(const Tensor& z, const Tensor& x, const Tensor& step) {
  return ((z - x).square() / step).sum().item<double>();
}

/// A unit that is compiled with -ffast-math, or by Clang without optimization.
struct WithoutSimd {
  static constexpr bool has_simd = false;
};

}  // namespace

TEST_CASE("A constraint gives the nearest of its points in the metric of the steps, and again") {
  torch::manual_seed(1);
  for (const Set& set : sets()) {
    for (const double decades : {-1.0, 0.0, 2.0, 6.0}) {
      CAPTURE(set.name, decades);
      const Tensor x = torch::randn({8, 5}, torch::kDouble);
      const Tensor step =
          decades < 0 ? torch::full({}, 0.7, torch::kDouble)
                      : torch::pow(10, decades * (torch::rand({8, 5}, torch::kDouble) - 0.5));
      const Tensor z = x.clone();
      set.prox_(z, step);
      REQUIRE(set.contains(z));
      REQUIRE(support::negative_zeros(z) == 0);
      const Tensor again = z.clone();
      set.prox_(again, step);
      REQUIRE(torch::allclose(again, z, 1e-10, 1e-12));
      const double found = distance(z, x, step);
      for (int k = 0; k < 200; ++k) {
        const Tensor other = set.some(k % 2 == 0 ? z + 0.1 * torch::randn_like(z) * torch::rand({})
                                                 : x + torch::randn_like(x));
        REQUIRE(set.contains(other));
        if (set.is_convex || k % 2 == 1) {
          const Tensor y = set.is_convex ? other : set.some(x);
          REQUIRE(found <= distance(y, x, step) * (1 + 1e-9) + 1e-12);
        }
        if (!set.is_convex) continue;  // (x - z) / s is in the normal cone at z
        const Tensor outward = (x - z) / step;
        const double inner = (outward * (other - z)).sum().item<double>();
        REQUIRE(inner <= 1e-8 * (1 + outward.abs().sum().item<double>()));
      }
      const Tensor inside = set.some(x), kept = inside.clone();
      set.prox_(kept, step);
      if (set.is_convex) REQUIRE(torch::allclose(kept, inside, 1e-10, 1e-12));
      const Tensor rests = x.clone();
      set.prox_(rests, torch::zeros({}, torch::kDouble));
      REQUIRE(same_bits(rests, x));
    }
  }
}

TEST_CASE("A point of a simplex or an L1 ball stays where steps differ by eight decades") {
  torch::manual_seed(2);
  for (const auto type : {torch::kFloat, torch::kDouble}) {
    const double rounding = type == torch::kFloat ? 2e-6 : 1e-14;
    for (int k = 0; k < 50; ++k) {
      const Tensor x = torch::rand({200, 8}, type) * (torch::rand({200, 8}) > 0.5);
      x.select(1, 0).add_(1);  // so that it is outside, some by rounding alone
      const Tensor steps = torch::pow(10, 8 * (torch::rand({200, 8}, type) - 0.5));
      const auto stays = [&](const auto& set) {
        const Tensor w = x.clone();
        set.prox_(w, steps);
        REQUIRE(((w.sum(1) - 1).abs() < rounding).all().template item<bool>());
        for (const Tensor& by : {steps, steps.flip(1)}) {
          const Tensor again = w.clone();
          set.prox_(again, by);
          REQUIRE(torch::allclose(again, w, 0, rounding));
        }
      };
      stays(Simplex(1));
      stays(L1Ball(1, rows()));
    }
  }
}

TEST_CASE("Weights far beyond a simplex or a ball, and steps beyond all, reach its nearest point") {
  const auto becomes = [](const auto& set, const Tensor& x, const Tensor& expected) {
    for (const double each : {0.0, 1.0, 1e-12}) {
      CAPTURE(x, each);
      const Tensor w = x.clone();
      each == 0 ? set.prox_(w, 1) : set.prox_(w, torch::full(w.sizes(), each));
      REQUIRE(torch::allclose(w, expected, 1e-6, 0));
    }
  };
  becomes(Simplex(1), torch::tensor({{1e8f, 0.0f}}), torch::tensor({{1.0f, 0.0f}}));
  becomes(Simplex(1), torch::tensor({{-1e8f, -1e8f}}), torch::tensor({{0.5f, 0.5f}}));
  becomes(Simplex(1e-30), torch::tensor({{1.0f, 0.5f}}), torch::tensor({{1e-30f, 0.0f}}));
  becomes(Simplex(1e30), torch::tensor({{1.0f, 0.5f}}), torch::tensor({{5e29f, 5e29f}}));
  becomes(L1Ball(1, rows()), torch::tensor({{-1e8f, 0.0f}}), torch::tensor({{-1.0f, 0.0f}}));
  // What is outside the ball by few roundings is not left there, as on the simplex.
  const Tensor w = torch::tensor({{0.5f, -0.5f * (1 + 6 * 1.1920929e-7f)}});
  L1Ball(1, rows()).prox_(w, 1);
  REQUIRE(w.abs().sum().item<float>() == 1);
}

TEST_CASE("A sum that is right makes no point of a simplex where an entry is negative") {
  const Tensor w = torch::tensor({{2.0, -1.0, 1.0}});
  Simplex(2).prox_(w, 1);
  REQUIRE(torch::equal(w, torch::tensor({{1.5, 0.0, 0.5}})));
}

TEST_CASE("A point of a simplex stays to the bit, with its zeros, wherever it came from") {
  torch::manual_seed(3);
  for (const auto type : {torch::kFloat, torch::kDouble}) {
    const double rounding = type == torch::kFloat ? 5e-7 : 1e-15;
    for (const double scale : {1e-3, 1.0, 1e3, 1e5}) {
      for (const int64_t size : {4, 30, 1000}) {
        const Tensor x = scale * torch::randn({100, size}, type), each = torch::rand_like(x) + 0.1;
        for (const Tensor& step : {torch::full({}, 0.5), each}) {
          CAPTURE(type, scale, size, step.dim());
          const Tensor w = x.clone();
          Simplex(2).prox_(w, step);
          REQUIRE(((w.sum(1) - 2).abs() <= 2 * rounding).all().item<bool>());
          const Tensor again = w.clone();
          Simplex(2).prox_(again, step);
          REQUIRE(same_bits(again, w));
        }
      }
    }
  }
}

TEST_CASE("What rests may fill a simplex, and leaves nothing to the others") {
  const Tensor x = torch::tensor({{1.0, 0.5, 0.0}, {2.0, 0.5, 0.3}}), w = x.clone();
  Simplex(1).prox_(w, torch::tensor({{0.0, 1.0, 2.0}, {0.0, 1.0, 2.0}}));
  REQUIRE(torch::equal(w, torch::tensor({{1.0, 0.0, 0.0}, {2.0, 0.0, 0.0}})));
}

TEST_CASE("What is well inside a ball or a box stays, to the bit") {
  const Tensor x = 0.01 * torch::randn({4, 3}), steps = torch::rand({4, 3}) + 0.1;
  const auto stays = [&](const auto& penalty) {
    const Tensor a = x.clone(), b = x.clone();
    penalty.prox_(a, 1);
    penalty.prox_(b, steps);
    return same_bits(a, x) && same_bits(b, x);
  };
  REQUIRE(stays(L2Ball(1)));
  REQUIRE(stays(L1Ball(1)));
  REQUIRE(stays(Box(-1, 1)));
}

TEST_CASE("Radius 0 holds all at zero, and radii are checked") {
  const Tensor x = torch::randn({4, 3});
  const auto is_zero_after = [&](const auto& penalty) {
    const Tensor a = x.clone(), b = x.clone();
    penalty.prox_(a, 1);
    penalty.prox_(b, torch::rand({4, 3}) + 0.1);
    return (a == 0).all().template item<bool>() && (b == 0).all().template item<bool>();
  };
  REQUIRE(is_zero_after(L2Ball(0)));
  REQUIRE(is_zero_after(L1Ball(0)));
  REQUIRE(is_zero_after(Simplex(0)));
  REQUIRE(contains(error_of([] { L2Ball(-1); }), "L2Ball: radius must be finite and >= 0, got -1"));
  REQUIRE(contains(error_of([] { Box(1, -1); }), "Box: low must be <= high, got 1 and -1"));
  REQUIRE(contains(error_of([] { Box(std::nan(""), 1); }), "Box: low must be a number, got nan"));
  REQUIRE(contains(error_of([] { MinSparsity(1.5); }),
                   "MinSparsity: fraction must be in [0, 1], got 1.5"));
  REQUIRE(contains(error_of([] { Rank(0); }), "Rank: k must be finite and >= 1, got 0"));
}

namespace {

template <class Penalty>
Tensor proxed(const Penalty& penalty, const Tensor& x) {
  Tensor z = x.clone();
  penalty.prox_(z, 1.0);
  return z;
}

}  // namespace

TEST_CASE("Of groups of the same sum of squares the lower stays, however it is summed") {
  for (const auto type : {torch::kFloat, torch::kDouble}) {
    for (const auto& [first, second] :
         {std::pair{std::vector<double>{1, 1, 3, 1}, std::vector<double>{3, 1, 1, 1}},
          {{2, 2, 0, 2}, {3, 1, 1, 1}},
          {{2, 2, 1, 2}, {0, 2, 3, 0}},
          {{4, 0, 0, 0}, {2, 2, 2, 2}},
          {{3e30, 1e30, 1e30, 1e30}, {1e30, 1e30, 3e30, 1e30}}}) {
      const Tensor w = torch::stack({row(first), row(second)}).to(type);
      for (const auto& grouped :
           {proxed(TopGroups(1, rows()), w), proxed(MinSparsity(0.5, rows()), w)}) {
        REQUIRE(torch::equal(grouped[0], w[0]));
        REQUIRE((grouped[1] == 0).all().item<bool>());
      }
    }
  }
}

TEST_CASE("TopGroups keeps no more than k groups where entries rest") {
  for (const int64_t count : {4, 12}) {
    Tensor w = torch::rand({count, 3}) + 1, step = torch::ones({count, 3});
    step[2][0] = 0;
    TopGroups(1, rows()).prox_(w, step);
    REQUIRE(sparsity(w).tensors[0].zero_rows == count - 1);
    REQUIRE((w[2] != 0).all().item<bool>());
  }
}

TEST_CASE("Sums of many entries are those of a simplex and a ball, ties and all") {
  torch::manual_seed(28);
  Tensor w = torch::rand({1, 70000});
  w.slice(1, 0, 6000).fill_(1.5);
  for (const Tensor& z : {proxed(Simplex(1), w), proxed(L1Ball(1), w)}) {
    // Of 6000 entries that stay, each is off by half a unit of 1.5's last place.
    REQUIRE(z.to(torch::kDouble).sum().item<double>() == Approx(1).epsilon(4e-4));
  }
}

TEST_CASE("TopK(2, runs(4)) is 2:4, in every metric, and the lower index wins a tie") {
  torch::manual_seed(2);
  const Tensor x = torch::randn({6, 8, 4}, torch::kDouble), s = torch::rand_like(x) + 0.1;
  Tensor w = x.clone();
  TopK(2, runs(4)).prox_(w, s);
  const Tensor score = x.square() / s;
  REQUIRE(((w != 0).sum(2) == 2).all().item<bool>());
  const Tensor worst_kept = score.where(w != 0, torch::full_like(score, 1e300)).amin(2);
  const Tensor best_lost = score.where(w == 0, torch::full_like(score, -1)).amax(2);
  REQUIRE((worst_kept >= best_lost).all().item<bool>());
  const Tensor ties = torch::tensor({1.0, -1.0, 1.0, -1.0, 0.0, 0.0, 0.0, 5.0});
  TopK(2, runs(4)).prox_(ties, 1);
  REQUIRE(torch::equal(ties, torch::tensor({1.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 5.0})));
  const Tensor equal = torch::ones({4, 2});
  TopGroups(2, rows()).prox_(equal, 1);
  REQUIRE(torch::equal(equal.sum(1), torch::tensor({2., 2., 0., 0.})));
  const Tensor many = torch::randn({5, 30}), before = many.clone();  // of more than eight
  TopK(7, rows()).prox_(many, 1);
  REQUIRE(((many != 0).sum(1) == 7).all().item<bool>());
  const Tensor least = before.abs().where(many != 0, torch::full_like(many, 9)).amin(1);
  REQUIRE(
      (least >= before.abs().where(many == 0, torch::zeros_like(many)).amax(1)).all().item<bool>());
  const Tensor alike = torch::ones({20});
  TopK(3).prox_(alike, 1);
  REQUIRE(alike.narrow(0, 0, 3).sum().item<double>() == 3);
  const Tensor few = torch::ones({3});
  TopK(9).prox_(few, 1);
  REQUIRE(torch::equal(few, torch::ones({3})));
}

TEST_CASE("TopK keeps the largest of runs of every size, in registers and out of them") {
  torch::manual_seed(12);
  for (const auto type : {torch::kFloat, torch::kDouble, torch::kHalf}) {
    for (const int64_t size : {1, 2, 3, 4, 5, 8, 15, 16, 17}) {
      for (const int64_t k : {1, 2, 7}) {
        for (const bool each : {false, true}) {
          CAPTURE(type, size, k, each);
          // Few values, so that there are ties.
          const Tensor x = torch::randint(-4, 5, {133, size}).to(type);
          const Tensor steps = torch::randint(1, 3, {133, size}).square().to(type);
          const Tensor w = x.clone();
          if (each) {
            TopK(k, runs(size)).prox_(w, steps);
          } else {
            TopK(k, runs(size)).prox_(w, 0.5);
          }
          const Tensor wide = x.to(torch::kDouble).abs();
          const Tensor score = each ? wide / steps.to(torch::kDouble).sqrt() : wide;
          const Tensor own = score.unsqueeze(2), other = score.unsqueeze(1);
          const Tensor is_first = torch::ones({size, size}).tril(-1) == 1;  // [own, other]
          const Tensor before = ((other > own) | ((other == own) & is_first)).sum(2);
          REQUIRE(torch::equal(w, x.masked_fill(before >= k, 0)));
        }
      }
    }
  }
}

TEST_CASE("MinSparsity zeroes just so many of all tensors together, ties by path and index") {
  torch::manual_seed(3);
  for (const auto type : {torch::kFloat, torch::kDouble, torch::kHalf}) {
    for (const double fraction : {0.0, 0.01, 0.3, 0.5, 0.77, 0.999, 1.0}) {
      const Tensor a = torch::randn({40, 30}).to(type), b = 3 * torch::randn({7, 11}).to(type);
      const Tensor c = torch::randn({500, 3}).to(type).t();
      const std::vector<Tensor> before{a.clone(), b.clone(), c.clone()};
      MinSparsity(fraction).prox_({a, b, c}, 1);
      const int64_t n = a.numel() + b.numel() + c.numel();
      int64_t zeros = 0;
      double least = 1e300, most = 0;
      for (const auto& [w, x] : {std::pair{a, before[0]}, {b, before[1]}, {c, before[2]}}) {
        zeros += (w == 0).sum().item<int64_t>();
        const Tensor kept = x.abs().masked_select(w != 0), lost = x.abs().masked_select(w == 0);
        if (kept.numel() > 0) least = std::min(least, kept.min().item<double>());
        if (lost.numel() > 0) most = std::max(most, lost.max().item<double>());
        REQUIRE(torch::equal(w.masked_select(w != 0), x.masked_select(w != 0)));
      }
      CAPTURE(type, fraction, zeros);
      REQUIRE(zeros >= static_cast<int64_t>(std::ceil(fraction * static_cast<double>(n))));
      if (type != torch::kHalf) {
        REQUIRE(zeros == static_cast<int64_t>(std::ceil(fraction * static_cast<double>(n))));
      }
      REQUIRE(least >= most);
    }
  }
  const Tensor first = torch::ones({3}), second = torch::ones({3});
  MinSparsity(0.5).prox_({first, second}, 1);
  REQUIRE(torch::equal(first, torch::ones({3})));
  REQUIRE(torch::equal(second, torch::zeros({3})));
  const Tensor within = torch::ones({4});
  MinSparsity(0.5).prox_(within, 1);
  REQUIRE(torch::equal(within, torch::tensor({1.0F, 1.0F, 0.0F, 0.0F})));
  const Tensor odd = torch::tensor({std::nan(""), 1.0, 2.0, 3.0});
  MinSparsity(0.5).prox_(odd, 1);
  REQUIRE(odd[0].isnan().item<bool>());
  REQUIRE((odd == 0).sum().item<int64_t>() == 2);
  const Tensor wide = torch::full({2, 100}, 1.0), narrow = torch::full({2, 4}, 1.1);
  MinSparsity(0.5, rows()).prox_({wide, narrow}, 1);  // by the mean of squares
  REQUIRE(torch::equal(wide, torch::zeros({2, 100})));
  REQUIRE((narrow != 0).all().item<bool>());
}

TEST_CASE("MinSparsity finds what a sort does, among all numbers, in each kind of unit") {
  torch::manual_seed(5);
  const int64_t n = 300000;  // more than are sampled
  const Tensor x = torch::randn({n}), columns = torch::logspace(-6, 6, 250).expand({1200, 250});
  const Tensor unusual = torch::where(torch::rand({n}) < 0.2,
                                      torch::tensor({std::nan(""), HUGE_VAL, -HUGE_VAL, 0.0})
                                          .to(torch::kFloat)
                                          .index({torch::randint(4, {n})}),
                                      x);
  Tensor misleading = x.clone();  // small where Largest takes its samples
  for (int64_t i = 0; i < n; i += 5) {
    const auto random = static_cast<std::uint64_t>(i) * 0x9E3779B97F4A7C15U >> 32;
    misleading[std::min(i + static_cast<int64_t>(random) % 5, n - 1)] *= 1e-6;
  }
  for (const auto type : {torch::kFloat, torch::kDouble}) {
    for (const auto& [name, numbers] : std::vector<std::pair<const char*, Tensor>>{
             {"normal", x},
             {"misleading samples", misleading},
             {"sorted", std::get<0>(x.sort())},
             {"half are zero", x.clamp_min(0)},
             {"few values", (8 * x).round()},
             {"one value", torch::full({n}, -3.0)},
             {"scales of columns", (columns * x.view({1200, 250})).view({-1})},
             {"denormal", x * 1e-41},
             {"NaN and infinite", unusual}}) {
      const std::vector<Tensor> all = numbers.to(type).split_with_sizes({3, n - 10, 7});
      for (const int64_t keep : {int64_t{1}, int64_t{4}, n / 10, n / 2, n - 70000, n - 1}) {
        CAPTURE(type, name, keep);
        const auto expected = torchreg::detail::bounds_by_order(all, keep);
        const auto check = [&](const std::vector<Tensor>& bounds) {
          for (std::size_t i = 0; i < all.size(); ++i) {
            REQUIRE(torch::equal(all[i].abs() < bounds[i], all[i].abs() < expected[i]));
          }
        };
        check(torchreg::detail::bounds_of_largest<torchreg::detail::Unit>(all, keep, false));
        check(torchreg::detail::bounds_of_largest<torchreg::detail::Unit>(all, keep, true));
        check(torchreg::detail::bounds_of_largest<WithoutSimd>(all, keep, true));
      }
    }
  }
}

TEST_CASE("MinSparsity compares floats with doubles as they are") {
  // Rounded to float, the least that is kept would be as large as the float.
  const Tensor narrow = torch::full({1}, 1.0F);
  const Tensor wide = torch::tensor({1 + 1e-12, 2.0}, torch::kDouble);
  MinSparsity(0.3).prox_({narrow, wide}, 1);
  REQUIRE(torch::equal(narrow, torch::zeros({1})));
  REQUIRE((wide != 0).all().item<bool>());
}

TEST_CASE("MinSparsity holds after every step, in the optimizer's metric, along a ramp") {
  torch::manual_seed(4);
  torch::nn::Sequential net(torch::nn::Linear(20, 30), torch::nn::Tanh(), torch::nn::Linear(30, 3));
  torch::optim::Adam adam(net->parameters(), 0.01);
  ProximalStep prox(adam, net, MinSparsity(0));
  for (int step = 0; step < 40; ++step) {
    prox.penalty().formula().fraction = 0.9 * std::min(1.0, step / 20.0);
    const Tensor x = torch::randn({32, 20});
    adam.zero_grad();
    (net->forward(x) - x.narrow(1, 0, 3)).square().mean().backward();
    adam.step();
    std::vector<Tensor> scores;
    for (const auto& p : prox.parameters()) {
      scores.push_back((p.tensor.detach().square() / step_size(adam, p.tensor)).view(-1));
    }
    const Tensor score = torch::cat(scores);
    prox.step();
    std::vector<Tensor> after;
    for (const auto& p : prox.parameters()) after.push_back(p.tensor.detach().view(-1).clone());
    const Tensor w = torch::cat(after);
    const auto zeros = static_cast<int64_t>(
        std::ceil(prox.penalty().formula().fraction * static_cast<double>(w.numel())));
    REQUIRE((w == 0).sum().item<int64_t>() >= zeros);
    if (zeros == 0) continue;
    const Tensor kept = score.masked_select(w != 0), lost = score.masked_select(w == 0);
    REQUIRE(kept.min().item<double>() >= lost.max().item<double>() * (1 - 1e-5));
  }
}

TEST_CASE("A constraint of linked groups has them side by side, and the links for a selector") {
  const Links units = linked({{"weight", 0}, {"bias", 0}});
  const auto check = [](const auto& of_links, const auto& of_rows) {
    torch::manual_seed(3);
    const torch::nn::Linear model(4, 3);
    const auto all = [&] {
      return torch::cat({model->weight, model->bias.unsqueeze(1)}, 1).detach();
    };
    const Tensor before = all(), expected = before.clone();
    of_rows.prox_(expected, 0.5);
    of_links.prox_(model, 0.5);
    REQUIRE(torch::allclose(all(), expected, 1e-6, 1e-7));
    REQUIRE(!torch::equal(expected, before));
  };
  check(L1Ball(0.3, units), L1Ball(0.3, rows()));
  check(L2Ball(0.3, units), L2Ball(0.3, rows()));
  check(Simplex(0.3, units), Simplex(0.3, rows()));
  check(TopGroups(2, units), TopGroups(2, rows()));
  check(TopK(2, units), TopK(2, rows()));
  REQUIRE(contains(error_of([&] { MinSparsity(0.5, units); }), "no linked ones; use TopGroups"));
}

TEST_CASE("Nuclear and Rank act on singular values, of matrices and of filters") {
  torch::manual_seed(5);
  const Tensor x = torch::randn({6, 4, 2}, torch::kDouble);
  const Tensor s = torch::linalg_svdvals(x.flatten(1));
  Tensor w = x.clone();
  Nuclear(0.5).prox_(w, 2);
  REQUIRE(torch::allclose(torch::linalg_svdvals(w.flatten(1)), (s - 1).clamp_min(0), 1e-10, 1e-10));
  w = x.clone();
  Rank(2).prox_(w, 2);
  const Tensor left = torch::linalg_svdvals(w.flatten(1));
  REQUIRE(torch::allclose(left.narrow(0, 0, 2), s.narrow(0, 0, 2)));
  REQUIRE(left.narrow(0, 2, 4).max().item<double>() < 1e-12);
  w = x.clone();
  Rank(9).prox_(w, 1);
  REQUIRE(torch::allclose(w, x));
  const Tensor v = x.clone().requires_grad_();
  const Tensor term = Nuclear(0.5)(v);
  REQUIRE(term.item<double>() == Approx(0.5 * s.sum().item<double>()));
  term.backward();
  const Tensor direction = torch::randn_like(x);
  const double h = 1e-6;
  const double plus = torch::linalg_svdvals((x + h * direction).flatten(1)).sum().item<double>();
  const double minus = torch::linalg_svdvals((x - h * direction).flatten(1)).sum().item<double>();
  REQUIRE((v.grad() * direction).sum().item<double>() ==
          Approx(0.5 * (plus - minus) / (2 * h)).epsilon(1e-5));
  const Tensor zero = torch::zeros({3, 3}).requires_grad_();
  Nuclear(1)(zero).backward();
  REQUIRE(torch::equal(zero.grad(), torch::zeros({3, 3})));
  Tensor odd = torch::ones({2, 2});
  odd[0][0] = std::nan("");
  const Tensor kept = odd.clone();
  Nuclear(1).prox_(odd, 1);
  REQUIRE(same_bits(odd, kept));
  const Tensor half = torch::randn({4, 4}).to(torch::kBFloat16);
  Nuclear(0.1).prox_(half, 1);
  REQUIRE(half.isfinite().all().item<bool>());
}

TEST_CASE("NonNegative around a penalty holds entries that never had a gradient") {
  const auto check = [](const auto& constraint) {
    const auto step = [&](auto&& optimizer, const Tensor& w) {
      ProximalStep prox(optimizer, w, constraint);
      w.mutable_grad() = torch::tensor({0.0, 0.0, 0.1}, torch::kDouble);
      optimizer.step();
      prox.step();
      REQUIRE(w[0].item<double>() == 0);
      REQUIRE(w[1].item<double>() > 0.8);
    };
    const auto start = [] {
      return torch::tensor({-1.0, 1.0, 1.0}, torch::kDouble).requires_grad_();
    };
    Tensor w = start();
    step(torch::optim::Adam({w}, torch::optim::AdamOptions(0.01)), w);
    w = start();
    step(torch::optim::RMSprop({w}, torch::optim::RMSpropOptions(0.01)), w);
    w = start();
    step(torch::optim::Adagrad({w}, torch::optim::AdagradOptions(0.01)), w);
  };
  check(NonNegative(torchreg::MCP(0.1, 3)));
  check(NonNegative(torchreg::SCAD(0.1, 3.7)));
  check(NonNegative(L1(0)));
  check(NonNegative(L1(0.1)));
  check(NonNegative());
}

TEST_CASE("NonNegative around MinSparsity keeps the largest that are not negative") {
  const Tensor w = torch::tensor({-5.0F, 1.0F});
  NonNegative(MinSparsity(0.5)).prox_(w, 1);
  REQUIRE(torch::equal(w, torch::tensor({0.0F, 1.0F})));
}

TEST_CASE("NonNegative around a penalty says so") {
  const Tensor w = torch::ones({2}).requires_grad_();
  torch::optim::SGD sgd({w}, 0.1);
  REQUIRE(contains(ProximalStep(sgd, w, NonNegative(L1(0.1))).describe(),
                   "NonNegative L1(lambda = 0.1)"));
}

TEST_CASE("NonNegative around a penalty has its strengths, factors, selector and memory") {
  torch::manual_seed(6);
  const Tensor x = torch::randn({5, 40}, torch::kDouble), s = torch::rand_like(x) + 0.1;
  const auto is_prox_of_positive = [&](const auto& around, const auto& penalty) {
    const Tensor a = x.clone(), b = x.clamp_min(0), c = x.clone(), d = x.clamp_min(0);
    around.prox_(a, 0.7), penalty.prox_(b, 0.7);
    around.prox_(c, s), penalty.prox_(d, s);
    const auto near = [](const Tensor& z, const Tensor& expected) {  // groups go other ways
      return torch::allclose(z, expected, 1e-12, 1e-12) && torch::equal(z == 0, expected == 0);
    };
    return near(a, b) && near(c, d);
  };
  REQUIRE(is_prox_of_positive(NonNegative(L1(0.3)), L1(0.3)));
  REQUIRE(is_prox_of_positive(NonNegative(ElasticNet(0.3, 0.2)), ElasticNet(0.3, 0.2)));
  REQUIRE(is_prox_of_positive(NonNegative(GroupLasso(0.1)), GroupLasso(0.1)));
  REQUIRE(is_prox_of_positive(NonNegative(L1(0.3).scaled_by(2)), L1(0.6)));
  NonNegative around(L1(0.3, named("weight")));
  REQUIRE(around.selector().describe() == named("weight").describe());
  around.formula().lambda = 1;
  torch::nn::Linear linear(3, 2);
  torch::optim::SGD sgd(linear->parameters(), 0.1);
  ProximalStep prox(sgd, linear, around);
  for (auto& p : linear->parameters()) p.mutable_grad() = torch::ones_like(p);
  sgd.step();
  prox.step();
  REQUIRE((linear->weight >= 0).all().item<bool>());
  REQUIRE((linear->weight == 0).any().item<bool>());
  REQUIRE(contains(prox.describe(), "lambda = 1"));
}
