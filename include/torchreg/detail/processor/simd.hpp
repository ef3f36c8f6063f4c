#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include <torchreg/detail/processor/inline_begin.hpp>

// GCC compiles one function with optimization where the user asks for none; Clang does not. With
// -ffast-math compilers forget NaN and infinity, and nvcc reads no vectors.
#if defined(__GNUC__) && !__FINITE_MATH_ONLY__ && !defined(__CUDACC__) && \
    (defined(__OPTIMIZE__) || !defined(__clang__))
#define TORCHREG_HAS_SIMD
#endif

// The bits of a result do not depend on the processor that the user compiles for: no product is
// contracted with a sum. Clang contracts only within an expression, and each operator is one.
// GCC begins loops at a line of code: a short one across two takes up to twice as long.
#ifdef __clang__
#define TORCHREG_FAST
#else
#define TORCHREG_FAST __attribute__((optimize("O3", "fp-contract=off", "align-loops=64")))
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

// Vectors of GCC's and Clang's, which become SIMD instructions. On x86 they are AVX2's, whatever
// processor the user compiles for; whether there is one is asked at run time. A program may have
// units with and without them: `Unit` tells which kind this one is. The executors have it for a
// template argument, so that of whichever unit the linker takes their caller, it runs theirs.

namespace torchreg::detail {

#ifndef TORCHREG_HAS_SIMD

inline namespace without_simd {
struct Unit {
  static constexpr bool has_simd = false;
};

constexpr std::size_t kVectorBytes = 16;
inline bool cpu_has_simd() { return false; }
inline void prefetch(const void* /*from*/, int64_t /*bytes*/ = 0) {}
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

/// Has a line of memory come while something else is done: so many bytes behind an address, where
/// nothing of the caller's need be. The sum is a number's: a pointer may not leave its array.
TORCHREG_INLINE void prefetch(const void* from, int64_t bytes = 0) {
  const auto address = reinterpret_cast<std::uintptr_t>(from) + static_cast<std::uintptr_t>(bytes);
  __builtin_prefetch(reinterpret_cast<const void*>(address));  // NOLINT(performance-no-int-to-ptr)
}

// What the operators do not have. GCC takes it by assembly on x86: a builtin needs a function for
// AVX2, which GCC does not inline where it does not optimize. Clang wants that function.
#if defined(__x86_64__) && !defined(__clang__)
#define TORCHREG_BY_ASSEMBLY
#define TORCHREG_PRIMITIVE TORCHREG_INLINE static
#else
#define TORCHREG_PRIMITIVE TORCHREG_AVX2 static
#endif

// GCC has the other one from 12 on.
#ifdef __clang__
#define TORCHREG_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define TORCHREG_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, Indices{__VA_ARGS__})
#endif

template <class T>
struct Simd {
  using Indices __attribute__((vector_size(kVectorBytes))) =
      std::conditional_t<sizeof(T) == 4, int, long long>;
  using Vector __attribute__((vector_size(kVectorBytes))) = T;
  using Places = std::make_integer_sequence<int, kVectorBytes / sizeof(T)>;

  TORCHREG_PRIMITIVE void fill(Vector& x, T value) {
#ifdef TORCHREG_BY_ASSEMBLY
    Vector all;  // a variable of its own, or GCC writes x to memory in each round of a loop
    if constexpr (sizeof(T) == 4) asm("vbroadcastss %1, %0" : "=x"(all) : "x"(value));
    if constexpr (sizeof(T) == 8) asm("vbroadcastsd %1, %0" : "=x"(all) : "x"(value));
    x = all;
#else
    x = value - Vector{};
#endif
  }

  TORCHREG_PRIMITIVE void sqrt(Vector& x) {
#if defined(TORCHREG_BY_ASSEMBLY)
    Vector root;
    if constexpr (sizeof(T) == 4) asm("vsqrtps %1, %0" : "=x"(root) : "x"(x));
    if constexpr (sizeof(T) == 8) asm("vsqrtpd %1, %0" : "=x"(root) : "x"(x));
    x = root;
#elif defined(TORCHREG_HAS_ELEMENTWISE_SQRT)
    x = __builtin_elementwise_sqrt(x);
#elif defined(__x86_64__)
    if constexpr (sizeof(T) == 4) x = __builtin_ia32_sqrtps256(x);
    if constexpr (sizeof(T) == 8) x = __builtin_ia32_sqrtpd256(x);
#else
    for (std::size_t i = 0; i < kVectorBytes / sizeof(T); ++i) x[i] = std::sqrt(x[i]);
#endif
  }

  /// The sums of two neighbours each, of a and of b, within each half of a register of 32 bytes.
  TORCHREG_INLINE static void add_neighbours(const Vector& a, const Vector& b, Vector& sums) {
    constexpr std::size_t size = kVectorBytes / sizeof(T);
    if constexpr (size == 8) {
      sums = TORCHREG_SHUFFLE(a, b, 0, 2, 8, 10, 4, 6, 12, 14) +
             TORCHREG_SHUFFLE(a, b, 1, 3, 9, 11, 5, 7, 13, 15);
    } else if constexpr (size == 4 && sizeof(T) == 8) {
      sums = TORCHREG_SHUFFLE(a, b, 0, 4, 2, 6) + TORCHREG_SHUFFLE(a, b, 1, 5, 3, 7);
    } else if constexpr (size == 4) {
      sums = TORCHREG_SHUFFLE(a, b, 0, 2, 4, 6) + TORCHREG_SHUFFLE(a, b, 1, 3, 5, 7);
    } else {
      sums = TORCHREG_SHUFFLE(a, b, 0, 2) + TORCHREG_SHUFFLE(a, b, 1, 3);
    }
  }

  /// The sum of the halves of a, and then that of b, of registers of 32 bytes.
  TORCHREG_INLINE static void add_halves(const Vector& a, const Vector& b, Vector& sums) {
    constexpr std::size_t size = kVectorBytes / sizeof(T);
    if constexpr (size == 8) {
      sums = TORCHREG_SHUFFLE(a, b, 0, 1, 2, 3, 8, 9, 10, 11) +
             TORCHREG_SHUFFLE(a, b, 4, 5, 6, 7, 12, 13, 14, 15);
    } else {
      sums = TORCHREG_SHUFFLE(a, b, 0, 1, 4, 5) + TORCHREG_SHUFFLE(a, b, 2, 3, 6, 7);
    }
  }

  /// a in the places that do not have this bit, b in those that do.
  template <int bit, int... i>
  TORCHREG_INLINE static void blend(const Vector& a, const Vector& b, Vector& result,
                                    std::integer_sequence<int, i...> /*places*/) {
    constexpr int size = sizeof...(i);
    result = TORCHREG_SHUFFLE(a, b, (i & bit) != 0 ? i + size : i...);
  }

  /// Within each four entries: those from the one `by` on, and then from the first.
  template <int by>
  TORCHREG_INLINE static void rotate_fours(const Vector& x, Vector& rotated) {
    constexpr int a = by % 4, b = (by + 1) % 4, c = (by + 2) % 4, d = (by + 3) % 4;
    if constexpr (kVectorBytes / sizeof(T) == 8) {
      rotated = TORCHREG_SHUFFLE(x, x, a, b, c, d, a + 4, b + 4, c + 4, d + 4);
    } else {
      rotated = TORCHREG_SHUFFLE(x, x, a, b, c, d);
    }
  }

  /// The entries (begin + i) / times.
  template <int times, int begin, int... i>
  TORCHREG_INLINE static void spread(const Vector& x, Vector& result,
                                     std::integer_sequence<int, i...>) {
    result = TORCHREG_SHUFFLE(x, x, (begin + i) / times...);
  }

  /// Whether any bit is set, of a vector of integers.
  TORCHREG_PRIMITIVE bool any(const Vector& x) {
#if defined(TORCHREG_BY_ASSEMBLY)
    bool result;
    asm("vptest %1, %1" : "=@ccnz"(result) : "x"(x));
    return result;
#elif defined(__x86_64__)
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
// The target stands last: from GCC 13 on, an optimize behind it takes it back below -O2.
template <class Loop>
__attribute__((flatten)) TORCHREG_FAST TORCHREG_AVX2 Loop run_loop(const Loop& given, int64_t begin,
                                                                   int64_t size) {
  Loop loop(given);  // its own, which no store to an array can change: its sums are in registers
  int64_t i = begin;
  loop.start();
  for (; i + Loop::stride <= begin + size; i += Loop::stride) loop(i, Loop::stride);
  if (i < begin + size) loop(i, begin + size - i);
  return Loop(loop);
}

}  // namespace with_simd

#endif

}  // namespace torchreg::detail

#undef TORCHREG_HAS_SIMD
#undef TORCHREG_AVX2
#undef TORCHREG_FAST
#undef TORCHREG_BY_ASSEMBLY
#undef TORCHREG_PRIMITIVE
#undef TORCHREG_SHUFFLE
#undef TORCHREG_HAS_ELEMENTWISE_SQRT
#include <torchreg/detail/processor/inline_end.hpp>
