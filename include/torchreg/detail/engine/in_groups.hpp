#pragma once

#include <torch/types.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <torchreg/detail/engine/any_groups.hpp>
#include <torchreg/detail/engine/group_lanes.hpp>
#include <torchreg/detail/engine/group_matrices.hpp>
#include <torchreg/detail/engine/group_prox.hpp>
#include <torchreg/detail/engine/group_steps.hpp>
#include <torchreg/detail/engine/total.hpp>

namespace torchreg::detail {

/// The executor for formulas of groups: lays the tensors of a problem out as matrices with a group
/// in each row, linked ones side by side, and carries a kernel out on some rows after the other.
template <class Unit>
class InGroups {
 public:
  /// Carries out all updates, which fall into these problems.
  static void run(const AnyGroups& groups, const std::vector<Problem>& problems,
                  const Updates& updates, Outcome& outcome) {
    for (const Problem& problem : problems) {
      InGroups(groups, problem, updates).run(outcome);
      for (const auto& [index, layout] : problem.parts) {
        const bool rests = groups.takes_steps && updates[index].numbers.rate == 0;
        if (!rests) outcome.done(index);
      }
    }
  }

 private:
  InGroups(const AnyGroups& groups, const Problem& problem, const Updates& updates)
      : groups_(groups), matrices_(groups.kernel, problem, updates) {
    const Layout& layout = problem.layout();
    const auto options = matrices_.options().requires_grad(false);
    if (groups.weights != nullptr) {
      weights_ = groups.weights->weights(layout, problem.entries, options);
    }
    if (layout.rows > layout.groups) {
      const torch::Tensor row = torch::arange(layout.rows, options.dtype(torch::kLong));
      in_no_group_ = row.unsqueeze(1) >= layout.groups;
    }
    has_one_step_ = is_one_step(matrices_.updates());
    if (groups.rests_in_padding || !has_one_step_) padding_ = layout.padding();
    takes_lanes_ = Unit::has_simd && cpu_has_simd() && groups.takes_steps && groups.is_of_norms &&
                   w().is_cpu() && matrices_.stored() == matrices_.options().dtype() &&
                   !in_no_group_.defined() && layout.is_regular();
    if (groups.takes_steps && has_one_step_) {
      one_step_.step = torch::scalar_tensor(matrices_.updates()[0]->numbers.rate, options);
      if (!takes_lanes_) one_step_.inverse = one_step_.step.reciprocal();
    }
  }

  void run(Outcome& outcome) {
    const auto& updates = matrices_.updates();
    const bool moves = std::any_of(updates.begin(), updates.end(),
                                   [](const Update* update) { return update->numbers.rate != 0; });
    if (groups_.takes_steps && !moves) return;
    if (are_side_by_side()) {
      const Operands<torch::Tensor> x = with_weights(matrices_.parts()[0]);
      const Numbers& numbers = updates[0]->numbers;
      factors_ = factors_side_by_side<Unit>(groups_.norms, x, numbers);
      if (factors_.defined() && !x.memory.defined()) {
        return scale_side_by_side<Unit>(groups_.norms, x, numbers, factors_);
      }
    }
    const int64_t rows = matrices_.problem().layout().rows, some = rows_at_once();
    if (some < rows && !groups_.never_throws) matrices_.stage(groups_.kernel);
    for (int64_t row = 0; row < rows; row += some) {
      run_rows(row, std::min(some, rows - row), outcome);
    }
    if (groups_.kernel.has_results) matrices_.write_back(groups_.kernel);
  }

  const torch::Tensor& w() const { return matrices_.first().w; }

  /// Whether its norms go through registers, in one tensor and with one step.
  bool is_one_part() const {
    return takes_lanes_ && matrices_.parts().size() == 1 && has_one_step_;
  }

  int64_t rows_at_once() const {
    const int64_t rows = std::max<int64_t>(matrices_.problem().layout().rows, 1);
    const torch::Tensor& matrix = matrices_.parts()[0].w;
    if (!groups_.takes_some || (is_one_part() && matrix.is_contiguous())) return rows;
    constexpr int64_t kLine = 32;                     // two of the cache, in floats
    const int copies = groups_.never_throws ? 0 : 2;  // of w and its memory
    int64_t some = groups_.kernel.piece_size(matrices_.first(), copies) /
                   std::max<int64_t>(matrices_.problem().entries, 1);
    if (are_columns(matrix)) some = std::max<int64_t>(some / kLine, 1) * kLine;
    return std::clamp<int64_t>(some, 1, rows);
  }

