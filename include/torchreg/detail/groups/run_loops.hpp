#pragma once

#include <torch/types.h>

#include <cstddef>
#include <cstdint>

#include <torchreg/detail/groups/projections.hpp>
#include <torchreg/detail/processor/lanes.hpp>
#include <torchreg/detail/processor/threads.hpp>

#include <torchreg/detail/processor/inline_begin.hpp>

namespace torchreg::detail {

constexpr int64_t kLongestRun = 16;  // that has registers

/// 1 where an entry of a run has a d-th one after it, or before it: lane by lane, until a run
/// starts in the first lane again.
template <class T>
struct Neighbours {
  int64_t size;  ///< of a run
  T later[kLongestRun][kLongestRun * Lanes<T>::size],
      earlier[kLongestRun][kLongestRun * Lanes<T>::size];

  explicit Neighbours(int64_t run) : size(run) {
    for (int64_t d = 1; d < size; ++d) {
      for (int64_t i = 0; i < size * Lanes<T>::size; ++i) {
        later[d][i] = i % size + d < size ? T(1) : T(0);
        earlier[d][i] = i % size >= d ? T(1) : T(0);
      }
    }
  }
};

/// z <- w of the `keep` largest root_scores() of each run, of equal ones the first, else 0, in
/// registers: runs of a few entries, which lie one after the other.
template <class T>
struct RunEntries {
  using Number = Lanes<T>;
  const T* w;
  const T* steps;  ///< null: one for all
  T* z;
  double keep;

  TORCHREG_INLINE void start() {}

  TORCHREG_INLINE Number score(const Number& x, int64_t i, int64_t count) const {
    if (steps == nullptr) return x.abs();
    return (x.abs() / Number::load(steps + i, count).sqrt()).masked_fill(x == 0, 0);
  }
};

/// Of any size up to `longest`; what it counts are runs.
template <class T>
struct LargestOfRunsLoop : RunEntries<T> {
  using Number = Lanes<T>;
  static constexpr int64_t stride = 64, longest = kLongestRun;
  int64_t size;  ///< of a run, at most `longest`
  const Neighbours<T>& has;

  LargestOfRunsLoop(const RunEntries<T>& entries, const Neighbours<T>& neighbours)
      : RunEntries<T>(entries), size(neighbours.size), has(neighbours) {}

  TORCHREG_INLINE void operator()(int64_t first, int64_t runs) {
    T room[longest + stride * longest + longest] = {};
    T* const scores = room + longest;
    const int64_t begin = first * size, count = runs * size;
    for (int64_t i = 0; i < count; i += Number::size) {
      const Number x = Number::load(this->w + begin + i, count - i);
      this->score(x, begin + i, count - i).store(scores + i, count - i);
    }
    int64_t lane = 0;
    for (int64_t i = 0; i < count; i += Number::size) {
      const Number own = Number::load(scores + i, Number::size);
      Number before = 0;
      for (int64_t d = 1; d < size; ++d) {
        const auto later = Number::load(scores + i + d, Number::size) > own;
        const auto earlier = own <= Number::load(scores + i - d, Number::size);
        before = before + Number::load(has.later[d] + lane, Number::size).where(later, Number(0)) +
                 Number::load(has.earlier[d] + lane, Number::size).where(earlier, Number(0));
      }
      lane = lane + Number::size < size * Number::size ? lane + Number::size : 0;
      const Number x = Number::load(this->w + begin + i, count - i);
      x.masked_fill(before > this->keep - 0.5, 0).store(this->z + begin + i, count - i);
    }
  }
};

/// Of runs of four, which stay in their register; what it counts are entries.
template <class T>
struct LargestOfFoursLoop : RunEntries<T> {
  using Number = Lanes<T>;
  static constexpr int64_t stride = Number::size;
  static constexpr T places[] = {0, 1, 2, 3, 0, 1, 2, 3};  ///< in the run

  explicit LargestOfFoursLoop(const RunEntries<T>& entries) : RunEntries<T>(entries) {}

  TORCHREG_INLINE void operator()(int64_t i, int64_t count) const {
    const Number x = Number::load(this->w + i, count), own = this->score(x, i, count);
    const Number before = comes_before<1>(own) + comes_before<2>(own) + comes_before<3>(own);
    x.masked_fill(before > this->keep - 0.5, 0).store(this->z + i, count);
  }

  /// 1 where the entry `by` places on does.
  template <int by>
  TORCHREG_INLINE Number comes_before(const Number& own) const {
    const Number other = own.template rotated<by>();
    const auto is_earlier = Number::load(places, stride) > 3.5 - by;
    return Number(1).where((other > own) | ((other == own) & is_earlier), Number(0));
  }
};

template <class T>
torch::Tensor largest_of_runs(const torch::Tensor& w, const torch::Tensor& step, int64_t k) {
  const torch::Tensor from = w.contiguous();
  torch::Tensor z = torch::empty_like(from);
  const torch::Tensor by = step.dim() == 0 ? step : step.expand_as(w).contiguous();
  const T* steps = step.dim() == 0 ? nullptr : by.data_ptr<T>();
  const RunEntries<T> entries{from.data_ptr<T>(), steps, z.data_ptr<T>(), static_cast<double>(k)};
  const int64_t size = w.size(1);
  const Neighbours<T> neighbours(size);
  for_each_block(
      w.size(0), size, rows_of_block(size), [&](std::size_t /*k*/, int64_t begin, int64_t end) {
        if constexpr (Lanes<T>::size % 4 == 0) {
          if (size == 4)
            return void(run_loop(LargestOfFoursLoop<T>(entries), 4 * begin, 4 * (end - begin)));
        }
        run_loop(LargestOfRunsLoop<T>(entries, neighbours), begin, end - begin);
      });
  return z;
}

/// w of the k entries of largest w^2 / step of each row, of equal ones the first, else 0.
template <class Unit>
torch::Tensor keep_largest_of_rows(const torch::Tensor& w, const torch::Tensor& step, int64_t k) {
  if constexpr (Unit::has_simd) {
    const auto type = w.scalar_type();
    const bool are_short = w.size(1) <= kLongestRun;
    if (cpu_has_simd() && w.is_cpu() && are_short && step.scalar_type() == type) {
      if (type == torch::kFloat) return largest_of_runs<float>(w, step, k);
      if (type == torch::kDouble) return largest_of_runs<double>(w, step, k);
    }
  }
  return w.masked_fill(largest_of_rows(root_scores(w, step), k).logical_not(), 0);
}

}  // namespace torchreg::detail

#include <torchreg/detail/processor/inline_end.hpp>
