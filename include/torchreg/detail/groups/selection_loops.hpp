#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include <torchreg/detail/formula/number.hpp>
#include <torchreg/detail/processor/lanes.hpp>

#include <torchreg/detail/processor/inline_begin.hpp>

namespace torchreg::detail {

/// |x|, of NaN infinity.
template <class T>
TORCHREG_INLINE T magnitude(T x) {
  return is_nan(static_cast<double>(x)) ? std::numeric_limits<T>::infinity() : std::abs(x);
}

/// Finds the magnitudes in (low, high], and counts those above and those from low on.
template <class T>
struct BracketLoop {
  using Number = Lanes<T>;
  static constexpr int64_t stride = 4 * Number::size;
  const T* numbers;
  T low, high;
  T* end;  ///< of those that are found
  Number above{}, from_low{};

  TORCHREG_INLINE void start() const {}

  /// Entries beyond the count are 0, which a low of 0 counts.
  TORCHREG_INLINE void operator()(int64_t i, int64_t count) {
    const Number inf = std::numeric_limits<double>::infinity();
    Number more = 0, least = 0;
    for (int64_t k = 0; k < count; k += Number::size) {
      const Number read = Number::load(numbers + i + k, count - k).abs();
      const Number x = read.where(read < inf, inf);
      more = more + Number(1).where(x > double(high), 0);
      least = least + Number(1).where(Number(double(low)) <= x, 0);
      if (((x > double(low)) & (x <= double(high))).any()) append(x);
    }
    above = above + more;
    from_low = from_low + least;
  }

 private:
  TORCHREG_INLINE void append(const Number& x) {
    for (int64_t k = 0; k < Number::size; ++k) {  // a branch would often be mispredicted
      *end = static_cast<T>(x.at(k));
      end += int{*end > low} & int{*end <= high};
    }
  }
};

/// Writes 0 for magnitudes from a least one on, infinity for the others.
template <class T>
struct BoundLoop {
  using Number = Lanes<T>;
  static constexpr int64_t stride = Number::size;
  const T* numbers;
  T* bounds;
  T least;

  TORCHREG_INLINE void start() const {}

  TORCHREG_INLINE void operator()(int64_t i, int64_t count) const {
    const Number inf = std::numeric_limits<double>::infinity();
    inf.where(Number::load(numbers + i, count).abs() < double(least), 0).store(bounds + i, count);
  }
};

}  // namespace torchreg::detail

#include <torchreg/detail/processor/inline_end.hpp>
