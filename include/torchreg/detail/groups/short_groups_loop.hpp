#pragma once

#include <cstdint>
#include <utility>

#include <torchreg/detail/groups/norm_loops.hpp>

#include <torchreg/detail/processor/inline_begin.hpp>

namespace torchreg::detail {

/// w <- x max(0, 1 - reach / ||x||) of groups of a few entries, which lie one after the other, or
/// those factors alone: what it counts are groups. From a stride on where a sum of squares is no
/// usual one, nothing is written.
template <class T>
struct ShortGroups : GroupEntries<T, false> {
  using Number = Lanes<T>;
  static constexpr int64_t stride = 64, lanes = Number::size;
  double reach;          ///< of a group of weight 1
  const T* weights;      ///< of the groups; null: 1
  double usual;          ///< the largest square that is usual, and the inverse of the least
  T* factors;            ///< written in place of w; null: they are not asked for
  int64_t unusual = -1;  ///< the first group of that stride; -1: none has been met

  ShortGroups(const GroupEntries<T, false>& entries, double by, const T* of_groups, double largest,
              T* found)
      : GroupEntries<T, false>(entries),
        reach(by),
        weights(of_groups),
        usual(largest),
        factors(found) {}

  /// Whether w is to be multiplied by what becomes of these sums of squares.
  TORCHREG_INLINE bool is_to_scale(T* sums, int64_t first, int64_t groups) {
    if (!find_factors(sums, first, groups)) return unusual = first, false;
    if (factors == nullptr) return true;
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
    if (this->unusual >= 0) return;
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
        Number(double(sums[g])).store(entries + g * size + i, Number::size);
      }
    }
    for (int64_t i = 0; i < count; i += Number::size) {
      const Number x = this->shrunk(Number::load(w + i, count - i), Number(this->step));
      (x * Number::load(entries + i, Number::size) + 0).store(w + i, count - i);
    }
  }
};

}  // namespace torchreg::detail

#include <torchreg/detail/processor/inline_end.hpp>
