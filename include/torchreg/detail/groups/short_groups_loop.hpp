#pragma once

#include <cstdint>
#include <utility>

#include <torchreg/detail/groups/norm_loops.hpp>

#include <torchreg/detail/processor/inline_begin.hpp>

namespace torchreg::detail {

/// w <- x max(0, 1 - reach / ||x||) of groups of a few entries, which lie one after the other, or
/// those factors alone: what it counts are groups. Nothing is written where a sum of squares is no
/// usual one.
template <class T>
struct ShortGroups : GroupEntries<T, false> {
  using Number = Lanes<T>;
  static constexpr int64_t stride = 64, lanes = Number::size;
  double reach;      ///< of a group of weight 1
  const T* weights;  ///< of the groups; null: 1
  double usual;      ///< the largest square that is usual, and the inverse of the least
  T* factors;        ///< written in place of w; null: they are not asked for
  bool is_written = false;

  ShortGroups(const GroupEntries<T, false>& entries, double by, const T* of_groups, double largest,
              T* found)
      : GroupEntries<T, false>(entries),
        reach(by),
        weights(of_groups),
        usual(largest),
        factors(found) {}

  /// Whether w is to be multiplied by what becomes of these sums of squares.
  TORCHREG_INLINE bool is_to_scale(T* sums, int64_t first, int64_t groups) {
    is_written = find_factors(sums, first, groups);
    if (factors == nullptr || !is_written) return is_written;
    for (int64_t g = 0; g < groups; ++g) factors[first + g] = sums[g];
    return false;
  }

 private:
  /// sums <- what the groups with these sums of squares are multiplied by; false: one is unusual.
  TORCHREG_INLINE bool find_factors(T* sums, int64_t first, int64_t groups) const {
    for (int64_t g = 0; g < groups; g += lanes) {
      const Number squares = Number::load(sums + g, lanes), norms = squares.sqrt();
      const Number of =
          weights == nullptr ? Number(1) : Number::load(weights + first + g, groups - g);
      const Number by = of * reach;
      const auto is_usual = ((squares < usual) & (squares > 1 / usual)) |  // false of NaN
                            ((squares == 0) & ((by == 0) | (by * by > 1 / usual)));
      if ((Number(1).masked_fill(is_usual, 0) > 0).any()) return false;
      const Number factor = ((norms - by).clamp_min(0) / norms).masked_fill(norms == 0, 0);
      factor.masked_fill(by == 0, 1).store(sums + g, lanes);
    }
    return true;
  }
};

/// Of any size up to `longest`.
template <class T>
struct ShortGroupsLoop : ShortGroups<T> {
  using typename ShortGroups<T>::Number;
  using ShortGroups<T>::stride;
  static constexpr int64_t longest = 32;
  int64_t size;

  ShortGroupsLoop(const ShortGroups<T>& groups, int64_t of) : ShortGroups<T>(groups), size(of) {}

  TORCHREG_INLINE void operator()(int64_t first, int64_t groups) {
    T entries[stride * longest + Number::size];  // squares, and then factors
    T sums[stride] = {};
    T* const w = this->w + first * size;
    const int64_t count = groups * size;
    for (int64_t i = 0; i < count; i += Number::size) {
      const Number x = this->shrunk(Number::load(w + i, count - i), Number(this->step));
      (x * x).store(entries + i, Number::size);
    }
    for (int64_t g = 0; g < groups; ++g) {
      T sum = 0;
      for (int64_t i = 0; i < size; ++i) sum += entries[g * size + i];
      sums[g] = sum;
    }
    if (!this->is_to_scale(sums, first, groups)) return;
    for (int64_t g = 0; g < groups; ++g) {  // a group's last store reaches into the next one
      for (int64_t i = 0; i < size; i += Number::size) {
        Number(sums[g]).store(entries + g * size + i, Number::size);
      }
    }
    for (int64_t i = 0; i < count; i += Number::size) {
      const Number x = this->shrunk(Number::load(w + i, count - i), Number(this->step));
      (x * Number::load(entries + i, Number::size) + 0).store(w + i, count - i);
    }
  }
};

/// Of kernels of 3 x 3, without L1: some registers and one entry more, in half the time.
template <class T>
struct KernelsLoop : ShortGroups<T> {
  using typename ShortGroups<T>::Number;
  using ShortGroups<T>::stride;
  using ShortGroups<T>::lanes;
  static constexpr int64_t size = 9, last = size - 1;
  static_assert(last % lanes == 0);

  /// Of the k-th group, in lanes that are to be added up. Its last entry is the last one of a
  /// register whose other entries are there already.
  struct Squares {
    static constexpr T is_last[] = {0, 0, 0, 0, 0, 0, 0, 1};
    const T* w;
    int64_t groups;

    TORCHREG_INLINE Number operator()(int64_t k) const {
      if (k >= groups) return {};
      const T* const of = w + k * size;
      const Number end = Number::load(of + size - lanes, lanes);
      Number sum = end * end * Number::load(is_last + 8 - lanes, lanes);
      for (int64_t i = 0; i < last; i += lanes) {
        const Number x = Number::load(of + i, lanes);
        sum = sum + x * x;
      }
      return sum;
    }
  };

  explicit KernelsLoop(const ShortGroups<T>& groups) : ShortGroups<T>(groups) {}

  TORCHREG_INLINE void operator()(int64_t first, int64_t groups) {
    T sums[stride];
    T* const w = this->w + first * size;
    // Where the compiler sees that there are `lanes`, no register is asked whether it is whole.
    const int64_t rest = groups % lanes, whole = groups - rest;
    for (int64_t g = 0; g < whole; g += lanes) add_up(w + g * size, lanes, sums + g);
    if (rest > 0) add_up(w + whole * size, rest, sums + whole);
    if (!this->is_to_scale(sums, first, groups)) return;
    for (int64_t g = 0; g < whole; g += lanes) scale(w + g * size, lanes, sums + g);
    if (rest > 0) scale(w + whole * size, rest, sums + whole);
  }

 private:
  using Registers = std::make_integer_sequence<int, size>;  ///< that `lanes` groups fill

  TORCHREG_INLINE static void add_up(const T* w, int64_t groups, T* sums) {
    Number::sums(Squares{w, groups}).store(sums, lanes);
  }
  TORCHREG_INLINE static void scale(T* w, int64_t groups, const T* factors) {
    scale_each(w, groups * size, Number::load(factors, lanes), Registers());
  }
  template <int... k>
  TORCHREG_INLINE static void scale_each(T* w, int64_t count, const Number& factors,
                                         std::integer_sequence<int, k...> /*registers*/) {
    (scale_some(w + k * lanes, count - k * lanes, factors.template spread<size, k>()), ...);
  }
  TORCHREG_INLINE static void scale_some(T* w, int64_t count, const Number& factors) {
    if (count > 0) (Number::load(w, count) * factors + 0).store(w, count);
  }
};

}  // namespace torchreg::detail

#include <torchreg/detail/processor/inline_end.hpp>
