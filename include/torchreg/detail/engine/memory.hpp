#pragma once

#include <torch/types.h>

#include <algorithm>
#include <cstdint>
#include <limits>

#include <torchreg/detail/formula/number.hpp>

namespace torchreg::detail {

/// The memory of one tensor: m, an entry's averaged gradient while it is at zero and infinity
/// while it is not, and the weight that the newest gradient gets in the average.
struct Memory {
  torch::Tensor m;  ///< undefined: none
  double weight = 1;
};

/// m for w, of w's shape, device and dtype (float32 for half types): what there is, or new.
inline torch::Tensor prepared_memory(const torch::Tensor& m, const torch::Tensor& w,
                                     bool remembers) {
  if (!remembers) return {};
  const auto type = compute_type(w.scalar_type());
  if (m.defined() && m.sizes() == w.sizes()) {
    const bool fits = m.scalar_type() == type && m.device() == w.device();
    return fits ? m : m.to(w.device(), type);
  }
  const auto options = w.options().dtype(type).requires_grad(false);
  return torch::empty_like(w, options).fill_(std::numeric_limits<double>::infinity());
}

/// The weight of a gradient averaged over `moves` of an optimizer's `steps`, with memory n:
/// moves / N, N = clamp(steps / 4, 1, n).
inline double newest_weight(int64_t moves, int64_t steps, int64_t n) {
  const double span = std::min(std::max(static_cast<double>(steps) / 4, 1.0),
                               std::max(static_cast<double>(n), 1.0));
  return std::min(static_cast<double>(moves) / span, 1.0);
}

/// Entries after a step, and what is remembered of them.
template <class Number>
struct Remembered {
  Number w, m;
};

/// z, the textbook prox of w, vetoed for the zeros that the averaged gradient still holds;
/// `inverse` is 1 / step.
template <class Formula, class Number>
[[gnu::always_inline]] inline Remembered<Number> with_memory(const Formula& formula,
                                                             const Number& w, const Number& z,
                                                             const Number& step,
                                                             const Number& inverse, const Number& m,
                                                             double weight) {
  const auto was_zero = m.isfinite() & w.isfinite();
  const Number gradient = w * inverse;
  const Number averaged = m + (gradient - m) * weight;
  const auto held = was_zero & (formula.prox((step * averaged).where(was_zero, w), step) == 0);
  const Number result = z.masked_fill(held, 0);
  const Number remembered = averaged.where(was_zero, gradient)
                                .masked_fill(result != 0, std::numeric_limits<double>::infinity());
  const auto moved = step > 0;
  return {result.where(moved, w), remembered.where(moved, m)};
}

}  // namespace torchreg::detail
