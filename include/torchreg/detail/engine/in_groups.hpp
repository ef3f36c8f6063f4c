#pragma once

#include <ATen/Parallel.h>
#include <torch/types.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <torchreg/detail/engine/group_lanes.hpp>
#include <torchreg/detail/engine/group_prox.hpp>
#include <torchreg/detail/engine/group_steps.hpp>
#include <torchreg/detail/engine/in_pieces.hpp>
#include <torchreg/detail/groups/columns.hpp>
#include <torchreg/detail/groups/problem.hpp>

namespace torchreg::detail {

/// The executor for formulas of groups: lays the tensors out as matrices with a group in each row,
/// linked ones side by side, and carries a kernel out on some rows after the other.
template <class Unit>
class InGroups {
 public:
  /// Carries out all updates, of which linked tensors are all there.
  template <class Kernel>
  static void run(const Kernel& kernel, const Updates& updates, Outcome& outcome) {
    for (const Problem& problem : problems_of(kernel.formula, updates)) {
      Matrices<Kernel>(kernel, problem, updates).run(outcome);
      for (const auto& [index, layout] : problem.parts) {
        const bool rests = Kernel::takes_steps && updates[index].numbers.rate == 0;
        if (!rests) outcome.done(index);
      }
    }
  }

 private:
  /// The operands of a problem as matrices.
  template <class Kernel>
  class Matrices {
    using Formula = std::decay_t<decltype(Kernel::formula)>;

   public:
    Matrices(const Kernel& kernel, const Problem& problem, const Updates& updates)
        : kernel_(kernel), problem_(problem) {
      for (const auto& [index, layout] : problem.parts) {
        const Update& update = updates[index];
        updates_.push_back(&update);
        auto has = presence_of(update.tensors);
        has.gradient = has.gradient && Kernel::reads_gradient;
        matrices_.emplace_back();
        for_each_operand(
            [&layout = layout](const torch::Tensor& tensor, torch::Tensor& matrix, bool is_read) {
              if (is_read && tensor.defined()) matrix = layout.matrix(tensor);
            },
            without_zero(update.tensors), matrices_.back(), has);
        auto& own = matrices_.back();
        if (update.tensors.zero.defined()) own.zero = column(update.tensors.zero);
        if (update.tensors.gradient.defined() && !own.gradient.defined()) {
          const torch::Tensor& gradient = update.tensors.gradient;
          own.gradient = torch::empty({layout.rows, layout.size}, gradient.options());
          if (!layout.is_regular()) gradient.zero_();  // of entries in no group
        }
        const auto stored = update.tensors.w.scalar_type();
        stored_ = matrices_.size() == 1 ? stored : torch::promote_types(stored_, stored);
        type_ = torch::promote_types(type_, compute_type(stored));
      }
      const auto options = first().w.options().dtype(type_);
      weights_ = weights_of(kernel.formula, problem, options);
      in_no_group_ = rows_of_no_group(options);
      if constexpr (rests_in_padding<Formula>) padding_ = problem.layout().padding();
    }

    void run(Outcome& outcome) {
      if (Kernel::takes_steps && !moves()) return;
      if (run_side_by_side()) return;
      const int64_t rows = problem_.layout().rows, some = rows_at_once();
      for (int64_t row = 0; row < rows; row += some) {
        run_rows(row, std::min(some, rows - row), outcome);
      }
      if constexpr (Kernel::has_results) write_back();
    }

   private:
    /// Those that have a number for each entry, not for each group.
    static Operands<torch::Tensor> without_zero(Operands<torch::Tensor> tensors) {
      tensors.zero = torch::Tensor();
      return tensors;
    }

    const Operands<torch::Tensor>& first() const { return updates_[0]->tensors; }

    bool moves() const {
      return std::any_of(updates_.begin(), updates_.end(),
                         [](const Update* update) { return update->numbers.rate != 0; });
    }

    /// One number for each group as a column, to which rows of entries in no group are added.
    torch::Tensor column(const torch::Tensor& of_groups) const {
      const Layout& layout = problem_.layout();
      return torch::constant_pad_nd(of_groups.view({-1, 1}), {0, 0, 0, layout.rows - layout.groups},
                                    -1);
    }

