#pragma once

#include <cstdint>
#include <utility>

#include <torchreg/detail/groups/short_groups_loop.hpp>

#include <torchreg/detail/processor/inline_begin.hpp>

namespace torchreg::detail {

/// Of nine entries, the kernels of 3 x 3, without L1: as many at once as a register has lanes.
template <class T>
struct KernelsLoop : ShortGroups<T> {
  using typename ShortGroups<T>::Number;
  using ShortGroups<T>::stride;
  using ShortGroups<T>::lanes;
  static constexpr int64_t size = 9, last = size - 1;
  static_assert(last % lanes == 0);

  explicit KernelsLoop(const ShortGroups<T>& groups) : ShortGroups<T>(groups) {}

  TORCHREG_INLINE void operator()(int64_t first, int64_t groups) {
    if (this->unusual >= 0) return;
    T sums[stride], rest[lanes * size] = {};
    T* const w = this->w + first * size;
    const int64_t whole = groups - groups % lanes, begin = whole * size, end = groups * size;
    for (int64_t i = begin; i < end; ++i) rest[i - begin] = w[i];
    for (int64_t g = 0; g < whole; g += lanes) add_up(w + g * size, sums + g);
    if (whole < groups) add_up(rest, sums + whole);
    if (!this->is_to_scale(sums, first, groups)) return;
    for (int64_t g = 0; g < whole; g += lanes) {
      prefetch_next(w + g * size);
      scale(w + g * size, sums + g);
    }
    if (whole < groups) scale(rest, sums + whole);
    for (int64_t i = begin; i < end; ++i) w[i] = rest[i - begin];
  }

 private:
  using Registers = std::make_integer_sequence<int, size>;  ///< that `lanes` kernels fill

  /// Of the k-th kernel, in lanes that are to be added up, but for an end where it meets another:
  /// the last entry of the first, the first of the second, and so on.
  struct Squares {
    const T* w;
    TORCHREG_INLINE Number operator()(int64_t k) const {
      const T* const of = w + k * size + k % 2;
      const Number x = Number::load(of, lanes);
      Number sum = x * x;
      for (int64_t i = lanes; i < last; i += lanes) {
        const Number y = Number::load(of + i, lanes);
        sum = sum + y * y;
      }
      return sum;
    }
  };

  TORCHREG_INLINE static void add_up(const T* w, T* sums) {
    const Number ends = Number::template pairs<2 * size>(w + last);
    (Number::sums(Squares{w}) + ends * ends).store(sums, lanes);
  }
  TORCHREG_INLINE static void scale(T* w, const T* factors) {
    scale_each(w, Number::load(factors, lanes), Registers());
  }
  /// Those of the next stride, while the processor waits for stores.
  TORCHREG_INLINE static void prefetch_next(const T* w) {
    constexpr int64_t kLine = 64, bytes = sizeof(T), ahead = stride * size * bytes;
    for (int64_t i = 0; i < lanes * size * bytes; i += kLine) prefetch(w, ahead + i);
  }
  template <int... k>
  TORCHREG_INLINE static void scale_each(T* w, const Number& factors,
                                         std::integer_sequence<int, k...> /*registers*/) {
    ((Number::load(w + k * lanes, lanes) * factors.template spread<size, k>() + 0)
         .store(w + k * lanes, lanes),
     ...);
  }
};

}  // namespace torchreg::detail

#include <torchreg/detail/processor/inline_end.hpp>
