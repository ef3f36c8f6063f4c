#pragma once

#include <torch/arg.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <torchreg/penalty.hpp>

namespace torchreg {

struct LawOptions {
  /// Of the tensors that are tried: one dimension or more, and rows of some length for groups.
  TORCH_ARG(std::vector<int64_t>, shape) = {6, 5};

  TORCH_ARG(int64_t, tensors) = 30;

  /// What a step's objective may be above another point's, relative to its size.
  TORCH_ARG(double, tolerance) = 1e-9;
};

namespace detail {

template <class Formula>
class Laws {
 public:
  Laws(const Penalty<Formula>& penalty, LawOptions options)
      : penalty_(penalty), options_(std::move(options)) {}

  void check() const {
    if constexpr (has_kink<Formula> && !has_data<Formula>) check_kink();
    for (int64_t k = 0; k < options_.tensors(); ++k) {
      const double scale = std::pow(10.0, k % 3 - 1);
      torch::Tensor x = scale * torch::randn(options_.shape(), torch::kDouble);
      if (k % 2 == 1) x = x.masked_fill(torch::rand_like(x) < 0.3, 0);
      if constexpr (HasValue<Formula>::value) check_slope(x);
      if constexpr (HasProx<Formula>::value) check_prox(x, scale);
    }
  }

 private:
  double value(const torch::Tensor& w) const {
    torch::NoGradGuard no_grad;
    return penalty_(w).template item<double>();
  }

  torch::Tensor prox(const torch::Tensor& x, const torch::Tensor& step) const {
    torch::Tensor z = x.clone();
    penalty_.prox_(z, step);
    return z;
  }

  template <class... Parts>
  static void require(bool holds, const Parts&... parts) {
    TORCH_CHECK_VALUE(holds, "check_laws: ", name_of<Formula>(), ": ", parts...);
  }

  /// Along random directions, off zeros, where a penalty may have no derivative.
  void check_slope(const torch::Tensor& x) const {
    const torch::Tensor w = x.clone().requires_grad_();
    torch::autograd::AutoGradMode with_graph(true);
    penalty_(w).backward();
    const torch::Tensor slope = w.grad();
    require(slope.isfinite().all().template item<bool>(), "the slope is not finite at ", list(x));
    const double h = 1e-6 * x.abs().max().template item<double>();
    for (int k = 0; k < 5; ++k) {
      const torch::Tensor along = torch::randn_like(x).masked_fill(x == 0, 0);
      const double expected = (slope * along).sum().template item<double>();
      const double found = (value(x + h * along) - value(x - h * along)) / (2 * h);
      const double size = (slope * along).abs().sum().template item<double>();
      require(std::abs(found - expected) <= 1e-4 * (size + std::abs(found)),
              "the slope is no derivative of the value: along a direction it says ", expected,
              " where differences say ", found, ", at ", list(x));
    }
  }

  void check_prox(const torch::Tensor& x, double scale) const {
    if constexpr (HasValue<Formula>::value) {
      const torch::Tensor none = torch::zeros({}, torch::kDouble);
      require(torch::equal(prox(x, none), x), "a step of 0 moves ", list(x));
    }
    for (const double step : {0.01, 0.3, 1.0, 20.0}) {
      const torch::Tensor one = torch::full({}, step, torch::kDouble);
      check_nearest(x, one, scale, "one step for all entries");
      if constexpr (!takes_one_step<Formula>) {
        const torch::Tensor each = step * torch::pow(10, torch::rand_like(x) * 2 - 1);
        check_nearest(x, each, scale, "a step of each entry");
        if constexpr (HasValue<Formula>::value) {
          const torch::Tensor some = each.masked_fill(torch::rand_like(x) < 0.2, 0);
          check_nearest(x, some, scale, "steps of which some are 0");
        }
      }
    }
  }

  /// The prox takes step times a gradient to zero where it is up to the kink, and no further.
  void check_kink() const {
    const double kink = penalty_.formula().kink();
    const torch::Tensor step = torch::full({}, 0.3, torch::kDouble);
    const torch::Tensor below = torch::tensor({-0.999, 0.999}, torch::kDouble) * kink;
    const torch::Tensor above = torch::tensor({-1.001, 1.001}, torch::kDouble) * kink;
    const auto zeros = [&](const torch::Tensor& gradient) {
      const torch::Tensor z = penalty_.formula().prox(torch::Tensor(step * gradient), step);
      return (z == 0).sum().template item<int64_t>();
    };
    require(kink >= 0 && zeros(below) == 2 && (kink == 0 || zeros(above) == 0), "kink() is ", kink,
            ", where the prox has another");
  }

