#pragma once

#include <torch/types.h>

#include <algorithm>
#include <cstdint>

#include <torchreg/detail/engine/update.hpp>
#include <torchreg/detail/formula/number.hpp>

namespace torchreg::detail {

/// Entries of a piece on the CPU, which stays in the cache while several operations pass over it.
/// Below ATen's grain size of 32768, so that each operation on a flat piece is serial, and its sum
/// has the same bits with any number of threads.
constexpr int64_t kPiece = 32000;

/// The size of so many entries of a tensor, in the type that they are computed in.
inline int64_t bytes_of(const torch::Tensor& tensor, int64_t entries) {
  return entries * static_cast<int64_t>(c10::elementSize(compute_type(tensor.scalar_type())));
}

/// Bytes that temporaries may take on another device, where each operation is a launch: three times
/// the largest tensor, or 64 MiB; a KiB is for numbers.
inline int64_t room_beside(int64_t largest) {
  return std::max(int64_t{64} << 20, 3 * largest) - 1024;
}

/// Whether all tensors of an update lie in memory as w does, and without gaps, or are numbers.
inline bool are_dense_alike(const Operands<torch::Tensor>& tensors) {
  const torch::Tensor& w = tensors.w;
  bool are_alike = w.is_non_overlapping_and_dense();
  for_each_operand(
      [&](const torch::Tensor& tensor) {
        are_alike = are_alike &&
                    (!tensor.defined() || tensor.strides() == w.strides() || is_expanded(tensor));
      },
      tensors);
  return are_alike;
}

/// Whether some are views that negate, which LibTorch does not write in a list.
inline bool is_lazy(const Operands<torch::Tensor>& tensors) {
  bool some_are = false;
  for_each_operand(
      [&](const torch::Tensor& tensor) {
        some_are = some_are || (tensor.defined() && tensor.is_neg());
      },
      tensors);
  return some_are;
}

/// Such a tensor as a vector, in the order of its memory.
inline torch::Tensor as_vector(const torch::Tensor& tensor) {
  if (tensor.dim() == 1) return tensor;
  return tensor.as_strided({tensor.numel()}, {is_expanded(tensor) ? 0 : 1});
}

/// act(piece) for corresponding pieces of an update's tensors: flat, if they may be, where they lie
/// in memory alike and without gaps; else some rows.
template <class Act>
void for_each_piece(const Operands<torch::Tensor>& tensors, int64_t entries, const Act& act,
                    bool may_be_flat = true) {
  const torch::Tensor& w = tensors.w;
  if (w.numel() <= entries) return act(tensors);
  Operands<torch::Tensor> whole = tensors;
  if (may_be_flat && are_dense_alike(tensors)) {
    for_each_operand(
        [](torch::Tensor& tensor) {
          if (tensor.defined()) tensor = as_vector(tensor);
        },
        whole);
  }
  const auto sizes = whole.w.sizes();
  const auto longest = std::max_element(sizes.begin(), sizes.end());
  const int64_t rows = *longest, dim = longest - sizes.begin();
  int64_t rows_a_piece = std::max<int64_t>(1, entries / (w.numel() / rows));
  // A tensor of a formula's own that fits a piece by chance does not fit the last, which is
  // shorter.
  while (!may_be_flat && rows_a_piece > 1 && rows % rows_a_piece == 0) --rows_a_piece;
  for (int64_t row = 0; row < rows; row += rows_a_piece) {
    Operands<torch::Tensor> piece;
    for_each_operand(
        [&](const torch::Tensor& tensor, torch::Tensor& part) {
          if (tensor.defined()) part = tensor.narrow(dim, row, std::min(rows_a_piece, rows - row));
        },
        whole, piece);
    for_each_piece(piece, entries, act, may_be_flat);  // a row may be longer than a piece
  }
}

}  // namespace torchreg::detail
