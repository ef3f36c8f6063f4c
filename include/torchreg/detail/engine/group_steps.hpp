#pragma once

#include <torch/types.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <torchreg/detail/engine/steps.hpp>

namespace torchreg::detail {

// The steps of groups, whose parts may lie in several tensors.

/// Side by side, as one matrix.
inline torch::Tensor side_by_side(const std::vector<torch::Tensor>& parts) {
  return parts.size() == 1 ? parts[0] : torch::cat(parts, 1);
}

/// Whether all entries have the same step.
inline bool is_one_step(const std::vector<const Update*>& updates) {
  return std::all_of(updates.begin(), updates.end(), [&](const Update* update) {
    return !update->tensors.moment.defined() && !update->tensors.given.defined() &&
           update->numbers.rate == updates[0]->numbers.rate;
  });
}

/// What adaptive_steps() needs of a formula: a slope that is known, or none.
struct KnownSlope {
  torch::Tensor known;
  torch::Tensor slope(const torch::Tensor& /*w*/) const { return known; }
};
struct NoSlope {};

/// The steps of some rows: one for all, or of each entry. `x` are the parts side by side.
template <class Formula>
Steps<torch::Tensor> steps_of_parts(const Formula& formula,
                                    const std::vector<const Update*>& updates,
                                    const std::vector<Operands<torch::Tensor>>& parts,
                                    const Operands<torch::Tensor>& x) {
  if (is_one_step(updates)) return plain_steps(x, updates[0]->numbers, Operands<bool>());
  std::vector<torch::Tensor> steps, inverses;
  torch::Tensor slope;
  int64_t column = 0;
  for (std::size_t k = 0; k < parts.size(); ++k) {
    const Numbers& n = updates[k]->numbers;
    const auto has = presence_of(parts[k]);
    const auto& path = updates[0]->path();
    const int64_t width = parts[k].w.size(1);
    Steps<torch::Tensor> own = plain_steps(parts[k], n, has);
    if (has.moment && n.rate != 0) {
      if constexpr (has_slope<Formula>) {
        if (!slope.defined()) slope = slope_at(formula, x.w, x.data, path);
        own = adaptive_steps(KnownSlope{slope.narrow(1, column, width)}, parts[k], n, has, path);
      } else {
        own = adaptive_steps(NoSlope(), parts[k], n, has, path);
      }
    }
    steps.push_back(own.step.expand_as(parts[k].w));
    inverses.push_back(own.inverse.expand_as(parts[k].w));
    column += width;
  }
  return {side_by_side(steps), side_by_side(inverses), true};
}

}  // namespace torchreg::detail
