#pragma once

#include <utility>
#include <vector>

#include <torchreg/formula.hpp>
#include <torchreg/penalty.hpp>

#include <torchreg/detail/processor/inline_begin.hpp>

namespace torchreg {

namespace detail {

/// R(w) = (lambda/2) sum w^2,  prox of step R: w / (1 + step lambda).
struct L2Formula {
  static constexpr const char* name = "L2";
  static constexpr bool takes_lanes = true;
  static constexpr Memory memory = Memory::none;
  double lambda;

  std::vector<Strength> strengths() const { return {{"lambda", lambda}}; }

  template <class Number>
  TORCHREG_INLINE Number value(const Number& w) const {
    return (0.5 * lambda) * (w * w);
  }

  template <class Number>
  TORCHREG_INLINE Number slope(const Number& w) const {
    return lambda * w;
  }

  template <class Number>
  TORCHREG_INLINE Number prox(const Number& w, const Number& step) const {
    return w / (1 + lambda * step);
  }
};

}  // namespace detail

/// The squared L2 norm (ridge, Tikhonov), R(w) = (lambda/2) sum w^2.
///
/// lambda >= 0, in units of loss per unit of w^2; an error if negative, NaN or infinite. With the
/// factor 1/2, lambda equals weight_decay under plain SGD, and is twice the number of libraries
/// that have no 1/2. Shrinks, and never gives zeros.
/// Source: Tikhonov 1963; Hoerl, Kennard 1970.
class L2 : public Penalty<detail::L2Formula> {
 public:
  explicit L2(double lambda, Selector selector = weights())
      : Penalty({lambda}, std::move(selector)) {}
  L2(Penalty penalty) : Penalty(std::move(penalty)) {}  // what scaled_by() returns
};

}  // namespace torchreg

#include <torchreg/detail/processor/inline_end.hpp>
