#pragma once

#include <utility>
#include <vector>

#include <torchreg/detail/processor/root.hpp>
#include <torchreg/formula.hpp>
#include <torchreg/penalty.hpp>

#include <torchreg/detail/processor/inline_begin.hpp>

namespace torchreg {

namespace detail {

/// R(w) = sum p(|w|),  p'(t) = lambda up to lambda, (a lambda - t) / (a - 1) up to a lambda, then
/// 0.
struct SCADFormula {
  static constexpr const char* name = "SCAD";
  static constexpr bool takes_lanes = true;
  double lambda;
  double a;

  std::vector<Strength> strengths() const { return {{"lambda", lambda}, {"a", a, above(2)}}; }

  bool makes_zeros() const { return lambda > 0; }

  template <class Number>
  TORCHREG_INLINE Number value(const Number& w) const {
    const Number t = w.abs(), linear = t.clamp(0, lambda), bent = t.clamp(lambda, a * lambda);
    const Number of_bent = (bent - lambda) * ((2 * a - 1) * lambda - bent) / (2 * (a - 1));
    return lambda * linear + of_bent;
  }

  template <class Number>
  TORCHREG_INLINE Number slope(const Number& w) const {
    return w.sign() * ((a * lambda - w.abs()) / (a - 1)).clamp(0, lambda);
  }

  /// Beyond an edge w stays, but for a part that is bent in steps below a - 1, where the objective
  /// is convex. Up to it a soft threshold, which is 0 there in steps beyond a + 1.
  template <class Number>
  TORCHREG_INLINE Number prox(const Number& w, const Number& step) const {
    const Number small = lambda * (1 + step), medium = (lambda / 2) * ((a + 1) + step);
    const Number large = lambda * detail::root_of((a + 1) * step);
    const Number edge = small.where(step < a - 1, large.where(step > a + 1, medium));
    // A product, as LibTorch fills with no number beyond the type.
    const Number end = ((1 + 0 * step) * (a * lambda)).where(step < a - 1, edge);
    const Number soft = detail::shrink(w, Number(lambda * step));
    const Number bent =
        detail::shrink(w, Number(a * lambda / (a - 1) * step)) * ((a - 1) / ((a - 1) - step));
    const Number t = w.abs();
    // In a step near a - 1 rounding would make w longer.
    return soft.where(t <= edge, bent.where((t <= end) & (bent.abs() <= t), w));
  }
};

}  // namespace detail

/// The smoothly clipped absolute deviation, R(w) = sum p(|w|): p' is lambda up to lambda, falls to
/// 0 at a lambda, and stays there: near zero as L1, and no bias on large entries.
///
/// lambda >= 0 in units of loss per unit of |w|; a > 2 in units of a step plus 1 (Fan and Li
/// recommend 3.7). An error if they are not, or infinite. Not convex. The term's slope at 0 is 0.
/// The prox is exact for every step, also beyond a - 1 and a + 1, where it jumps. As with MCP,
/// entries in the falling part do not settle after Adam in full batch. NaN stays NaN.
/// Source: Fan, Li 2001; prox for all steps: Gong et al. 2013.
class SCAD : public Penalty<detail::SCADFormula> {
 public:
  explicit SCAD(double lambda, double a = 3.7, Selector selector = weights())
      : Penalty({lambda, a}, std::move(selector)) {}
  SCAD(Penalty penalty) : Penalty(std::move(penalty)) {}  // what scaled_by() returns
};

}  // namespace torchreg

#include <torchreg/detail/processor/inline_end.hpp>
