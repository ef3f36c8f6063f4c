#pragma once

#include <cstdint>

#include <torchreg/detail/groups/norm_loops.hpp>

#include <torchreg/detail/processor/inline_begin.hpp>

namespace torchreg::detail {

/// w <- x max(0, 1 - reach / ||x||) of groups of a few entries, which lie one after the other: what
/// it counts are groups. Nothing is written where a sum of squares is no usual one.
template <class T>
struct ShortGroupsLoop : GroupEntries<T, false> {
  using Number = Lanes<T>;
  static constexpr int64_t stride = 64, longest = 32;
  int64_t size;      ///< of a group, at most `longest`
  double reach;      ///< of a group of weight 1
  const T* weights;  ///< of the groups; null: 1
  double usual;      ///< the largest square that is usual, and the inverse of the least
  bool is_written = false;

  ShortGroupsLoop(const GroupEntries<T, false>& entries, int64_t of, double by, const T* of_groups,
                  double largest)
      : GroupEntries<T, false>(entries), size(of), reach(by), weights(of_groups), usual(largest) {}

  TORCHREG_INLINE void operator()(int64_t first, int64_t groups) {
    T entries[stride * longest + Number::size];  // squares, and then factors
    T sums[stride];
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
    for (int64_t g = 0; g < groups; g += Number::size) {
      const Number squares = Number::load(sums + g, groups - g), norms = squares.sqrt();
      // False of NaN.
      const auto is_usual = ((squares < usual) & (squares > 1 / usual)) | (squares == 0);
      if ((Number(1).masked_fill(is_usual, 0) > 0).any()) return;
      const Number of =
          weights == nullptr ? Number(1) : Number::load(weights + first + g, groups - g);
      const Number length = (norms - of * reach).clamp_min(0);
      const Number factor = (length / norms).masked_fill(norms == 0, 0);
      factor.masked_fill(of * reach == 0, 1).store(sums + g, groups - g);
    }
    for (int64_t g = 0; g < groups; ++g) {  // a group's last store reaches into the next one
      for (int64_t i = 0; i < size; i += Number::size) {
        Number(sums[g]).store(entries + g * size + i, Number::size);
      }
    }
    for (int64_t i = 0; i < count; i += Number::size) {
      const Number x = this->shrunk(Number::load(w + i, count - i), Number(this->step));
      (x * Number::load(entries + i, Number::size) + 0).store(w + i, count - i);
    }
    is_written = true;
  }
};

}  // namespace torchreg::detail

#include <torchreg/detail/processor/inline_end.hpp>
