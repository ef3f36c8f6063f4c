#pragma once

#include <torch/types.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include <torchreg/detail/groups/norms.hpp>
#include <torchreg/detail/processor/root.hpp>

namespace torchreg::detail {

// The mathematics of balls, on matrices with a group in each row: the nearest point of each row,
// for one step, which does not matter, or in the metric of a step per entry.

/// ||z|| <= radius. In a metric z_i = w_i / (1 + mu s_i): Newton on 1/||z|| - 1/radius from below,
/// where twelve iterations reach rounding at a condition of 1e6. Entries whose step is 0 stay.
inline torch::Tensor onto_l2_ball(const torch::Tensor& w, const torch::Tensor& step,
                                  double radius) {
  const torch::Tensor norms = norms_of(w), is_outside = norms > radius;
  if (radius == 0) return torch::zeros_like(w);
  if (step.dim() == 0) return w.where(is_outside.logical_not(), w * (radius / norms));
  const torch::Tensor rests = step <= 0;
  const torch::Tensor each = ((w.abs() / radius - 1) / step).masked_fill(rests, 0);
  const torch::Tensor most = step.masked_fill(w == 0, 0).amax(1, true);
  const torch::Tensor by_norm = (norms / radius - 1) / most;
  torch::Tensor mu = torch::maximum(by_norm, each.amax(1, true)).clamp_min(0);
  mu = mu.masked_fill(mu.isfinite().logical_not(), 0);
  for (int k = 0; k < 12; ++k) {
    const torch::Tensor z = w / (1 + mu * step);
    const torch::Tensor length = norms_of(z), unit = z / length.masked_fill(length == 0, 1);
    const torch::Tensor slope = (unit * unit * step / (1 + mu * step)).sum(1, true);
    const torch::Tensor move = (length / radius - 1) / slope;
    mu = mu + move.masked_fill((slope > 0).logical_not(), 0).clamp_min(0);
  }
  return (w / (1 + mu * step)).where(is_outside, w);
}

/// tau with sum (a_i - tau s_i)_+ = radius: the largest of those of the entries with the first k
/// a_i / s_i, also where some are equal but for rounding. Entries whose step is 0 stay.
inline torch::Tensor threshold_onto_simplex(const torch::Tensor& a, const torch::Tensor& step,
                                            double radius) {
  const double inf = std::numeric_limits<double>::infinity();
  const torch::Tensor s = step.expand_as(a), rests = s <= 0;
  const torch::Tensor ratio =
      (a / s).masked_fill(rests & (a > 0), inf).masked_fill(rests & (a <= 0), -inf);
  const torch::Tensor order = ratio.argsort(1, /*descending=*/true);
  const torch::Tensor sums = a.clamp_min(0).where(rests, a).gather(1, order).cumsum(1);
  const torch::Tensor steps = s.gather(1, order).cumsum(1);
  return ((sums - radius) / steps).masked_fill(steps == 0, -inf).amax(1, /*keepdim=*/true);
}

/// z >= 0 with sum z = radius.
inline torch::Tensor nearest_on_simplex(const torch::Tensor& w, const torch::Tensor& step,
                                        double radius) {
  if (radius == 0 || w.size(1) == 0) return torch::zeros_like(w);
  // Steps that are all longer by one factor are the same, and do not overflow.
  const torch::Tensor given = step.dim() == 0 ? torch::ones_like(w) : step;
  const torch::Tensor most = given.amax(1, /*keepdim=*/true);
  const torch::Tensor by = given / most.masked_fill(most == 0, 1);
  // Once more from what is left, which is small where w is far larger than the radius.
  const torch::Tensor left = w - threshold_onto_simplex(w, by, radius) * by;
  const torch::Tensor z = (left - threshold_onto_simplex(left, by, radius) * by).clamp_min(0);
  // What running sums lost is taken from what stays.
  const torch::Tensor kept = by.masked_fill(z == 0, 0), slope = sums_of(kept);
  const torch::Tensor off = ((sums_of(z) - radius) / slope).masked_fill(slope == 0, 0);
  return (z - off * kept).clamp_min(0);
}

/// The same; what is there but for rounding stays, its zeros too.
inline torch::Tensor onto_simplex(const torch::Tensor& w, const torch::Tensor& step,
                                  double radius) {
  const double rounding =
      8 * (w.scalar_type() == torch::kDouble ? std::numeric_limits<double>::epsilon()
                                             : std::numeric_limits<float>::epsilon());
  if (w.size(1) == 0) return w;
  const torch::Tensor is_there =
      ((sums_of(w) - radius).abs() <= rounding * radius) & (w.amin(1, /*keepdim=*/true) >= 0);
  return w.where(is_there, nearest_on_simplex(w, step, radius));
}

/// sum |z| <= radius.
inline torch::Tensor onto_l1_ball(const torch::Tensor& w, const torch::Tensor& step,
                                  double radius) {
  const torch::Tensor a = w.abs(), is_inside = a.sum(1, /*keepdim=*/true) <= radius;
  return w.where(is_inside, w.sign() * nearest_on_simplex(a, step, radius));
}

/// Where an entry is one of the k largest of its row; of equal ones the lower index.
inline torch::Tensor largest_of_rows(const torch::Tensor& scores, int64_t k) {
  const int64_t size = scores.size(1);
  if (k >= size) return torch::ones_like(scores, torch::kBool);
  if (size <= 8) {  // by how many are before an entry
    const auto entries = scores.t().contiguous().unbind(0);
    std::vector<torch::Tensor> are_kept;
    for (std::size_t i = 0; i < entries.size(); ++i) {
      torch::Tensor before = torch::zeros_like(entries[i], torch::kByte);
      for (std::size_t j = 0; j < entries.size(); ++j) {
        if (j < i) before += entries[j] >= entries[i];
        if (j > i) before += entries[j] > entries[i];
      }
      are_kept.push_back(before < k);
    }
    return torch::stack(are_kept, 1);
  }
  const auto order = std::get<1>(torch::sort(scores, /*stable=*/true, 1, /*descending=*/true));
  const torch::Tensor largest = order.narrow(1, 0, k);
  return torch::zeros_like(scores, torch::kBool).scatter_(1, largest, true);
}

/// How much an entry is worth: w^2 / step, infinite of one that rests; of one step w^2. A root of
/// it, as a square may be 0 or infinite.
inline torch::Tensor root_scores(const torch::Tensor& w, const torch::Tensor& step) {
  return step.dim() == 0 ? w.abs() : (w.abs() / root_of(step)).masked_fill(w == 0, 0);
}

}  // namespace torchreg::detail
