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

/// Entries that a kernel takes at once on another device, where each operation is a launch: as many
/// as so many arrays have room for in three times the largest tensor, or in 64 MiB.
inline int64_t entries_at_once(const torch::Tensor& w, int arrays, int64_t largest) {
  const int64_t room = std::max(int64_t{64} << 20, 3 * largest);
  return std::max<int64_t>(1, room / bytes_of(w, arrays));
}

/// act(piece) for corresponding pieces of an update's tensors: flat, if they may be, where they lie
/// in memory alike and without gaps; else some rows.
template <class Act>
void for_each_piece(const Operands<torch::Tensor>& tensors, int64_t entries, const Act& act,
                    bool may_be_flat = true) {
  const torch::Tensor& w = tensors.w;
  if (w.numel() <= entries) return act(tensors);
  bool is_flat = may_be_flat && w.is_non_overlapping_and_dense();
  for_each_operand(
      [&](const torch::Tensor& tensor) {
        is_flat = is_flat &&
                  (!tensor.defined() || tensor.strides() == w.strides() || is_expanded(tensor));
      },
      tensors);
  Operands<torch::Tensor> whole = tensors;
  if (is_flat) {
    for_each_operand(
        [&](torch::Tensor& tensor) {
          if (!tensor.defined()) return;
          tensor = tensor.as_strided({tensor.numel()}, {is_expanded(tensor) ? 0 : 1});
        },
        whole);
  }
  const auto sizes = whole.w.sizes();
  const auto longest = std::max_element(sizes.begin(), sizes.end());
  const int64_t rows = *longest, dim = longest - sizes.begin();
  const int64_t rows_a_piece = std::max<int64_t>(1, entries / (w.numel() / rows));
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
