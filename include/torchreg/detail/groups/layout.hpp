#pragma once

#include <torch/types.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace torchreg::detail {

/// How the groups of a tensor lie in it: what makes it a matrix with a group in each row, and the
/// tensor again. Differentiable, as it is made of LibTorch's operations.
class Layout {
 public:
  /// Groups that are blocks: of blocks[d] entries along each dimension d, which divide its size.
  Layout(at::IntArrayRef sizes, const std::vector<int64_t>& blocks) {
    for (std::size_t d = 0; d < sizes.size(); ++d) {
      const int64_t cuts = blocks[d] == 0 ? 0 : sizes[d] / blocks[d];
      in_order_ = in_order_ && (cuts == 1 || size == 1);
      split_.insert(split_.end(), {cuts, blocks[d]});
      order_.push_back(static_cast<int64_t>(2 * d));
      cuts_.push_back(cuts);
      groups *= cuts;
      size *= blocks[d];
    }
    for (std::size_t d = 0; d < sizes.size(); ++d) {
      order_.push_back(static_cast<int64_t>(2 * d + 1));
      cuts_.push_back(blocks[d]);
    }
    for (std::size_t k = 0; k < order_.size(); ++k) inverse_.push_back(0);
    for (std::size_t k = 0; k < order_.size(); ++k) {
      inverse_[static_cast<std::size_t>(order_[k])] = static_cast<int64_t>(k);
    }
    rows = groups;
  }

  /// Groups by a matrix of positions in the flat tensor, `entries` where a row is padded; behind
  /// the groups there are rows of entries in no group.
  Layout(torch::Tensor positions, int64_t entries, int64_t of_groups)
      : groups(of_groups),
        rows(positions.size(0)),
        size(positions.size(1)),
        in_order_(false),
        positions_(std::move(positions)),
        entries_(entries) {}

  /// The tensor's entries, a group in each row: a view, where the strides allow one.
  torch::Tensor matrix(const torch::Tensor& tensor) const {
    if (in_order_) return tensor.reshape({rows, size});
    if (!positions_.defined()) return tensor.reshape(split_).permute(order_).reshape({rows, size});
    const torch::Tensor flat = tensor.reshape({-1});
    return torch::cat({flat, torch::zeros({1}, flat.options())})
        .index_select(0, positions_.view({-1}))
        .view({rows, size});
  }

  /// A tensor like this one with the matrix's entries; those in no row are as they are here.
  torch::Tensor restored(const torch::Tensor& matrix, const torch::Tensor& like) const {
    if (!positions_.defined()) {
      return matrix.reshape(cuts_).permute(inverse_).reshape(like.sizes());
    }
    const torch::Tensor flat = like.reshape({-1}).to(matrix.scalar_type());
    return torch::cat({flat, torch::zeros({1}, flat.options())})
        .index_copy(0, positions_.view({-1}), matrix.reshape({-1}))
        .narrow(0, 0, entries_)
        .view(like.sizes());
  }

  /// The same groups, and no rows of entries in none.
  Layout without_others() const {
    return rows == groups ? *this : Layout(positions_.narrow(0, 0, groups), entries_, groups);
  }

  /// Where a row is padded; undefined where none is.
  torch::Tensor padding() const {
    return positions_.defined() ? positions_ == entries_ : torch::Tensor();
  }

  /// The entries of each row, as a column; undefined where all are `size`.
  torch::Tensor sizes_of_rows() const {
    if (!positions_.defined()) return {};
    return (positions_ != entries_).sum(1, /*keepdim=*/true);
  }

  /// How many groups are not empty. Waits for the device.
  int64_t groups_with_entries() const {
    if (!positions_.defined()) return size == 0 ? 0 : groups;
    return (sizes_of_rows().narrow(0, 0, groups) > 0).sum().item<int64_t>();
  }

  bool is_regular() const { return !positions_.defined(); }

  /// Which entries are in which group, in words that differ where they do. Waits for the device.
  std::string describe() const {
    if (positions_.defined()) {
      const torch::Tensor positions = positions_.cpu().contiguous();
      const int64_t* const position = positions.data_ptr<int64_t>();
      uint64_t hash = 14695981039346656037U;  // FNV-1a, by positions in place of bytes
      for (int64_t i = 0; i < positions.numel(); ++i) {
        hash = (hash ^ static_cast<uint64_t>(position[i])) * 1099511628211U;
      }
      return c10::str(groups, " groups by index ", hash);
    }
    std::vector<int64_t> blocks;
    for (std::size_t d = 1; d < split_.size(); d += 2) blocks.push_back(split_[d]);
    return c10::str("groups of ", at::IntArrayRef(blocks));
  }

  int64_t groups = 1;  ///< how many
  int64_t rows = 1;    ///< of the matrix: the groups, and behind them entries in no group
  int64_t size = 1;    ///< entries of the largest group

 private:
  std::vector<int64_t> split_, order_, inverse_, cuts_;
  bool in_order_ = true;  ///< one group after the other
  torch::Tensor positions_;
  int64_t entries_ = 0;
};

}  // namespace torchreg::detail
