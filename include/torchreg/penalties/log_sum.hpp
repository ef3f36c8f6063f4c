#pragma once

#include <torch/types.h>

#include <utility>
#include <vector>

#include <torchreg/formula.hpp>
#include <torchreg/penalty.hpp>

namespace torchreg {

namespace detail {

/// R(w) = lambda sum log(1 + |w| / eps).
struct LogSumFormula {
  static constexpr const char* name = "LogSum";
  double lambda;
  double eps;

  std::vector<Strength> strengths() const { return {{"lambda", lambda}, {"eps", eps, above(0)}}; }

  bool makes_zeros() const { return lambda > 0; }

  torch::Tensor value(const torch::Tensor& w) const { return lambda * (w.abs() / eps).log1p(); }

  torch::Tensor slope(const torch::Tensor& w) const { return lambda * w.sign() / (w.abs() + eps); }

  /// The better of 0 and r, the larger root of (r - |w|)(r + eps) + step lambda = 0.
  torch::Tensor prox(const torch::Tensor& w, const torch::Tensor& step) const {
    if (lambda == 0) return w;
    const torch::Tensor a = w.abs(), u = lambda * step;
    const torch::Tensor discriminant =  // over (a + eps)^2, which may be beyond the type
        (-4 * u / (a + eps)).div_(a + eps).add_(1);
    const torch::Tensor root = discriminant.clamp_min(0).sqrt_().mul_(a + eps), over = a - eps;
    // The same for a below eps, by its conjugate, which has no difference of nearly equal numbers.
    const torch::Tensor small = (2 * eps * a - 2 * u) / (root - over);
    const torch::Tensor r = (over * 0.5).add_(root, 0.5).where(over >= 0, small).clamp_min_(0);
    const torch::Tensor excess = r * (0.5 * r - a) + u * (r / eps).log1p();  // over that of 0
    return (w.sign() * r).masked_fill_((excess >= 0) | (discriminant < 0), 0);
  }
};

}  // namespace detail

/// The log-sum penalty, R(w) = lambda sum log(1 + |w| / eps): what iteratively reweighted L1
/// solves.
///
/// lambda >= 0 in units of loss; eps > 0 in units of w: the smaller, the less bias on large
/// entries. An error if they are not, or infinite. Not convex. The term's slope at 0 is 0. The prox
/// is exact for every step, by comparing its two candidates. NaN stays NaN. Source: Candès, Wakin,
/// Boyd 2008.
class LogSum : public Penalty<detail::LogSumFormula> {
 public:
  LogSum(double lambda, double eps, Selector selector = weights())
      : Penalty({lambda, eps}, std::move(selector)) {}
  LogSum(Penalty penalty) : Penalty(std::move(penalty)) {}  // what scaled_by() returns
};

}  // namespace torchreg