    torch::Tensor rows_of_no_group(const torch::TensorOptions& options) const {
      const Layout& layout = problem_.layout();
      if (layout.rows == layout.groups) return {};
      return torch::arange(layout.rows, options.dtype(torch::kLong)).unsqueeze(1) >= layout.groups;
    }

    int64_t rows_at_once() const {
      const int64_t rows = std::max<int64_t>(problem_.layout().rows, 1);
      const int64_t width = std::max<int64_t>(problem_.entries, 1);
      if constexpr (!takes_some<Formula>) return rows;
      const torch::Tensor& w = first().w;
      const int64_t entries = w.is_cpu()
                                  ? (Kernel::sums ? kPiece : kPiece * at::get_num_threads())
                                  : entries_at_once(w, Kernel::arrays, bytes_of(w, w.numel()));
      const torch::Tensor& matrix = matrices_[0].w;
      const bool is_in_place = may_take_lanes() && matrices_.size() == 1 && is_one_step(updates_);
      if (is_in_place && matrix.is_contiguous()) return rows;
      constexpr int64_t kLine = 32;  // two of the cache, in floats
      int64_t some = entries / width;
      if (are_columns(matrix)) some = std::max<int64_t>(some / kLine, 1) * kLine;
      return std::clamp<int64_t>(some, 1, rows);
    }

    torch::Tensor some_of(const torch::Tensor& rows, int64_t begin, int64_t count) const {
      return !rows.defined() || rows.dim() == 0 ? rows : rows.narrow(0, begin, count);
    }

    /// Some rows of each part, in the type that they are computed in.
    std::vector<Operands<torch::Tensor>> parts_of(int64_t begin, int64_t count) const {
      std::vector<Operands<torch::Tensor>> parts;
      for (const auto& own : matrices_) {
        parts.emplace_back();
        for_each_operand(
            [&](const torch::Tensor& matrix, torch::Tensor& part) {
              if (matrix.defined())
                part = gathered(some_of(matrix, begin, count)).to(first().w.device(), type_);
            },
            own, parts.back());
      }
      return parts;
    }

    void run_rows(int64_t begin, int64_t count, Outcome& outcome) {
      const auto parts = parts_of(begin, count);
      Operands<torch::Tensor> x;
      x.w = joined(parts, &Operands<torch::Tensor>::w);
      x.memory = joined(parts, &Operands<torch::Tensor>::memory);
      x.gradient = joined(parts, &Operands<torch::Tensor>::gradient);
      x.zero = parts[0].zero;
      x.data = some_of(weights_, begin, count);
      const auto has = presence_of(x);
      const Numbers& numbers = updates_[0]->numbers;
      const std::string& path = updates_[0]->path();
      if constexpr (Kernel::sums) {
        const torch::Tensor sum = kernel_.at(x, has, path).sum();
        outcome.sums.push_back(numbers.strength == 1 ? sum : sum * numbers.strength);
      }
      if constexpr (Kernel::takes_steps) {
        GroupStep by;
        by.steps = steps_of(parts, x, begin, count);
        by.strength = numbers.strength;
        for (const Update* update : updates_) {
          if (update->numbers.rate != 0) by.weight = std::min(by.weight, update->numbers.weight);
        }
        by.in_no_group = some_of(in_no_group_, begin, count);
        by.stored = stored_;
        if (may_take_lanes()) {
          norms_in_lanes<Unit>(kernel_.formula, x, by, numbers.rate, path);
        } else {
          GroupProx<Formula>{kernel_.formula, path}(x, by);
        }
        put(begin, count, x, Kernel::writes(has));
      } else if constexpr (Kernel::has_results) {
        Kernel own = kernel_;
        own.stored = stored_;
        own(x, numbers, has, path);
        put(begin, count, x, Kernel::writes(has));
      }
    }

    /// Whether its rows may go through registers: those of its norms, which lie in memory as floats
    /// or doubles.
    bool may_take_lanes() const {
      if constexpr (Kernel::takes_steps && is_of_norms<Formula> && Unit::has_simd) {
        return cpu_has_simd() && first().w.is_cpu() && stored_ == type_ &&
               !in_no_group_.defined() && problem_.layout().is_regular();
      }
      return false;
    }

