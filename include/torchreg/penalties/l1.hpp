#pragma once

#include <utility>
#include <vector>

#include <torchreg/formula.hpp>
#include <torchreg/penalty.hpp>

#include <torchreg/detail/processor/inline_begin.hpp>

namespace torchreg {

namespace detail {

/// R(w) = lambda sum |w|,  prox of step R: S(w, step lambda).
struct L1Formula {
  static constexpr const char* name = "L1";
  static constexpr bool takes_lanes = true;
  static constexpr bool has_constant_slope = true;
  double lambda;

  std::vector<Strength> strengths() const { return {{"lambda", lambda}}; }

  bool makes_zeros() const { return lambda > 0; }
  TORCHREG_INLINE double kink() const { return lambda; }

  template <class Number>
  TORCHREG_INLINE Number value(const Number& w) const {
    return lambda * w.abs();
  }

  template <class Number>
  TORCHREG_INLINE Number slope(const Number& w) const {
    return lambda * w.sign();
  }

  template <class Number>
  TORCHREG_INLINE Number prox(const Number& w, const Number& step) const {
    return detail::shrink(w, Number(lambda * step));
  }
};

}  // namespace detail

/// The L1 norm (lasso), R(w) = lambda sum |w|.
///
/// lambda >= 0, in units of loss per unit of |w|; an error if negative, NaN or infinite. The term's
/// slope at 0 is 0. The prox gives exact zeros: |w| <= step lambda. NaN stays NaN. With
/// scikit-learn's Lasso, whose loss is the mean squared error halved, lambda is its alpha.
/// Source: Tibshirani 1996; prox: Donoho 1995, Daubechies, Defrise, De Mol 2004.
class L1 : public Penalty<detail::L1Formula> {
 public:
  explicit L1(double lambda, Selector selector = weights())
      : Penalty({lambda}, std::move(selector)) {}
  L1(Penalty penalty) : Penalty(std::move(penalty)) {}  // what scaled_by() returns
};

}  // namespace torchreg

#include <torchreg/detail/processor/inline_end.hpp>
