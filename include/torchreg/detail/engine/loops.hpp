#pragma once

#include <cstdint>

#include <torchreg/detail/engine/update.hpp>
#include <torchreg/detail/formula/faces.hpp>
#include <torchreg/detail/processor/lanes.hpp>

#include <torchreg/detail/processor/inline_begin.hpp>

namespace torchreg::detail {

/// A kernel's pass over the arrays of an update, of which it reads and writes each once.
template <class Kernel, class T, class Has>
struct Loop {
  using Number = Lanes<T>;
  static constexpr int64_t stride = Number::size;
  Kernel kernel;
  Numbers numbers;
  Operands<T*> arrays;
  static constexpr Has has{};

  TORCHREG_INLINE void start() {
    if constexpr (Kernel::has_results) kernel.start(Number(numbers.rate * numbers.strength), has);
  }

  TORCHREG_INLINE void operator()(int64_t i, int64_t count) const {
    Number none;
    pass(i, count, none);
  }

  TORCHREG_INLINE void pass(int64_t i, int64_t count, Number& sum) const {
    Operands<Number> x;
    x.w = Number::load(arrays.w + i, count);
    if constexpr (Has::moment) x.moment = Number::load(arrays.moment + i, count);
    if constexpr (Has::data) x.data = Number::load(arrays.data + i, count);
    if constexpr (Has::factor) x.factor = factor(i, count);
    if constexpr (Has::memory) x.memory = Number::load(arrays.memory + i, count);
    if constexpr (Kernel::reads_gradient) x.gradient = Number::load(arrays.gradient + i, count);
    if constexpr (Kernel::sums) sum = sum + kernel.at(x, has, NoPath()).first(count);
    if constexpr (Kernel::has_results) {
      kernel(x, numbers, has, NoPath());
      if constexpr (Has::gradient) {
        x.gradient.store(arrays.gradient + i, count);
      } else {
        (x.w + 0).store(arrays.w + i, count);  // so that there is no -0.0
        if constexpr (Has::memory) x.memory.store(arrays.memory + i, count);
      }
    }
  }

  /// 1 where the strength is one number, for which there is no loop of its own.
  TORCHREG_INLINE Number factor(int64_t i, int64_t count) const {
    if (arrays.factor == nullptr) return 1;
    return Number::load(arrays.factor + i, count);
  }
};

/// The same, which sums the kernel's values: in four sums, as one would wait for its last addition.
template <class Kernel, class T, class Has>
struct SumLoop : Loop<Kernel, T, Has> {
  using Number = Lanes<T>;
  static constexpr int64_t stride = 4 * Number::size;
  Number a{}, b{}, c{}, d{};

  explicit SumLoop(const Loop<Kernel, T, Has>& loop) : Loop<Kernel, T, Has>(loop) {}

  TORCHREG_INLINE void operator()(int64_t i, int64_t count) {
    constexpr int64_t size = Number::size;
    this->pass(i, count, a);
    if (count > size) this->pass(i + size, count - size, b);
    if (count > 2 * size) this->pass(i + 2 * size, count - 2 * size, c);
    if (count > 3 * size) this->pass(i + 3 * size, count - 3 * size, d);
  }

  TORCHREG_INLINE double sum() const { return ((a + b) + (c + d)).sum(); }
};

}  // namespace torchreg::detail

#include <torchreg/detail/processor/inline_end.hpp>