  /// R(z) + sum (z - x)^2/(2 step) is nowhere smaller than at the prox, where entries whose step is
  /// 0 stay. A constraint, which has no value, leaves its own points; they are what holds it, and
  /// none is nearer.
  void check_nearest(const torch::Tensor& x, const torch::Tensor& step, double scale,
                     const char* kind) const {
    constexpr bool has_value = HasValue<Formula>::value;
    const torch::Tensor z = prox(x, step), rests = step == 0;
    require(torch::equal(z.where(rests, x), x), "with ", kind,
            " an entry whose step is 0 moves, of ", list(x), ", steps ", list(step));
    require(has_value || torch::allclose(prox(z, step), z, 1e-8, 1e-10), "with ", kind,
            " the prox of its own result is another, from ", list(x));
    const auto objective = [&](const torch::Tensor& at) {
      const torch::Tensor distances = (at - x).square() / (2 * step.masked_fill(rests, 1));
      double sum = distances.sum().template item<double>();
      if constexpr (has_value) sum += value(at);
      return sum;
    };
    const double own = objective(z);
    const double enough = own - options_.tolerance() * (1 + std::abs(own));
    for (const torch::Tensor& other : others(x, z, scale)) {
      const torch::Tensor point = has_value ? x.where(rests, other) : prox(other, step);
      const double there = objective(point);
      require(there >= enough, "with ", kind, " the prox of ", list(x), ", steps ", list(step),
              " is no minimizer of R(z) + sum (z - w)^2/(2 step): that is ", own, " at the prox ",
              list(z), " and ", there, " at ", list(point));
    }
  }

  /// Points to compare with: zeros, x, points between, rows and entries alone, all sizes of noise.
  static std::vector<torch::Tensor> others(const torch::Tensor& x, const torch::Tensor& z,
                                           double scale) {
    std::vector<torch::Tensor> points{x, torch::zeros_like(x), z.masked_fill(z.abs() < scale, 0)};
    for (const double share : {1e-3, 0.1, 0.5}) {
      points.push_back(z + share * (x - z));
      points.push_back(z * (1 + share));
      points.push_back(z * (1 - share));
    }
    for (int64_t row = 0; row < x.size(0); ++row) {
      const auto with_row = [&](const torch::Tensor& own) {
        torch::Tensor point = z.clone();
        point.select(0, row).copy_(own.select(0, row));
        points.push_back(point);
      };
      with_row(torch::zeros_like(z));
      with_row(x);
      for (const double factor : {0.9, 0.999, 1.001, 1.1}) with_row(z * factor);
    }
    for (double size = scale; size > 1e-6 * scale; size /= 3) {
      const torch::Tensor noise = size * torch::randn_like(x);
      points.push_back(z + noise);
      points.push_back(z + noise.masked_fill(torch::rand_like(x) < 0.8, 0));
      points.push_back(z + noise.masked_fill(z == 0, 0));
    }
    return points;
  }

  static std::string list(const torch::Tensor& t) {
    std::string text = "[";
    const torch::Tensor flat = t.reshape(-1);
    for (int64_t i = 0; i < std::min<int64_t>(flat.numel(), 8); ++i) {
      text += c10::str(i > 0 ? ", " : "", flat[i].item<double>());
    }
    return c10::str(text, flat.numel() > 8 ? ", ...]" : "]");
  }

  const Penalty<Formula>& penalty_;
  LawOptions options_;
};

}  // namespace detail

/// Tries the laws of a penalty on random tensors of doubles, for a test of one's own formula:
///
/// * the slope is finite, and the derivative of the value off zeros, by differences;
/// * a step of 0 leaves all as it is, and kink(), if there is one, is the prox's;
/// * R(z) + sum (z - w)^2/(2 step) is at the prox at most what it is at some hundred other points,
///   with one step for all entries and, unless the formula says `instead`, a step of each, of which
///   some are 0: those entries stay;
/// * the prox of a constraint, which has no value, leaves its own results, and no other's result is
///   nearer.
///
/// A c10::Error says which is broken and where. The random numbers are LibTorch's:
/// torch::manual_seed before it. This header is no part of torchreg.hpp.
template <class Formula>
void check_laws(const Penalty<Formula>& penalty, LawOptions options = {}) {
  detail::Laws<Formula>(penalty, std::move(options)).check();
}

}  // namespace torchreg
