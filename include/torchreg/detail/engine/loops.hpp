#pragma once

#include <algorithm>
#include <cstdint>

#include <torchreg/detail/engine/update.hpp>
#include <torchreg/detail/formula/faces.hpp>
#include <torchreg/detail/processor/lanes.hpp>
#include <torchreg/detail/processor/threads.hpp>

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
    if constexpr (Has::data) x.data = data(i, count);
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

  TORCHREG_INLINE Number data(int64_t i, int64_t count) const {
    if (arrays.data == nullptr) return numbers.datum;
    return Number::load(arrays.data + i, count);
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

/// Carries out a span of an update: returns the sum, of a kernel that sums.
using Pass = double (*)(const void* kernel, const Numbers&, const Operands<void*>&, const Span&);

template <class Kernel, class T, class Has>
double pass(const void* kernel, const Numbers& numbers, const Operands<void*>& memory,
            const Span& span) {
  Operands<T*> arrays;
  for_each_operand([](void* from, T*& to) { to = static_cast<T*>(from); }, memory, arrays);
  const Loop<Kernel, T, Has> loop{*static_cast<const Kernel*>(kernel), numbers, arrays};
  double sum = 0;
  if constexpr (Kernel::sums) {
    constexpr int64_t kBlock = 4096;  // added up in blocks, as float has but seven digits
    for (int64_t i = 0; i < span.size; i += kBlock) {
      const auto end =
          run_loop(SumLoop<Kernel, T, Has>(loop), span.begin + i, std::min(kBlock, span.size - i));
      sum += end.sum();
    }
  } else {
    run_loop(loop, span.begin, span.size);
  }
  return sum * numbers.strength;
}

template <class Kernel, class T, class... Sets>
Pass loop_among(const Operands<bool>& has, SetList<Sets...> /*sets*/) {
  Pass found = nullptr;
  ((found = is_set<Sets>(has) ? &pass<Kernel, T, Sets> : found), ...);
  return found;
}

/// The kernel's loop over arrays of float or double; null where there is none for these operands.
template <class Kernel>
Pass loop_for(torch::ScalarType type, const Operands<bool>& has) {
  using Sets = typename Kernel::Sets;
  return type == torch::kFloat ? loop_among<Kernel, float>(has, Sets())
                               : loop_among<Kernel, double>(has, Sets());
}

}  // namespace torchreg::detail

#include <torchreg/detail/processor/inline_end.hpp>
