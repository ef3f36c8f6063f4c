#pragma once

#include <torch/types.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include <torchreg/detail/engine/any_kernel.hpp>
#include <torchreg/detail/engine/group_steps.hpp>
#include <torchreg/detail/engine/outcome.hpp>
#include <torchreg/detail/groups/columns.hpp>
#include <torchreg/detail/groups/problem.hpp>

namespace torchreg::detail {

/// The operands of a problem as matrices with a group in each row: views where they can be.
template <class Unit>
class GroupMatrices {
 public:
  GroupMatrices(const AnyKernel& kernel, const Problem& problem, const Updates& updates)
      : problem_(problem) {
    for (const auto& [index, layout] : problem.parts) {
      const Update& update = updates[index];
      updates_.push_back(&update);
      matrices_.emplace_back();
      for_each_operand(
          [&layout = layout](const torch::Tensor& tensor, torch::Tensor& matrix, bool is_read) {
            if (is_read && tensor.defined()) matrix = layout.matrix(tensor);
          },
          without_zero(update.tensors), matrices_.back(),
          kernel.reads(presence_of(update.tensors)));
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
  }

  const Problem& problem() const { return problem_; }

  /// Of each part.
  const std::vector<const Update*>& updates() const { return updates_; }
  const std::vector<Operands<torch::Tensor>>& parts() const { return matrices_; }

  /// The tensors of the first part, on whose device all is computed.
  const Operands<torch::Tensor>& first() const { return updates_[0]->tensors; }

  /// What w is rounded to, and what is computed in.
  torch::ScalarType stored() const { return stored_; }
  torch::TensorOptions options() const { return first().w.options().dtype(type_); }

  /// Some rows of each part, in the type that they are computed in.
  std::vector<Operands<torch::Tensor>> some(int64_t begin, int64_t count) const {
    std::vector<Operands<torch::Tensor>> parts;
    for (const auto& own : matrices_) {
      parts.emplace_back();
      for_each_operand(
          [&](const torch::Tensor& matrix, torch::Tensor& part) {
            if (!matrix.defined()) return;
            part = gathered<Unit>(some_rows(matrix, begin, count)).to(first().w.device(), type_);
          },
          own, parts.back());
    }
    return parts;
  }

  /// Those rows side by side.
  static Operands<torch::Tensor> joined(const std::vector<Operands<torch::Tensor>>& parts) {
    Operands<torch::Tensor> x;
    x.w = joined(parts, &Operands<torch::Tensor>::w);
    x.memory = joined(parts, &Operands<torch::Tensor>::memory);
    x.gradient = joined(parts, &Operands<torch::Tensor>::gradient);
    x.zero = parts[0].zero;
    for (std::size_t k = 1; k < parts.size() && x.zero.defined(); ++k) {
      x.zero = torch::minimum(x.zero, parts[k].zero);  // unknown, where that of one part is
    }
    return x;
  }

  /// Writes those rows into the matrices, part by part, rounded once.
  void put(int64_t begin, int64_t count, const Operands<torch::Tensor>& x,
           const Operands<bool>& written) {
    int64_t column = 0;
    for (const auto& own : matrices_) {
      const int64_t width = own.w.size(1);
      for_each_operand(
          [&](const torch::Tensor& matrix, const torch::Tensor& result, bool is_written) {
            if (!is_written || !matrix.defined()) return;
            const torch::Tensor own_rows = some_rows(matrix, begin, count);
            if (result.data_ptr() == own_rows.data_ptr()) return;
            const bool are_all = result.size(1) == width;
            scatter<Unit>(own_rows, are_all ? result : result.narrow(1, column, width));
          },
          without_zero(own), x, written);
      if (own.zero.defined()) own.zero.narrow(0, begin, count).copy_(x.zero);
      column += width;
    }
  }

  /// Lets what a kernel writes be copies, until they are written back.
  void stage(const AnyKernel& kernel) {
    for (std::size_t k = 0; k < matrices_.size(); ++k) {
      for_each_operand(
          [](torch::Tensor& matrix, const torch::Tensor& tensor, bool is_written) {
            const bool is_view = tensor.defined() && matrix.is_alias_of(tensor);
            if (is_written && is_view) matrix = matrix.clone();
          },
          matrices_[k], without_zero(updates_[k]->tensors),
          kernel.writes(presence_of(updates_[k]->tensors)));
    }
  }

  /// From the matrices to the tensors, of those that are no views of them.
  void write_back(const AnyKernel& kernel) {
    for (std::size_t k = 0; k < matrices_.size(); ++k) {
      const Layout& layout = problem_.parts[k].layout;
      const auto& tensors = updates_[k]->tensors;
      for_each_operand(
          [&](const torch::Tensor& tensor, const torch::Tensor& matrix, bool is_written) {
            if (!is_written || !tensor.defined() || matrix.is_alias_of(tensor)) return;
            tensor.copy_(layout.restored(matrix, tensor));
          },
          without_zero(tensors), matrices_[k], kernel.writes(presence_of(tensors)));
      if (tensors.zero.defined()) {
        tensors.zero.copy_(matrices_[k].zero.narrow(0, 0, layout.groups).view({-1}));
      }
    }
  }

 private:
  /// Those that have a number for each entry, not for each group.
  static Operands<torch::Tensor> without_zero(Operands<torch::Tensor> tensors) {
    tensors.zero = torch::Tensor();
    return tensors;
  }

  /// One number for each group as a column, to which rows of entries in no group are added.
  torch::Tensor column(const torch::Tensor& of_groups) const {
    const Layout& layout = problem_.layout();
    return torch::constant_pad_nd(of_groups.view({-1, 1}), {0, 0, 0, layout.rows - layout.groups},
                                  -1);
  }

  static torch::Tensor joined(const std::vector<Operands<torch::Tensor>>& parts,
                              torch::Tensor Operands<torch::Tensor>::*operand) {
    bool is_there = false;
    for (const auto& part : parts) is_there = is_there || (part.*operand).defined();
    if (!is_there) return {};
    std::vector<torch::Tensor> list;
    for (const auto& part : parts) {
      list.push_back((part.*operand).defined() ? part.*operand : torch::zeros_like(part.w));
    }
    return side_by_side(list);
  }

  const Problem& problem_;
  std::vector<const Update*> updates_;
  std::vector<Operands<torch::Tensor>> matrices_;
  torch::ScalarType type_ = torch::kFloat, stored_ = torch::kFloat;
};

}  // namespace torchreg::detail
