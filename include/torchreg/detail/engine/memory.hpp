#pragma once

#include <torch/types.h>

#include <algorithm>
#include <cstdint>
#include <limits>

#include <torchreg/detail/engine/steps.hpp>

#include <torchreg/detail/processor/inline_begin.hpp>

namespace torchreg::detail {

/// Makes m the memory of w, of its shape, device and dtype (float32 for half types): new, unless it
/// has been. Undefined where nothing is remembered; one that is made in InferenceMode can be used
/// later.
inline void prepare_memory(torch::Tensor& m, const torch::Tensor& w, bool remembers) {
  if (!remembers) return m.reset();
  const auto type = compute_type(w.scalar_type());
  const bool has_shape = m.defined() && m.sizes() == w.sizes();
  if (has_shape && m.scalar_type() == type && m.device() == w.device()) return;
  const c10::InferenceMode usable_later(false);
  const auto options = w.options().dtype(type).requires_grad(false);
  m = has_shape ? m.to(w.device(), type)
                : torch::empty_like(w, options).fill_(std::numeric_limits<double>::infinity());
}

/// The same of what is known of each of so many groups of w.
inline void prepare_zeros(torch::Tensor& zero, const torch::Tensor& w, int64_t groups) {
  if (groups == 0) return zero.reset();
  const c10::InferenceMode usable_later(false);
  const auto options = w.options().dtype(compute_type(w.scalar_type())).requires_grad(false);
  const bool has_shape = zero.defined() && zero.numel() == groups;
  zero = has_shape ? zero.to(options) : torch::full({groups}, -1, options);
}

/// The weight of a gradient averaged over `moves` of an optimizer's `steps`, with memory n:
/// moves / N, N = clamp(steps / 4, 1, n).
inline double newest_weight(int64_t moves, int64_t steps, int64_t n) {
  const double span = std::min(std::max(static_cast<double>(steps) / 4, 1.0),
                               std::max(static_cast<double>(n), 1.0));
  return std::min(static_cast<double>(moves) / span, 1.0);
}

/// What the memory says of some entries: which it holds at zero, and their averaged gradients.
template <class X, class Where>
struct Veto {
  Where held;
  X averaged;
};
template <class Where, class X>
Veto(Where, X) -> Veto<X, Where>;

/// The averaged gradient w / step of entries that were at zero, which stay there while the prox of
/// step times it is zero: while it is no steeper than the penalty's kink, if it has one. Of the
/// others the newest gradient. `scaled_step` is the penalty's.
template <class Formula, class X, class Has, class Path>
TORCHREG_INLINE auto veto_of(const Formula& formula, const Operands<X>& x, const Steps<X>& steps,
                             const X& scaled_step, const Numbers& n, const Has& has,
                             const Path& path) {
  const auto was_zero = x.memory < std::numeric_limits<double>::infinity();
  const X gradient = x.w * steps.inverse;
  const X moved_on = x.memory.lerp(gradient, n.weight);
  const X averaged = moved_on.where(was_zero, gradient);
  if constexpr (has_kink<Formula>) {
    // Of entries that were not at zero moved_on is infinite or no number, which nothing holds.
    const double kink = formula.kink() * n.strength;
    const X steepness = moved_on.abs();
    const auto held = has.factor ? steepness <= X(x.factor * kink) : steepness <= kink;
    return Veto{held, averaged};
  } else {
    const X moved = steps.step * averaged;
    const auto held = (prox_at(formula, moved, scaled_step, x.data, path) == 0) & was_zero;
    return Veto{held, averaged};
  }
}

}  // namespace torchreg::detail

#include <torchreg/detail/processor/inline_end.hpp>
