#pragma once

#include <torch/types.h>

#include <cmath>
#include <utility>
#include <vector>

#include <torchreg/formula.hpp>
#include <torchreg/penalty.hpp>

namespace torchreg {

namespace detail {

/// R(w) = lambda sum |w|^(1/2).
struct LHalfFormula {
  static constexpr const char* name = "LHalf";
  double lambda;

  std::vector<Strength> strengths() const { return {{"lambda", lambda}}; }

  bool makes_zeros() const { return lambda > 0; }

  torch::Tensor value(const torch::Tensor& w) const { return lambda * w.abs().sqrt(); }

  /// Infinite beside 0, and 0 there.
  torch::Tensor slope(const torch::Tensor& w) const {
    return (lambda / 2) * w.sign() / w.abs().masked_fill(w == 0, 1).sqrt();
  }

  torch::Tensor prox(const torch::Tensor& w, const torch::Tensor& step) const {
    const torch::Tensor a = w.abs(), u = lambda * step;
    const torch::Tensor is_zero = a <= 1.5 * u.pow(2.0 / 3);
    const double factor = 0.75 * std::sqrt(3.0);
    const torch::Tensor angle = (-factor * u * a.pow(-1.5)).clamp_(-1, 1).acos_();
    return (w * (1 + (angle * (2.0 / 3)).cos_()) * (2.0 / 3)).masked_fill_(is_zero, 0);
  }
};

}  // namespace detail

/// The L1/2 penalty, R(w) = lambda sum |w|^(1/2): sparser than L1, with less bias.
///
/// lambda >= 0 in units of loss per square root of a unit of |w|; an error if negative, NaN or
/// infinite. Not convex. The term's slope, lambda sign(w) / (2 sqrt|w|), grows towards 0 and is 0
/// there. The prox is exact for every step: zero up to 3/2 (step lambda)^(2/3). NaN stays NaN.
/// Source: Xu, Chang, Xu, Zhang 2012.
class LHalf : public Penalty<detail::LHalfFormula> {
 public:
  explicit LHalf(double lambda, Selector selector = weights())
      : Penalty({lambda}, std::move(selector)) {}
  LHalf(Penalty penalty) : Penalty(std::move(penalty)) {}  // what scaled_by() returns
};

}  // namespace torchreg
