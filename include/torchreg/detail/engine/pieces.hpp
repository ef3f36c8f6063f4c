#pragma once

#include <torch/types.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include <torchreg/detail/formula/traits.hpp>
#include <torchreg/detail/processor/lanes.hpp>

namespace torchreg::detail {

/// Whether tensors of one shape lie in memory alike and without gaps, so that their entries
/// correspond in the order of memory. Undefined tensors do.
template <std::size_t count>
bool lie_alike(const std::array<torch::Tensor, count>& tensors) {
  const torch::Tensor& first = tensors[0];
  return first.is_non_overlapping_and_dense() &&
         std::all_of(tensors.begin() + 1, tensors.end(), [&](const torch::Tensor& tensor) {
           return !tensor.defined() || tensor.strides() == first.strides();
         });
}

/// Whether a tensor's memory can be read as an array of its type, as that of from_blob() may not.
inline bool is_aligned(const torch::Tensor& tensor) {
  const auto address = reinterpret_cast<std::uintptr_t>(tensor.data_ptr());
  return address % static_cast<std::uintptr_t>(tensor.element_size()) == 0;
}

/// Whether a formula can be evaluated in the processor's lanes, on the tensors' memory as it lies.
template <class Formula, std::size_t count>
static bool fit_lanes(const std::array<torch::Tensor, count>& tensors) {
  if constexpr (kHasSimd && TakesLanes<Formula>::value) {
    const auto type = tensors[0].scalar_type();
    return cpu_has_simd() && (type == torch::kFloat || type == torch::kDouble) &&
           std::all_of(tensors.begin(), tensors.end(),
                       [&](const torch::Tensor& tensor) {
                         return !tensor.defined() ||
                                (tensor.is_cpu() && tensor.has_storage() && !tensor.is_neg() &&
                                 tensor.scalar_type() == type && is_aligned(tensor));
                       }) &&
           lie_alike(tensors);
  }
  return false;
}

/// Entries in a piece that stays in the cache while several operations pass over it. Below ATen's
/// grain size of 32768, so that each operation on a flat piece is serial, and its sum has the same
/// bits with any number of threads. On other devices a piece only bounds the temporary memory.
inline int64_t piece_size(const torch::Tensor& tensor) {
  return tensor.is_cpu() ? 32000 : int64_t{1} << 24;
}

/// Calls act(pieces) on corresponding pieces of tensors of one shape; an undefined tensor has
/// undefined pieces. The pieces are flat where the tensors lie in memory alike and without gaps.
/// A formula of whole tensors gets them in one piece.
template <class Formula, std::size_t count, class Act>
void for_each_piece(const std::array<torch::Tensor, count>& tensors, int64_t entries, Act act) {
  const torch::Tensor& first = tensors[0];
  if (IsSeparable<Formula>::value && first.numel() == 0) return;
  if (!IsSeparable<Formula>::value || first.numel() <= entries) return act(tensors);

  const bool flat = lie_alike(tensors);
  std::array<torch::Tensor, count> whole, pieces;
  for (std::size_t i = 0; i < count; ++i) {
    const torch::Tensor& tensor = tensors[i];
    whole[i] = flat && tensor.defined() ? tensor.as_strided({first.numel()}, {1}) : tensor;
  }
  const auto sizes = whole[0].sizes();
  const auto longest = std::max_element(sizes.begin(), sizes.end());
  const int64_t rows = *longest, dim = longest - sizes.begin();
  const int64_t rows_a_piece = std::max<int64_t>(1, entries / (first.numel() / rows));
  for (int64_t row = 0; row < rows; row += rows_a_piece) {
    for (std::size_t i = 0; i < count; ++i) {
      if (!whole[i].defined()) continue;
      pieces[i] = whole[i].narrow(dim, row, std::min(rows_a_piece, rows - row));
    }
    for_each_piece<Formula>(pieces, entries, act);  // a row may be longer than a piece
  }
}

}  // namespace torchreg::detail
