#pragma once

#include <torch/types.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <torchreg/detail/engine/any_groups.hpp>
#include <torchreg/detail/engine/steps.hpp>
#include <torchreg/detail/processor/lanes.hpp>

#include <torchreg/detail/processor/inline_begin.hpp>

namespace torchreg::detail {

// The steps of groups, whose parts may lie in several tensors.

/// Side by side, as one matrix.
inline torch::Tensor side_by_side(const std::vector<torch::Tensor>& parts) {
  return parts.size() == 1 ? parts[0] : torch::cat(parts, 1);
}

/// Some rows of a matrix or a column. What is one number, or undefined, is that of all rows.
inline torch::Tensor some_rows(const torch::Tensor& rows, int64_t begin, int64_t count) {
  const bool are_all = !rows.defined() || rows.dim() == 0 || rows.size(0) == count;
  return are_all ? rows : rows.narrow(0, begin, count);
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

/// The step of each entry of some rows. `x` are the parts side by side.
inline Steps<torch::Tensor> steps_of_parts(const AnyGroups& groups,
                                           const std::vector<const Update*>& updates,
                                           const std::vector<Operands<torch::Tensor>>& parts,
                                           const Operands<torch::Tensor>& x) {
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
      if (groups.slope != nullptr) {
        if (!slope.defined()) slope = groups.slope(groups.formula, x.w, x.data, path);
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

/// step <- that of entries with a second moment, none of which is 0, infinite or no number.
template <class T>
struct StepsLoop {
  using Number = Lanes<T>;
  static constexpr int64_t stride = Number::size;
  struct WithMoment {
    static constexpr bool moment = true, mean = false, given = false, factor = false;
  };
  const T* moment;
  T* step;
  Numbers numbers;
  Number odd{};  ///< 1 where one is

  StepsLoop(const T* of, T* to, const Numbers& n) : moment(of), step(to), numbers(n) {}

  TORCHREG_INLINE void start() {}
  TORCHREG_INLINE void operator()(int64_t i, int64_t count) {
    Operands<Number> x;
    x.moment = Number::load(moment + i, count);
    if (count < stride) x.moment = x.moment + (Number(1) - Number(1).first(count));
    const auto is_usual = (x.moment > 0) & x.moment.isfinite();
    odd = odd.where(is_usual, Number(1));
    adaptive_steps(NoSlope(), x, numbers, WithMoment(), NoPath()).step.store(step + i, count);
  }
};

template <class T>
torch::Tensor steps_of_moments(const torch::Tensor& moment, const Numbers& numbers) {
  torch::Tensor step = torch::empty_like(moment);
  const StepsLoop<T> loop(moment.data_ptr<T>(), step.data_ptr<T>(), numbers);
  return run_loop(loop, 0, moment.numel()).odd.sum() == 0 ? step : torch::Tensor();
}

/// The step of each entry of a part, by its second moment alone; undefined in another case.
template <class Unit>
torch::Tensor steps_in_lanes([[maybe_unused]] const Operands<torch::Tensor>& part,
                             [[maybe_unused]] const Numbers& n) {
  if constexpr (Unit::has_simd) {
    const torch::Tensor& moment = part.moment;
    const bool is_case = moment.defined() && !part.mean.defined() && n.rate != 0 &&
                         moment.is_contiguous() && moment.numel() > 0;
    if (!is_case) return {};
    return moment.scalar_type() == torch::kFloat ? steps_of_moments<float>(moment, n)
                                                 : steps_of_moments<double>(moment, n);
  }
  return {};
}

}  // namespace torchreg::detail

#include <torchreg/detail/processor/inline_end.hpp>