    /// One step of groups that are the columns of an array, all at once; false where it is another
    /// case, and nothing was written.
    bool run_side_by_side() const {
      const torch::Tensor& w = matrices_[0].w;
      const bool is_case = may_take_lanes() && matrices_.size() == 1 && is_one_step(updates_) &&
                           !matrices_[0].memory.defined() && !w.is_contiguous() &&
                           w.t().is_contiguous() && w.is_alias_of(first().w);
      const Numbers& n = updates_[0]->numbers;
      return is_case && norms_side_by_side<Unit>(kernel_.formula, w, weights_, n);
    }

    torch::Tensor joined(const std::vector<Operands<torch::Tensor>>& parts,
                         torch::Tensor Operands<torch::Tensor>::*operand) const {
      bool is_there = false;
      for (const auto& part : parts) is_there = is_there || (part.*operand).defined();
      if (!is_there) return {};
      std::vector<torch::Tensor> list;
      for (const auto& part : parts) {
        list.push_back((part.*operand).defined() ? part.*operand : torch::zeros_like(part.w));
      }
      return side_by_side(list);
    }

    /// The step of all entries, or of each.
    Steps<torch::Tensor> steps_of(const std::vector<Operands<torch::Tensor>>& parts,
                                  const Operands<torch::Tensor>& x, int64_t begin,
                                  int64_t count) const {
      if (may_take_lanes() && parts.size() == 1) {
        const torch::Tensor step = steps_in_lanes<Unit>(parts[0], updates_[0]->numbers);
        if (step.defined()) return {step, {}, false};
      }
      Steps<torch::Tensor> steps = steps_of_parts(kernel_.formula, updates_, parts, x);
      if (!padding_.defined()) return steps;
      const torch::Tensor padding = padding_.narrow(0, begin, count);
      steps.step = steps.step.expand_as(x.w).masked_fill(padding, 0);
      steps.inverse = steps.inverse.expand_as(x.w);
      steps.may_rest = true;
      return steps;
    }

    /// Writes some rows into the matrices, part by part, rounded once.
    void put(int64_t begin, int64_t count, const Operands<torch::Tensor>& x,
             const Operands<bool>& written) {
      int64_t column = 0;
      for (const auto& own : matrices_) {
        const int64_t width = own.w.size(1);
        for_each_operand(
            [&](const torch::Tensor& matrix, const torch::Tensor& result, bool is_written) {
              if (!is_written || !matrix.defined()) return;
              if (result.data_ptr() == matrix.narrow(0, begin, count).data_ptr()) return;
              scatter(matrix.narrow(0, begin, count), result.narrow(1, column, width));
            },
            without_zero(own), x, written);
        if (own.zero.defined()) own.zero.narrow(0, begin, count).copy_(x.zero);
        column += width;
      }
    }

    /// From the matrices to the tensors, of those that are no views of them.
    void write_back() {
      for (std::size_t k = 0; k < matrices_.size(); ++k) {
        const Layout& layout = problem_.parts[k].layout;
        const auto written = Kernel::writes(presence_of(updates_[k]->tensors));
        const auto& tensors = updates_[k]->tensors;
        for_each_operand(
            [&](const torch::Tensor& tensor, const torch::Tensor& matrix, bool is_written) {
              if (!is_written || !tensor.defined() || matrix.is_alias_of(tensor)) return;
              tensor.copy_(layout.restored(matrix, tensor));
            },
            without_zero(tensors), matrices_[k], written);
        if (tensors.zero.defined()) {
          tensors.zero.copy_(matrices_[k].zero.narrow(0, 0, layout.groups).view({-1}));
        }
      }
    }

    const Kernel& kernel_;
    const Problem& problem_;
    std::vector<const Update*> updates_;
    std::vector<Operands<torch::Tensor>> matrices_;
    torch::Tensor weights_, in_no_group_, padding_;
    torch::ScalarType type_ = torch::kFloat, stored_ = torch::kFloat;
  };
};

}  // namespace torchreg::detail
