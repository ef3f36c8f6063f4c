#pragma once

#include <torch/types.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <torchreg/detail/processor/lanes.hpp>

#include <torchreg/detail/processor/inline_begin.hpp>

namespace torchreg::detail {

/// Counts the zeros and the finite entries of a row, and marks the columns where it is not zero.
template <class T>
struct CountLoop {
  using Number = Lanes<T>;
  static constexpr int64_t stride = Number::size;
  const T* row;
  T* alive;  ///< 1 for such a column; null: not asked
  Number are_zero{}, are_finite{};

  CountLoop(const T* of, T* columns) : row(of), alive(columns) {}

  TORCHREG_INLINE void start() {}
  TORCHREG_INLINE void operator()(int64_t i, int64_t count) {
    const Number x = Number::load(row + i, count), none = 0;
    are_zero = are_zero + none.masked_fill(x == 0, 1).first(count);
    are_finite = are_finite + none.masked_fill(x.isfinite(), 1).first(count);
    if (alive == nullptr) return;
    Number::load(alive + i, count).masked_fill(x != 0, 1).store(alive + i, count);
  }

  TORCHREG_INLINE int64_t zeros() const { return static_cast<int64_t>(are_zero.sum()); }
  TORCHREG_INLINE int64_t finite() const { return static_cast<int64_t>(are_finite.sum()); }
};

/// The same counts as counts_of(), in one pass over an array.
template <class T>
torch::Tensor counts_in_lanes(const torch::Tensor& tensor) {
  constexpr int64_t kBlock = int64_t{1} << 20;  // so that a float counts exactly
  const int64_t rows = tensor.dim() < 2 ? 1 : tensor.size(0), size = tensor.numel() / rows;
  std::vector<T> alive(static_cast<std::size_t>(tensor.dim() == 2 ? size : 0));
  T* const columns = alive.empty() ? nullptr : alive.data();
  const T* row = tensor.data_ptr<T>();
  int64_t zeros = 0, finite = 0, zero_rows = 0;
  for (int64_t k = 0; k < rows; ++k, row += size) {
    int64_t of_row = 0;
    for (int64_t i = 0; i < size; i += kBlock) {
      const auto block = run_loop(CountLoop<T>(row, columns), i, std::min(kBlock, size - i));
      of_row += block.zeros(), finite += block.finite();
    }
    zeros += of_row, zero_rows += of_row == size;
  }
  const auto zero_columns = std::count(alive.begin(), alive.end(), T(0));
  return torch::tensor({zeros, finite, tensor.dim() < 2 ? 0 : zero_rows, int64_t{zero_columns}});
}

template <class Unit>
torch::Tensor counts_of_tensor(const torch::Tensor& tensor) {
  if constexpr (Unit::has_simd) {
    const auto type = tensor.scalar_type();
    const bool is_case =
        cpu_has_simd() && tensor.is_cpu() && tensor.is_contiguous() && tensor.numel() > 0;
    if (is_case && type == torch::kFloat) return counts_in_lanes<float>(tensor);
    if (is_case && type == torch::kDouble) return counts_in_lanes<double>(tensor);
  }
  const bool has_slices = tensor.dim() >= 2 && tensor.numel() > 0;
  const torch::Tensor is_zero = tensor == 0;
  const torch::Tensor none = torch::zeros({}, is_zero.options().dtype(torch::kLong));
  return torch::stack({is_zero.sum(), tensor.isfinite().sum(),
                       has_slices ? is_zero.flatten(1).all(1).sum() : none,
                       has_slices && tensor.dim() == 2 ? is_zero.all(0).sum() : none});
}

/// Zeros, finite entries, zero slices along the first and along the second dimension of a matrix;
/// of tensors of more dimensions along the first.
inline torch::Tensor counts_of(const torch::Tensor& tensor) {
  return counts_of_tensor<Unit>(tensor);
}

}  // namespace torchreg::detail

#include <torchreg/detail/processor/inline_end.hpp>
