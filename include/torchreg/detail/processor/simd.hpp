#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

#include <torchreg/detail/processor/inline_begin.hpp>

// GCC compiles one function with optimization where the user asks for none; Clang does not. With
// -ffast-math compilers forget NaN and infinity, and nvcc reads no vectors.
#if defined(__GNUC__) && !__FINITE_MATH_ONLY__ && !defined(__CUDACC__) && \
    (defined(__OPTIMIZE__) || !defined(__clang__))
#define TORCHREG_HAS_SIMD
#endif

// The bits of a result do not depend on the processor that the user compiles for: no product is
// contracted with a sum. Clang contracts only within an expression, and each operator is one.
#ifdef __clang__
#define TORCHREG_FAST
#else
#define TORCHREG_FAST __attribute__((optimize("O3", "fp-contract=off")))
#endif

#if defined(__GNUC__) && defined(__x86_64__)
#define TORCHREG_AVX2 __attribute__((target("avx2")))
#else
#define TORCHREG_AVX2
#endif

// Vectors of GCC's and Clang's, which become SIMD instructions. On x86 they are AVX2's, whatever
// processor the user compiles for; whether there is one is asked at run time. A program may have
// units with and without them: `Unit` tells which kind this one is, and what depends on it has it
// for a template argument, so that the linker takes no function of the other kind for it.

namespace torchreg::detail {

#ifndef TORCHREG_HAS_SIMD

inline namespace without_simd {
struct Unit {
  static constexpr bool has_simd = false;
};

constexpr std::size_t kVectorBytes = 16;
inline bool cpu_has_simd() { return false; }
template <class T>
struct Simd;
}  // namespace without_simd

#else

inline namespace with_simd {
struct Unit {
  static constexpr bool has_simd = true;
};

#ifdef __x86_64__
constexpr std::size_t kVectorBytes = 32;
inline bool cpu_has_simd() { return __builtin_cpu_supports("avx2") != 0; }
#else
constexpr std::size_t kVectorBytes = 16;
inline bool cpu_has_simd() { return true; }
#endif

template <class T>
struct Simd {
  using Vector __attribute__((vector_size(kVectorBytes))) = T;

  // On x86 by assembly: a builtin needs a function for AVX2, which could not be inlined into any.
  TORCHREG_INLINE static void fill(Vector& x, T value) {
#if defined(__x86_64__)
    if constexpr (sizeof(T) == 4) asm("vbroadcastss %1, %0" : "=x"(x) : "x"(value));
    if constexpr (sizeof(T) == 8) asm("vbroadcastsd %1, %0" : "=x"(x) : "x"(value));
#else
    x = value - Vector{};
#endif
  }

  TORCHREG_INLINE static void sqrt(Vector& x) {
#if defined(__x86_64__)
    if constexpr (sizeof(T) == 4) asm("vsqrtps %1, %0" : "=x"(x) : "x"(x));
    if constexpr (sizeof(T) == 8) asm("vsqrtpd %1, %0" : "=x"(x) : "x"(x));
#else
    for (std::size_t i = 0; i < kVectorBytes / sizeof(T); ++i) x[i] = std::sqrt(x[i]);
#endif
  }

  /// Whether any bit is set, of a vector of integers.
  TORCHREG_INLINE static bool any(const Vector& x) {
#ifdef __x86_64__
    bool result;
    asm("vptest %1, %1" : "=@ccnz"(result) : "x"(x));
    return result;
#else
    T bits = 0;
    for (std::size_t i = 0; i < kVectorBytes / sizeof(T); ++i) bits |= x[i];
    return bits != 0;
#endif
  }
};

/// loop(i, count) for each whole stride of `size` entries from `begin` on, and for the rest, with
/// all that it calls compiled for these vectors. Returns the loop, as std::for_each() does.
template <class Loop>
__attribute__((flatten)) TORCHREG_AVX2 TORCHREG_FAST Loop run_loop(Loop loop, int64_t begin,
                                                                   int64_t size) {
  int64_t i = begin;
  loop.start();
  for (; i + Loop::stride <= begin + size; i += Loop::stride) loop(i, Loop::stride);
  if (i < begin + size) loop(i, begin + size - i);
  return loop;
}

}  // namespace with_simd

#endif

}  // namespace torchreg::detail

#undef TORCHREG_HAS_SIMD
#undef TORCHREG_AVX2
#undef TORCHREG_FAST
#include <torchreg/detail/processor/inline_end.hpp>
