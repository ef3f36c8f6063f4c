#pragma once

#include <utility>
#include <vector>

#include <torchreg/formula.hpp>
#include <torchreg/penalty.hpp>

#include <torchreg/detail/processor/inline_begin.hpp>

namespace torchreg {

namespace detail {

/// R(w) = l1 sum |w| + (l2/2) sum w^2,  prox of step R: S(w, step l1) / (1 + step l2).
struct ElasticNetFormula {
  static constexpr const char* name = "ElasticNet";
  static constexpr bool takes_lanes = true;
  double l1;
  double l2;

  std::vector<Strength> strengths() const { return {{"l1", l1}, {"l2", l2}}; }

  bool makes_zeros() const { return l1 > 0; }
  TORCHREG_INLINE double kink() const { return l1; }

  template <class Number>
  TORCHREG_INLINE Number value(const Number& w) const {
    return l1 * w.abs() + (0.5 * l2) * (w * w);
  }

  template <class Number>
  TORCHREG_INLINE Number slope(const Number& w) const {
    return l1 * w.sign() + l2 * w;
  }

  template <class Number>
  TORCHREG_INLINE Number prox(const Number& w, const Number& step) const {
    return detail::shrink(w, Number(l1 * step)) / (1 + l2 * step);
  }
};

}  // namespace detail

/// The elastic net, R(w) = l1 sum |w| + (l2/2) sum w^2.
///
/// l1, l2 >= 0, in units of loss per unit of |w| and of w^2; an error if negative, NaN or infinite.
/// The term's slope at 0 is 0. The prox thresholds, then shrinks: exact zeros for
/// |w| <= step l1. NaN stays NaN. Source: Zou, Hastie 2005.
class ElasticNet : public Penalty<detail::ElasticNetFormula> {
 public:
  ElasticNet(double l1, double l2, Selector selector = weights())
      : Penalty({l1, l2}, std::move(selector)) {}
  ElasticNet(Penalty penalty) : Penalty(std::move(penalty)) {}  // what scaled_by() returns

  /// From the two numbers of scikit-learn, and of glmnet for the lasso and logistic regression:
  /// l1 = alpha l1_ratio, l2 = alpha (1 - l1_ratio). glmnet's gaussian elastic net divides its l2
  /// by sd(y). An error if l1_ratio is outside [0, 1].
  static ElasticNet from_alpha(double alpha, double l1_ratio, Selector selector = weights()) {
    detail::check_strength("ElasticNet: alpha", alpha);
    TORCH_CHECK_VALUE(l1_ratio >= 0 && l1_ratio <= 1,
                      "ElasticNet: l1_ratio must be in [0, 1], got ", l1_ratio);
    return ElasticNet(alpha * l1_ratio, alpha * (1 - l1_ratio), std::move(selector));
  }
};

}  // namespace torchreg

#include <torchreg/detail/processor/inline_end.hpp>