  void run_rows(int64_t begin, int64_t count, Outcome& outcome) {
    const AnyKernel& kernel = groups_.kernel;
    const auto parts = matrices_.some(begin, count);
    Operands<torch::Tensor> x = GroupMatrices<Unit>::joined(parts);
    x.data = some_rows(weights_, begin, count);
    const auto has = presence_of(x);
    const Numbers& numbers = matrices_.updates()[0]->numbers;
    const std::string& path = matrices_.updates()[0]->path();
    if (kernel.sums) {
      const torch::Tensor sum = sum_in_order(kernel.values(kernel.kernel, x, has, path));
      outcome.sums.push_back(numbers.strength == 1 ? sum : sum * numbers.strength);
    }
    if (!kernel.has_results) return;
    if (groups_.takes_steps) {
      const GroupStep by = step_of(parts, x, begin, count);
      const GroupProx prox{groups_, path};
      takes_lanes_ ? norms_in_lanes<Unit>(prox, x, by, numbers.rate) : prox(x, by);
    } else {
      kernel.act(kernel.kernel, x, numbers, has, path, matrices_.stored());
    }
    matrices_.put(begin, count, x, kernel.writes(has));
  }

  /// Whether they are the columns of an array, of which one step multiplies all at once.
  bool are_side_by_side() const {
    const torch::Tensor& matrix = matrices_.parts()[0].w;
    return is_one_part() && !matrix.is_contiguous() && matrix.t().is_contiguous() &&
           matrix.is_alias_of(w());
  }

  Operands<torch::Tensor> with_weights(Operands<torch::Tensor> x) const {
    x.data = weights_;
    return x;
  }

  GroupStep step_of(const std::vector<Operands<torch::Tensor>>& parts,
                    const Operands<torch::Tensor>& x, int64_t begin, int64_t count) const {
    GroupStep by;
    by.steps = steps_of(parts, x, begin, count);
    by.strength = matrices_.updates()[0]->numbers.strength;
    for (const Update* update : matrices_.updates()) {
      if (update->numbers.rate != 0) by.weight = std::min(by.weight, update->numbers.weight);
    }
    by.factors = some_rows(factors_, begin, count);
    by.in_no_group = some_rows(in_no_group_, begin, count);
    by.stored = matrices_.stored();
    return by;
  }

  /// The step of all entries, or of each.
  Steps<torch::Tensor> steps_of(const std::vector<Operands<torch::Tensor>>& parts,
                                const Operands<torch::Tensor>& x, int64_t begin,
                                int64_t count) const {
    const auto& updates = matrices_.updates();
    if (has_one_step_ && !padding_.defined()) return one_step_;
    if (takes_lanes_ && parts.size() == 1) {
      const torch::Tensor step = steps_in_lanes<Unit>(parts[0], updates[0]->numbers);
      if (step.defined()) return {step, {}, false};
    }
    Steps<torch::Tensor> steps =
        has_one_step_ ? one_step_ : steps_of_parts(groups_, updates, parts, x);
    if (!has_one_step_) steps.step = torch::nan_to_num(steps.step, 0, 0, 0);  // which rests
    if (!padding_.defined()) return steps;
    const torch::Tensor padding = padding_.narrow(0, begin, count);
    steps.step = steps.step.expand_as(x.w).masked_fill(padding, groups_.rests_in_padding ? 0 : 1);
    steps.inverse = steps.inverse.expand_as(x.w);
    steps.may_rest = true;
    return steps;
  }

  const AnyGroups& groups_;
  GroupMatrices<Unit> matrices_;
  torch::Tensor weights_, in_no_group_, padding_, factors_;
  Steps<torch::Tensor> one_step_;  ///< of all entries; undefined where theirs differ
  bool has_one_step_ = false;
  bool takes_lanes_ = false;  ///< through registers: norms that lie in memory as floats or doubles
};

}  // namespace torchreg::detail
