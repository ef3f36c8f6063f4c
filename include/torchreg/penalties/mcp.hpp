#pragma once

#include <utility>
#include <vector>

#include <torchreg/detail/processor/root.hpp>
#include <torchreg/formula.hpp>
#include <torchreg/penalty.hpp>

#include <torchreg/detail/processor/inline_begin.hpp>

namespace torchreg {

namespace detail {

/// R(w) = sum p(|w|),  p(a) = lambda a - a^2 / (2 gamma) up to gamma lambda, then constant.
struct MCPFormula {
  static constexpr const char* name = "MCP";
  static constexpr bool takes_lanes = true;
  double lambda;
  double gamma;

  std::vector<Strength> strengths() const {
    return {{"lambda", lambda}, {"gamma", gamma, above(0)}};
  }

  bool makes_zeros() const { return lambda > 0; }

  template <class Number>
  TORCHREG_INLINE Number value(const Number& w) const {
    const Number a = w.abs().clamp(0, gamma * lambda);
    return a * (lambda - a / (2 * gamma));
  }

  template <class Number>
  TORCHREG_INLINE Number slope(const Number& w) const {
    return w.sign() * (lambda - w.abs() / gamma).clamp_min(0);
  }

  /// Beyond an edge w stays. Up to it w is shrunk and stretched in steps below gamma, where the
  /// objective is convex, and 0 in others.
  template <class Number>
  TORCHREG_INLINE Number prox(const Number& w, const Number& step) const {
    const Number edge = lambda * detail::root_of(gamma * step).clamp_min(gamma);
    const Number stretched =
        detail::shrink(w, Number(lambda * step)) * (1 - step / gamma).reciprocal();
    const Number firm = stretched.masked_fill(gamma <= step, 0), a = w.abs();
    // In a step near gamma rounding would make w longer.
    return firm.where((a <= edge) & (firm.abs() <= a), w);
  }
};

}  // namespace detail

/// The minimax concave penalty, R(w) = sum p(|w|), p(a) = lambda a - a^2 / (2 gamma) up to
/// a = gamma lambda and gamma lambda^2 / 2 beyond: near zero as L1, and no bias on large entries.
///
/// lambda >= 0 in units of loss per unit of |w|; gamma > 0 in units of a step: the larger, the
/// nearer to L1. An error if they are not, or infinite. Not convex. The term's slope at 0 is 0. The
/// prox is exact for every step, also for one of gamma and more, where it is a hard threshold at
/// lambda sqrt(gamma step). Where the gradients vanish, as in full batch, the steps of Adam grow
/// beyond gamma, and entries between 0 and gamma lambda do not settle: use SGD with momentum there.
/// NaN stays NaN. Source: Zhang 2010.
class MCP : public Penalty<detail::MCPFormula> {
 public:
  explicit MCP(double lambda, double gamma = 3, Selector selector = weights())
      : Penalty({lambda, gamma}, std::move(selector)) {}
  MCP(Penalty penalty) : Penalty(std::move(penalty)) {}  // what scaled_by() returns
};

}  // namespace torchreg

#include <torchreg/detail/processor/inline_end.hpp>
