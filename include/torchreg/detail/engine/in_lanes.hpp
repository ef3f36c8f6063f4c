#pragma once

#include <torch/types.h>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

#include <torchreg/detail/engine/loops.hpp>
#include <torchreg/detail/engine/outcome.hpp>
#include <torchreg/detail/processor/threads.hpp>

namespace torchreg::detail {

/// The executor for arrays of float and double on the CPU: each in one pass, in the processor's
/// vectors, on all threads at once.
template <class Unit>
class InLanes {
 public:
  /// Carries out those of `todo` that lie in memory alike and whose operands have a loop; returns
  /// the others.
  template <class Kernel>
  static Indices run(const Kernel& kernel, const Updates& updates, const Indices& todo,
                     Outcome& outcome) {
    if constexpr (Unit::has_simd && Kernel::takes_lanes) {
      if (cpu_has_simd()) return run_all(kernel, updates, todo, outcome);
    }
    return todo;
  }

 private:
  /// Carries out a span of an update: returns the sum, of a kernel that sums.
  template <class Kernel>
  using Pass = double (*)(const Kernel&, const Numbers&, const Operands<void*>&, const Span&);

  template <class Kernel, class T, class Has>
  static double pass(const Kernel& kernel, const Numbers& numbers, const Operands<void*>& memory,
                     const Span& span) {
    Operands<T*> arrays;
    for_each_operand([](void* from, T*& to) { to = static_cast<T*>(from); }, memory, arrays);
    const Loop<Kernel, T, Has> loop{kernel, numbers, arrays};
    double sum = 0;
    if constexpr (Kernel::sums) {
      constexpr int64_t kBlock = 4096;  // added up in blocks, as float has but seven digits
      for (int64_t i = 0; i < span.size; i += kBlock) {
        const auto end = run_loop(SumLoop<Kernel, T, Has>(loop), span.begin + i,
                                  std::min(kBlock, span.size - i));
        sum += end.sum();
      }
    } else {
      run_loop(loop, span.begin, span.size);
    }
    return sum * numbers.strength;
  }

  template <class Kernel, class T, class... Sets>
  static Pass<Kernel> pass_for(const Operands<bool>& has, SetList<Sets...> /*sets*/) {
    Pass<Kernel> found = nullptr;
    ((found = is_set<Sets>(has) ? &pass<Kernel, T, Sets> : found), ...);
    return found;
  }

  /// Null where the update has none.
  template <class Kernel>
  static Pass<Kernel> pass_for(const Update& update) {
    const auto& tensors = update.tensors;
    const auto type = tensors.w.scalar_type();
    bool fits = (type == torch::kFloat || type == torch::kDouble) &&
                tensors.w.is_non_overlapping_and_dense();
    for_each_operand(
        [&](const torch::Tensor& tensor) {
          fits = fits && (!tensor.defined() || is_array_like(tensor, tensors.w));
        },
        tensors);
    if (!fits) return nullptr;
    auto has = presence_of(tensors);
    has.factor = has.factor || (Kernel::has_results && update.numbers.strength != 1);
    using Sets = typename Kernel::Sets;
    return type == torch::kFloat ? pass_for<Kernel, float>(has, Sets())
                                 : pass_for<Kernel, double>(has, Sets());
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
      ranges.emplace_back(begin, begin + static_cast<std::uintptr_t>(w.nbytes()));
    }
    std::sort(ranges.begin(), ranges.end());
    const auto meet = [](const auto& a, const auto& b) { return b.first < a.second; };
    return std::adjacent_find(ranges.begin(), ranges.end(), meet) != ranges.end();
  }

  template <class Kernel>
  static Indices run_all(const Kernel& kernel, const Updates& updates, const Indices& todo,
                         Outcome& outcome) {
    Indices rest, mine;
    std::vector<Span> spans;
    std::vector<Pass<Kernel>> passes;
    std::vector<Operands<void*>> arrays;
    mine.reserve(todo.size());
    spans.reserve(todo.size());
    passes.reserve(todo.size());
    arrays.reserve(todo.size());
    for (const std::size_t i : todo) {
      const Pass<Kernel> pass = pass_for<Kernel>(updates[i]);
      if (pass == nullptr) {
        rest.push_back(i);
        continue;
      }
      append_spans(spans, mine.size(), updates[i].tensors.w);
      mine.push_back(i);
      passes.push_back(pass);
      // Here, as LibTorch makes lazy copies of tensors outside its threads alone.
      arrays.emplace_back();
      for_each_operand([](const torch::Tensor& tensor,
                          void*& array) { array = tensor.defined() ? tensor.data_ptr() : nullptr; },
                       updates[i].tensors, arrays.back());
    }
    std::vector<double> sums(spans.size());
    bool in_turn = at::get_num_threads() == 1;
    if constexpr (Kernel::has_results) in_turn = in_turn || overlap(updates, mine);
    for_each_span(spans, in_turn, [&](std::size_t k) {
      const std::size_t own = spans[k].index;
      sums[k] = passes[own](kernel, updates[mine[own]].numbers, arrays[own], spans[k]);
    });
    outcome.sum = std::accumulate(sums.begin(), sums.end(), outcome.sum);
    if constexpr (Kernel::has_results) {
      for (const std::size_t i : mine) {
        const auto& tensors = updates[i].tensors;
        for_each_operand(
            [](const torch::Tensor& tensor, bool is_written) {
              if (is_written && !tensor.is_inference())
                tensor.unsafeGetTensorImpl()->bump_version();
            },
            tensors, Kernel::writes(presence_of(tensors)));
        outcome.done(i);
      }
    }
    return rest;
  }
};

}  // namespace torchreg::detail
