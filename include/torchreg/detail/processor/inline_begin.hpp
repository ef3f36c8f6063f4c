// Defines TORCHREG_INLINE and TORCHREG_NOINLINE until inline_end.hpp. GCC would split the vectors
// of a function that it compiles for any processor before it inlines it into one for AVX2, unless
// it must inline it.
#if defined(__GNUC__)
#define TORCHREG_INLINE [[gnu::always_inline]] inline
#define TORCHREG_NOINLINE [[gnu::noinline]]
#else
#define TORCHREG_INLINE inline
#define TORCHREG_NOINLINE
#endif
