#pragma once

#include <ATen/Parallel.h>
#include <torch/types.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>

#include <torchreg/detail/formula.hpp>
#include <torchreg/detail/pieces.hpp>
#include <torchreg/detail/step.hpp>

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
  const auto options = w.options().dtype(compute_type(w.scalar_type())).requires_grad(false);
  if (m.defined() && m.sizes() == w.sizes()) return m.to(options);
  return torch::empty_like(w, options).fill_(std::numeric_limits<double>::infinity());
}

/// The weight of a gradient averaged over `moves` of an optimizer's `steps`, with memory n:
/// moves / N, N = clamp(steps / 4, 1, n).
inline double newest_weight(int64_t moves, int64_t steps, int64_t n) {
  const double span = std::min(std::max(static_cast<double>(steps) / 4, 1.0),
                               std::max(static_cast<double>(n), 1.0));
  return std::min(static_cast<double>(moves) / span, 1.0);
}

/// The textbook prox, rounded to w's type; NaN and infinities are kept.
template <class Formula>
torch::Tensor textbook_prox(const Formula& formula, const ProxTraits& traits,
                            const torch::Tensor& w, const torch::Tensor& x,
                            const torch::Tensor& step) {
  const torch::Tensor z = formula.prox(x, step).to(w.scalar_type());
  return traits.keeps_nonfinite ? z : torch::where(w.isfinite(), z, w);
}

/// w <- prox, with + 0.0 so that there is no -0.0; vetoed for the zeros that the averaged gradient
/// still holds.
template <class Formula>
void prox_piece(const Formula& formula, const ProxTraits& traits, const torch::Tensor& w,
                const torch::Tensor& step, const torch::Tensor& m, double weight) {
  const torch::Tensor x = w.to(compute_type(w.scalar_type()));
  torch::Tensor target = w, memory = m;
  const torch::Tensor z = textbook_prox(formula, traits, w, x, step);
  if (!m.defined()) {
    torch::add_out(target, z, 0.0);
    return;
  }
  const torch::Tensor was_zero = m.isfinite() & x.isfinite();
  const torch::Tensor gradient = x / step;
  const torch::Tensor averaged = m.lerp(gradient, weight);
  const torch::Tensor held =
      was_zero & (formula.prox(torch::where(was_zero, step * averaged, x), step) == 0);
  const torch::Tensor result = z.masked_fill(held, 0);
  const torch::Tensor remembered =
      torch::where(was_zero, averaged, gradient)
          .masked_fill_(result != 0, std::numeric_limits<double>::infinity());
  // A step for all entries is not 0 here; where one per entry is, nothing happens.
  const bool moves_all = step.dim() == 0 && w.dim() > 0;
  const auto where_moved = [&](const torch::Tensor& after, const torch::Tensor& before) {
    return moves_all ? after : torch::where(step > 0, after, before);
  };
  torch::add_out(target, where_moved(result, w), 0.0);
  memory.copy_(where_moved(remembered, m));
}

/// w <- prox of step R, in place and without gradient, in pieces that stay in the cache.
template <class Formula>
void prox_(const Formula& formula, const ProxTraits& traits, const torch::Tensor& w,
           const Step& step, const Memory& memory = {}) {
  const auto act = [&](const std::array<torch::Tensor, 5>& piece) {
    Step piece_of_step = step;
    piece_of_step.second_moment = piece[2];
    piece_of_step.mean = piece[3];
    piece_of_step.given = piece[4];
    prox_piece(formula, traits, piece[0], evaluate(piece_of_step, piece[0]), piece[1],
               memory.weight);
  };
  const std::array tensors{w, memory.m, step.second_moment, step.mean, step.given};
  const int threads = w.is_cpu() ? at::get_num_threads() : 1;
  for_each_piece_of<Formula>(tensors, piece_size(w) * threads, act);
}

}  // namespace torchreg::detail
