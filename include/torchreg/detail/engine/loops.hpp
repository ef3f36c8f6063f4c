#pragma once

#include <cstdint>
#include <type_traits>

#include <torchreg/detail/engine/update.hpp>
#include <torchreg/detail/formula/faces.hpp>
#include <torchreg/detail/processor/lanes.hpp>

#include <torchreg/detail/processor/inline_begin.hpp>

namespace torchreg::detail {

/// A kernel's pass over the arrays of an update, of which it reads and writes each once; sums its
/// values on the way, if it has some.
template <class Kernel, class T, class Has>
struct WriteLoop {
  using Number = Lanes<T>;
  static constexpr int64_t stride = Number::size;
  Kernel kernel;
  Numbers numbers;
  Operands<T*> arrays;
  Number total{};
  static constexpr Has has{};

  TORCHREG_INLINE void start() { kernel.start(Number(numbers.rate * numbers.strength), has); }

  TORCHREG_INLINE void operator()(int64_t i, int64_t count) {
    Operands<Number> x;
    x.w = Number::load(arrays.w + i, count);
    if constexpr (Has::moment) x.moment = Number::load(arrays.moment + i, count);
    if constexpr (Has::data) x.data = Number::load(arrays.data + i, count);
    if constexpr (Has::factor) x.factor = Number::load(arrays.factor + i, count);
    if constexpr (Has::memory) x.memory = Number::load(arrays.memory + i, count);
    if constexpr (Kernel::reads_gradient) x.gradient = Number::load(arrays.gradient + i, count);
    if constexpr (Kernel::sums) total = total + kernel.at(x, has, NoPath()).first(count);
    kernel(x, numbers, has, NoPath());
    if constexpr (Has::gradient) {
      x.gradient.store(arrays.gradient + i, count);
    } else {
      (x.w + 0).store(arrays.w + i, count);  // so that there is no -0.0
      if constexpr (Has::memory) x.memory.store(arrays.memory + i, count);
    }
  }

  TORCHREG_INLINE double sum() const { return total.sum(); }
};

/// Sums a kernel's values over an array.
template <class Kernel, class T, class Has>
struct SumLoop {
  using Number = Lanes<T>;
  static constexpr int64_t stride = 4 * Number::size;
  Kernel kernel;
  Numbers numbers;
  Operands<T*> arrays;
  Number a{}, b{}, c{}, d{};  // four sums: one would wait for its last addition

  TORCHREG_INLINE void start() {}

  TORCHREG_INLINE void operator()(int64_t i, int64_t count) {
    constexpr int64_t size = Number::size;
    a = a + value(i, count);
    if (count > size) b = b + value(i + size, count - size);
    if (count > 2 * size) c = c + value(i + 2 * size, count - 2 * size);
    if (count > 3 * size) d = d + value(i + 3 * size, count - 3 * size);
  }

  TORCHREG_INLINE Number value(int64_t i, int64_t count) const {
    Operands<Number> x;
    x.w = Number::load(arrays.w + i, count);
    if constexpr (Has::data) x.data = Number::load(arrays.data + i, count);
    if constexpr (Has::factor) x.factor = Number::load(arrays.factor + i, count);
    return kernel.at(x, Has(), NoPath()).first(count);
  }

  TORCHREG_INLINE double sum() const { return ((a + b) + (c + d)).sum(); }
};

template <class Kernel, class T, class Has>
using LoopOf =
    std::conditional_t<Kernel::has_results, WriteLoop<Kernel, T, Has>, SumLoop<Kernel, T, Has>>;

}  // namespace torchreg::detail

#include <torchreg/detail/processor/inline_end.hpp>
