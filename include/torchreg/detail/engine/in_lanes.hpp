#pragma once

#include <torch/types.h>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

#include <torchreg/detail/engine/any_kernel.hpp>
#include <torchreg/detail/engine/outcome.hpp>
#include <torchreg/detail/formula/number.hpp>

namespace torchreg::detail {

/// The executor for arrays of float and double on the CPU: each in one pass, in the processor's
/// vectors, on all threads at once.
template <class Unit>
class InLanes {
 public:
  /// Carries out those of `todo` that lie in memory alike and whose operands have a loop; returns
  /// the others.
  static Indices run(const AnyKernel& kernel, const Updates& updates, const Indices& todo,
                     Outcome& outcome) {
    if (kernel.loop_for == nullptr || !cpu_has_simd()) return todo;
    Indices rest, mine;
    std::vector<Span> spans;
    std::vector<Pass> passes;
    std::vector<Numbers> numbers;
    std::vector<Operands<void*>> arrays;
    mine.reserve(todo.size());
    spans.reserve(todo.size());
    passes.reserve(todo.size());
    numbers.reserve(todo.size());
    arrays.reserve(todo.size());
    for (const std::size_t i : todo) {
      const Update& update = updates[i];
      const auto has = presence_of(update.tensors);
      const Pass pass = pass_for(kernel, update, has);
      if (pass == nullptr) {
        rest.push_back(i);
        continue;
      }
      append_spans(spans, mine.size(), update.tensors.w);
      mine.push_back(i);
      passes.push_back(pass);
      numbers.push_back(update.numbers);
      // Here, as LibTorch makes lazy copies of tensors outside its threads alone.
      arrays.emplace_back();
      for_each_operand(
          [](const torch::Tensor& tensor, void*& array, bool is_written) {
            array = tensor.defined() ? tensor.data_ptr() : nullptr;
            if (is_written) note_write(tensor);
          },
          update.tensors, arrays.back(), kernel.writes(has));
      if (is_number(update.tensors.data)) {
        arrays.back().data = nullptr;
        numbers.back().datum = unexpanded(update.tensors.data).item<double>();
      }
    }
    std::vector<double> sums(spans.size());
    const bool in_turn =
        at::get_num_threads() == 1 || (kernel.has_results && overlap(updates, mine));
    for_each_span(spans, in_turn, [&](std::size_t k) {
      const std::size_t own = spans[k].index;
      sums[k] = passes[own](kernel.kernel, numbers[own], arrays[own], spans[k]);
    });
    outcome.sum = std::accumulate(sums.begin(), sums.end(), outcome.sum);
    if (kernel.has_results) std::for_each(mine.begin(), mine.end(), outcome.done);
    return rest;
  }

 private:
  /// Null where the update has none.
  static Pass pass_for(const AnyKernel& kernel, const Update& update, Operands<bool> has) {
    const auto& tensors = update.tensors;
    const auto type = tensors.w.scalar_type();
    bool fits = (type == torch::kFloat || type == torch::kDouble) &&
                tensors.w.is_non_overlapping_and_dense();
    Operands<bool> may_be_number;
    may_be_number.data = true;
    for_each_operand(
        [&](const torch::Tensor& tensor, bool may_be) {
          fits = fits && (!tensor.defined() || (may_be && is_number(tensor)) ||
                          is_array_like(tensor, tensors.w));
        },
        tensors, may_be_number);
    if (!fits) return nullptr;
    has.factor = has.factor || (kernel.has_results && update.numbers.strength != 1);
    return kernel.loop_for(type, has);
  }

  /// Whether a tensor is a number for all entries, which is read without a wait.
  static bool is_number(const torch::Tensor& tensor) {
    return tensor.defined() && tensor.is_cpu() && is_expanded(tensor);
  }

  /// Whether a tensor's memory is an array of w's type, whose entries lie as w's do. The memory of
  /// from_blob() may not be aligned.
  static bool is_array_like(const torch::Tensor& tensor, const torch::Tensor& w) {
    if (!tensor.is_cpu() || !tensor.has_storage() || tensor.is_neg() ||
        tensor.scalar_type() != w.scalar_type() || tensor.strides() != w.strides()) {
      return false;
    }
    const auto address = reinterpret_cast<std::uintptr_t>(tensor.data_ptr());
    return address % static_cast<std::uintptr_t>(tensor.element_size()) == 0;
  }

  /// Whether some parameters share memory, as views and tied ones do: they are written one after
  /// the other, as each may be of several spans.
  static bool overlap(const Updates& updates, const Indices& mine) {
    std::vector<std::pair<std::uintptr_t, std::uintptr_t>> ranges;
    ranges.reserve(mine.size());
    for (const std::size_t i : mine) {
      const torch::Tensor& w = updates[i].tensors.w;
      const auto begin = reinterpret_cast<std::uintptr_t>(w.data_ptr());
      ranges.emplace_back(begin, begin + w.nbytes());
    }
    std::sort(ranges.begin(), ranges.end());
    const auto meet = [](const auto& a, const auto& b) { return b.first < a.second; };
    return std::adjacent_find(ranges.begin(), ranges.end(), meet) != ranges.end();
  }
};

}  // namespace torchreg::detail
