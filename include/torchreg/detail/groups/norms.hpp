#pragma once

#include <torch/types.h>

#include <cstdint>
#include <limits>
#include <tuple>
#include <utility>
#include <vector>

#include <torchreg/detail/formula/number.hpp>
#include <torchreg/detail/processor/root.hpp>

namespace torchreg::detail {

// The mathematics of norms of groups, on matrices with a group in each row.

/// The strengths of l1 sum |w| + group sum_g w_g ||w_g||.
struct NormStrengths {
  double l1;
  double group;
};

/// A column of the rows' sums, with the same bits with any number of threads: a long row is summed
/// in parts that LibTorch does not divide.
inline torch::Tensor sums_of(const torch::Tensor& x) {
  constexpr int64_t kPart = 32000;
  if (!x.is_cpu() || x.size(1) <= kPart) return x.sum(1, /*keepdim=*/true);
  std::vector<torch::Tensor> sums;
  for (const torch::Tensor& part : x.split(kPart, 1)) sums.push_back(part.sum(1, true));
  return sums_of(torch::cat(sums, 1));
}

/// A column of the rows' largest magnitudes, and 1 for rows of zeros.
inline torch::Tensor scales_of(const torch::Tensor& w) {
  const torch::Tensor largest = w.detach().abs().amax(1, /*keepdim=*/true);
  return largest.masked_fill(largest == 0, 1);
}

/// A column of the rows' norms. Scaled, as the square of an entry may be 0 or infinite.
inline torch::Tensor norms_of(const torch::Tensor& w) {
  if (w.size(1) == 0) return torch::zeros({w.size(0), 1}, w.options());
  const torch::Tensor scale = scales_of(w);
  const torch::Tensor norms = sums_of((w / scale).square());
  // The root of 0 has no derivative.
  return norms.masked_fill(norms == 0, 1).sqrt().masked_fill(norms == 0, 0) * scale;
}

/// The root of the sum of squares over a size, of each row, for an order: scaled by powers of 2, so
/// that rows of the same sum are equal where rounding does not part them. Infinite where an entry
/// is.
inline torch::Tensor root_means_of(const torch::Tensor& w, const torch::Tensor& sizes) {
  if (w.size(1) == 0) return torch::zeros({w.size(0), 1}, w.options());
  const torch::Tensor largest = scales_of(w);
  const torch::Tensor scale = largest / (2 * std::get<0>(torch::frexp(largest)));
  const torch::Tensor means = root_of(sums_of((w / scale).square()) / sizes) * scale;
  return means.where(largest.isfinite(), largest);
}

/// w / ||w|| of each row; 0 of one that is zero.
inline torch::Tensor directions_of(const torch::Tensor& w) {
  const torch::Tensor norms = norms_of(w);
  return w / norms.masked_fill(norms == 0, 1);
}

/// The prox of t ||w|| for one step: 0 where the norm is at most step t, else shorter by it.
inline torch::Tensor shrink_norms(const torch::Tensor& w, const torch::Tensor& step,
                                  const torch::Tensor& t) {
  const torch::Tensor norms = norms_of(w);
  const torch::Tensor length = (norms - step * t).clamp_min(0);
  return w * (length / norms.masked_fill(norms == 0, 1));
}

/// The norms theta of the rows of z, between their bounds low and high: the root of
/// phi(theta) = sum (w_i / (theta + reach_i))^2 = 1, by Newton on phi^(-1/2), which is concave, so
/// each of its steps ends below the root. Three of them start in the middle of the bounds. Of
/// twelve, two are enough where the steps are alike, seven where they differ a hundredfold, all
/// where they differ 1e8-fold. sums(x, y) are the columns of the rows' sums of two matrices.
template <class Sums>
torch::Tensor norms_in_metric(const torch::Tensor& w, const torch::Tensor& reach, torch::Tensor low,
                              torch::Tensor high, const Sums& sums) {
  const double inf = std::numeric_limits<double>::infinity();
  for (int k = 0; k < 12; ++k) {
    const torch::Tensor theta = k < 3 ? low.sqrt() * high.sqrt() : low;
    const torch::Tensor distance = theta + reach;
    const torch::Tensor q = (w / distance).masked_fill(distance == 0, 0), squares = q * q;
    const auto [phi, slope] = sums(squares, (squares / distance).masked_fill(distance == 0, 0));
    const torch::Tensor move = phi * (phi.sqrt() - 1) / slope;
    low = torch::maximum(low, theta + move.masked_fill((slope > 0).logical_not(), -inf));
    high = torch::minimum(high, theta.masked_fill(phi >= 1, inf));
  }
  return low;
}

/// z_i = theta w_i / (theta + reach_i), reach_i = s_i t; zero where the group is. Entries whose
/// step is 0 stay.
inline torch::Tensor shrunk_to(const torch::Tensor& theta, const torch::Tensor& w,
                               const torch::Tensor& reach, const torch::Tensor& t,
                               const torch::Tensor& is_zero) {
  const torch::Tensor distance = theta + reach;
  const torch::Tensor z = w * (theta / distance).masked_fill(distance == 0, 0);
  return z.masked_fill(is_zero, 0).where(reach > 0, w.masked_fill(is_zero & (t > 0), 0));
}

/// The same for a step per entry, in its metric. Source: Deleu, Bengio 2021; Moré, Sorensen 1983.
inline torch::Tensor shrink_norms_in_metric(const torch::Tensor& w, const torch::Tensor& step,
                                            const torch::Tensor& t) {
  const double inf = std::numeric_limits<double>::infinity();
  const torch::Tensor ratio = w / step;  // of a step so small that this is infinite, none is taken
  // Nor one of 0, which padding has too.
  const torch::Tensor moves = (step > 0).logical_and_(ratio.isfinite()).logical_and_(w != 0);
  const torch::Tensor rests = moves.logical_not();
  const torch::Tensor dual = norms_of(ratio.masked_fill(rests, 0));
  const torch::Tensor fixed = norms_of(w.masked_fill(rests.logical_not(), 0));
  const torch::Tensor least = step.masked_fill(rests, inf).amin(1, true);
  const torch::Tensor most = step.masked_fill(rests, 0).amax(1, true);
  const torch::Tensor norms = norms_of(w), by_dual = (dual - t).clamp_min(0);
  torch::Tensor low = torch::maximum(norms - most * t, fixed);
  low = torch::maximum(low, (by_dual * least).masked_fill(by_dual == 0, 0));
  const torch::Tensor high = torch::minimum(norms, (by_dual * most).masked_fill(fixed > 0, inf));
  const torch::Tensor reach = (step * t).masked_fill_(rests, 0);
  const auto sums = [](const torch::Tensor& x, const torch::Tensor& y) {
    return std::pair(sums_of(x), sums_of(y));
  };
  const torch::Tensor theta = norms_in_metric(w, reach, low, high, sums);
  return shrunk_to(theta, w, reach, t, (dual <= t) & (fixed == 0));
}

/// The prox of t ||w||, for either kind of step.
inline torch::Tensor shrink_groups(const torch::Tensor& w, const torch::Tensor& step,
                                   const torch::Tensor& t) {
  const torch::Tensor finite = t.clamp_max(largest_of(w.scalar_type()));
  return step.dim() == 0 ? shrink_norms(w, step, finite) : shrink_norms_in_metric(w, step, finite);
}

}  // namespace torchreg::detail
