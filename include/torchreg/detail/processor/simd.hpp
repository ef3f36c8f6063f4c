#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

// Without optimization LibTorch's own kernels are faster, -ffast-math forgets NaN and infinity, and
// nvcc reads no vectors.
#if defined(__GNUC__) && defined(__OPTIMIZE__) && !__FINITE_MATH_ONLY__ && !defined(__CUDACC__)
#define TORCHREG_HAS_SIMD
#endif

#if defined(__GNUC__) && defined(__x86_64__)
#define TORCHREG_AVX2 __attribute__((target("avx2")))
#else
#define TORCHREG_AVX2
#endif

// Newer Clangs have it, in place of the builtins for a processor.
#ifdef __clang__
#if __has_builtin(__builtin_elementwise_sqrt)
#define TORCHREG_HAS_ELEMENTWISE_SQRT
#endif
#endif

// Vectors of GCC's and Clang's, which become SIMD instructions at any level of optimization but
// none. On x86 they are AVX2's, whatever processor the user compiles for; whether there is one is
// asked at run time. A program may have units with and without them. The linker then takes some
// functions from either; those that say which kind a unit is are static, so that all stay right.

namespace torchreg::detail {

#ifndef TORCHREG_HAS_SIMD

constexpr bool kHasSimd = false;
constexpr std::size_t kVectorBytes = 16;
static inline bool cpu_has_simd() { return false; }
template <class T>
struct Simd;

#else

constexpr bool kHasSimd = true;

#ifdef __x86_64__
constexpr std::size_t kVectorBytes = 32;
static inline bool cpu_has_simd() { return __builtin_cpu_supports("avx2") != 0; }
#else
constexpr std::size_t kVectorBytes = 16;
static inline bool cpu_has_simd() { return true; }
#endif

template <class T>
struct Simd {
  using Vector __attribute__((vector_size(kVectorBytes))) = T;

  TORCHREG_AVX2 static void fill(Vector& x, T value) { x = value - Vector{}; }

  TORCHREG_AVX2 static void sqrt(Vector& x) {
#if defined(TORCHREG_HAS_ELEMENTWISE_SQRT)
    x = __builtin_elementwise_sqrt(x);
#elif defined(__x86_64__)
    if constexpr (sizeof(T) == 4) x = __builtin_ia32_sqrtps256(x);
    if constexpr (sizeof(T) == 8) x = __builtin_ia32_sqrtpd256(x);
#else
    for (std::size_t i = 0; i < kVectorBytes / sizeof(T); ++i) x[i] = std::sqrt(x[i]);
#endif
  }

  /// Whether any bit is set, of a vector of integers.
  TORCHREG_AVX2 static bool any(const Vector& x) {
#ifdef __x86_64__
    using Words __attribute__((vector_size(kVectorBytes))) = long long;
    return __builtin_ia32_ptestz256(Words(x), Words(x)) == 0;
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
__attribute__((flatten)) TORCHREG_AVX2 Loop run_loop(Loop loop, int64_t begin, int64_t size) {
  int64_t i = begin;
  for (; i + Loop::stride <= begin + size; i += Loop::stride) loop(i, Loop::stride);
  if (i < begin + size) loop(i, begin + size - i);
  return loop;
}

#endif

}  // namespace torchreg::detail

#undef TORCHREG_HAS_SIMD
#undef TORCHREG_AVX2
#undef TORCHREG_HAS_ELEMENTWISE_SQRT
