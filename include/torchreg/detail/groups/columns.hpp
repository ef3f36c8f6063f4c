#pragma once

#include <torch/types.h>

#include <cstddef>
#include <cstdint>

#include <torchreg/detail/formula/number.hpp>
#include <torchreg/detail/processor/simd.hpp>
#include <torchreg/detail/processor/threads.hpp>

#include <torchreg/detail/processor/inline_begin.hpp>

namespace torchreg::detail {

// Rows of a matrix that are columns of an array, of which others lie in between: one entry is then
// on another page of memory than the next.

inline bool are_columns(const torch::Tensor& rows) {
  return rows.is_cpu() && rows.dim() == 2 && rows.stride(0) == 1 && rows.stride(1) > 1;
}

/// to[j][i] <- from[i][j] + 0 for `count` of j, in tiles of whole lines of the cache. What it
/// counts are i.
template <class T>
struct TransposeLoop {
  static constexpr int64_t stride = 64 / sizeof(T);
  const T* from;
  T* to;
  int64_t from_stride, to_stride, lines, count;

  TORCHREG_INLINE void start() {}

  TORCHREG_INLINE void operator()(int64_t begin, int64_t rows) const {
    T tile[stride][stride];
    for (int64_t j = 0; j < count; j += stride) {
      const int64_t columns = count - j < stride ? count - j : stride;
      for (int64_t i = 0; i < rows; ++i) {
        const T* const line = from + (begin + i) * from_stride + j;
        if (begin + i + stride < lines) {  // one on a page of its own
          prefetch(line + stride * from_stride);
        }
        for (int64_t k = 0; k < columns; ++k) tile[k][i] = line[k] + T(0);
      }
      for (int64_t k = 0; k < columns; ++k) {
        T* const line = to + (j + k) * to_stride + begin;
        for (int64_t i = 0; i < rows; ++i) line[i] = tile[k][i];
      }
    }
  }
};

template <class T>
void transpose(const torch::Tensor& from, const torch::Tensor& to) {
  const TransposeLoop<T> loop{from.data_ptr<T>(), to.data_ptr<T>(), from.stride(0),
                              to.stride(0),       from.size(0),     from.size(1)};
  const int64_t some = TransposeLoop<T>::stride * 16;
  for_each_block(
      from.size(0), from.size(1), some,
      [&](std::size_t /*k*/, int64_t begin, int64_t end) { run_loop(loop, begin, end - begin); });
}

/// to <- from.t() + 0.0, of arrays whose lines may lie apart; false, and nothing written, where it
/// is another case.
template <class Unit>
bool transpose_in_tiles([[maybe_unused]] const torch::Tensor& from,
                        [[maybe_unused]] const torch::Tensor& to) {
  if constexpr (Unit::has_simd) {
    const auto type = from.scalar_type();
    const bool is_case = cpu_has_simd() && type == to.scalar_type() && from.stride(1) == 1 &&
                         to.stride(1) == 1 && (type == torch::kFloat || type == torch::kDouble);
    if (is_case) type == torch::kFloat ? transpose<float>(from, to) : transpose<double>(from, to);
    return is_case;
  }
  return false;
}

/// Rows of their own where they are columns: the array's lines are read in turn, and transposed in
/// the cache.
template <class Unit>
torch::Tensor gathered(const torch::Tensor& rows) {
  if (!are_columns(rows)) return rows;
  torch::Tensor own = torch::empty(rows.sizes(), rows.options().requires_grad(false));
  if (transpose_in_tiles<Unit>(rows.detach().t(), own)) return own;
  return rows.t().contiguous().t().contiguous();
}

/// to <- rows, without -0.0, and rounded once.
template <class Unit>
void scatter(const torch::Tensor& to, const torch::Tensor& rows) {
  if (!are_columns(to)) return store(to, rows);
  if (transpose_in_tiles<Unit>(rows, to.t())) return note_write(to);
  to.t().copy_(rows.t().contiguous().add_(0.0));
}

}  // namespace torchreg::detail

#include <torchreg/detail/processor/inline_end.hpp>
