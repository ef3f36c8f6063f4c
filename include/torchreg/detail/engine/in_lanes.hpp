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
#include <torchreg/detail/processor/simd.hpp>

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
    // One thread writes each while what was looked up of it is in the cache. What comes next was
    // driven out of it, and is asked for in time.
    const std::size_t some_are = at::get_num_threads() == 1 ? 1 : 512;
    Indices rest;
    InLanes some(kernel, updates, outcome);
    for (const std::size_t i : todo) {
      if (i + 2 < updates.size()) prefetch(updates[i + 2].tensors.w.unsafeGetTensorImpl());
      if (!some.take(i)) rest.push_back(i);
      if (some.mine_.size() == some_are) some.carry_out();
    }
    some.carry_out();
    return rest;
  }

 private:
  InLanes(const AnyKernel& kernel, const Updates& updates, Outcome& outcome)
      : kernel_(kernel), updates_(updates), outcome_(outcome) {}

  /// False where it has no loop, or an array is not aligned.
  bool take(std::size_t i) {
    const Update& update = updates_[i];
    const auto& tensors = update.tensors;
    const auto has = presence_of(tensors);
    const Pass pass = pass_for(kernel_, update, has);
    Operands<void*> arrays;  // here, as LibTorch makes lazy copies of tensors outside its threads
    if (pass == nullptr || !find_arrays(tensors, arrays)) return false;
    if (kernel_.has_results) {  // the gradient, or w and its memory, which nothing else reads
      note_write(tensors.gradient.defined() ? tensors.gradient : tensors.w);
    }
    append_spans(spans_, mine_.size(), tensors.w);
    mine_.push_back(i);
    passes_.push_back(pass);
    numbers_.push_back(update.numbers);
    if (is_number(tensors.data)) {
      arrays.data = nullptr;
      numbers_.back().datum = unexpanded(tensors.data).template item<double>();
    }
    arrays_.push_back(arrays);
    return true;
  }

  /// Those that were taken.
  void carry_out() {
    sums_.resize(spans_.size());
    const bool in_turn =
        at::get_num_threads() == 1 || (kernel_.has_results && overlap(updates_, mine_));
    for_each_span(spans_, in_turn, [&](std::size_t k) {
      const std::size_t own = spans_[k].index;
      sums_[k] = passes_[own](kernel_.kernel, numbers_[own], arrays_[own], spans_[k]);
    });
    outcome_.sum = std::accumulate(sums_.begin(), sums_.end(), outcome_.sum);
    if (kernel_.has_results) std::for_each(mine_.begin(), mine_.end(), outcome_.done);
    mine_.clear(), spans_.clear(), passes_.clear(), numbers_.clear(), arrays_.clear();
  }

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

  /// Whether a tensor's memory is an array of w's type, whose entries lie as w's do.
  static bool is_array_like(const torch::Tensor& tensor, const torch::Tensor& w) {
    return tensor.is_cpu() && tensor.has_storage() && !tensor.is_neg() &&
           tensor.scalar_type() == w.scalar_type() && tensor.strides() == w.strides();
  }

  /// Those arrays; false where one is not aligned, as the memory of from_blob() may be.
  static bool find_arrays(const Operands<torch::Tensor>& tensors, Operands<void*>& arrays) {
    bool are_aligned = true;
    for_each_operand(
        [&](const torch::Tensor& tensor, void*& array) {
          if (!tensor.defined()) return;
          array = tensor.data_ptr();
          const auto size = static_cast<std::uintptr_t>(tensor.element_size());
          are_aligned = are_aligned && reinterpret_cast<std::uintptr_t>(array) % size == 0;
        },
        tensors, arrays);
    return are_aligned;
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

  const AnyKernel& kernel_;
  const Updates& updates_;
  Outcome& outcome_;
  Indices mine_;
  std::vector<Span> spans_;
  std::vector<Pass> passes_;
  std::vector<Numbers> numbers_;
  std::vector<Operands<void*>> arrays_;
  std::vector<double> sums_;
};

}  // namespace torchreg::detail
