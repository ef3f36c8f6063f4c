#pragma once

#include <cmath>
#include <utility>
#include <vector>

#include <torchreg/detail/processor/root.hpp>
#include <torchreg/formula.hpp>
#include <torchreg/penalty.hpp>

#include <torchreg/detail/processor/inline_begin.hpp>

namespace torchreg {

namespace detail {

/// R(w) = lambda sum |w|^(1/2).
struct LHalfFormula {
  static constexpr const char* name = "LHalf";
  static constexpr bool takes_lanes = true;
  double lambda;

  std::vector<Strength> strengths() const { return {{"lambda", lambda}}; }

  bool makes_zeros() const { return lambda > 0; }

  template <class Number>
  TORCHREG_INLINE Number value(const Number& w) const {
    return lambda * detail::root_of(w.abs());
  }

  /// Infinite beside 0, and 0 there.
  template <class Number>
  TORCHREG_INLINE Number slope(const Number& w) const {
    return (lambda / 2) * w.sign() / detail::root_of(w.abs().masked_fill(w == 0, 1));
  }

  /// w t^2 of the larger root t of t^3 - t + c = 0, c = step lambda / (2 |w|^(3/2)), where that is
  /// better than 0. Newton's method from 1 has all digits of a double after five iterations.
  template <class Number>
  TORCHREG_INLINE Number prox(const Number& w, const Number& step) const {
    const Number a = w.abs(), c = lambda * step / detail::root_of(a) / (2 * a);
    Number t = 1 - c / 2;
    for (int i = 1; i < 5; ++i) t = (2 * t * t * t - c) / (3 * t * t - 1);
    const double largest = std::sqrt(2.0 / 27);
    return Number(w * t * t).masked_fill((largest <= c) | (a == 0), 0);
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

#include <torchreg/detail/processor/inline_end.hpp>
