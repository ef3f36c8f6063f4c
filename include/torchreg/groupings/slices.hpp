#pragma once

#include <torch/types.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <torchreg/groupings/grouping.hpp>

namespace torchreg {

namespace detail {

inline std::string dimensions_of(at::IntArrayRef sizes) {
  return c10::str("it has ", sizes.size(), sizes.size() == 1 ? " dimension" : " dimensions");
}

/// blocks[dim] <- size, which must divide that dimension.
inline void cut(std::vector<int64_t>& blocks, at::IntArrayRef sizes, int64_t dim, int64_t size) {
  const auto dimensions = static_cast<int64_t>(sizes.size());
  const int64_t d = dim < 0 ? dim + dimensions : dim;
  if (d < 0 || d >= dimensions) throw Grouping::Misfit{dimensions_of(sizes)};
  const int64_t whole = sizes[static_cast<std::size_t>(d)];
  if (whole % size != 0) {
    throw Grouping::Misfit{c10::str(whole, " is no multiple of ", size)};
  }
  blocks[static_cast<std::size_t>(d)] = size;
}

/// Groups that lie side by side along one dimension.
inline Grouping slices(const std::string& text, int64_t dim, int64_t size) {
  TORCH_CHECK_VALUE(size >= 1, text, ": size must be >= 1");
  return Grouping(text, [dim, size](at::IntArrayRef sizes, torch::Device) {
    std::vector<int64_t> blocks = sizes.vec();
    cut(blocks, sizes, dim, size);
    return Layout(sizes, blocks);
  });
}

/// "rows()", "rows(64)"
inline std::string with_size(const std::string& name, int64_t size) {
  return size == 1 ? c10::str(name, "()") : c10::str(name, "(", size, ")");
}

}  // namespace detail

/// Slices along dim 0, `size` consecutive ones a group: a Linear's units, a convolution's filters;
/// rows(64) are attention heads of width 64.
inline Grouping rows(int64_t size = 1) {
  return detail::slices(detail::with_size("rows", size), 0, size);
}

/// Slices along dim 1: a layer's inputs, a convolution's channels.
inline Grouping columns(int64_t size = 1) {
  return detail::slices(detail::with_size("columns", size), 1, size);
}

/// Slices along any dimension; negative ones count from the end.
inline Grouping along(int64_t dim, int64_t size = 1) {
  const std::string text =
      size == 1 ? c10::str("along(", dim, ")") : c10::str("along(", dim, ", ", size, ")");
  return detail::slices(text, dim, size);
}

/// Dimensions 0 and 1 together: each kernel of a convolution, whose weight has three or more.
inline Grouping kernels() {
  return Grouping("kernels()", [](at::IntArrayRef sizes, torch::Device) {
    if (sizes.size() < 3) throw Grouping::Misfit{detail::dimensions_of(sizes)};
    std::vector<int64_t> blocks = sizes.vec();
    blocks[0] = blocks[1] = 1;
    return detail::Layout(sizes, blocks);
  });
}

/// Tiles of so many rows and columns, with all that hangs below them.
inline Grouping blocks(int64_t rows, int64_t columns) {
  const std::string text = c10::str("blocks(", rows, ", ", columns, ")");
  TORCH_CHECK_VALUE(rows >= 1 && columns >= 1, text, ": sizes must be >= 1");
  return Grouping(text, [rows, columns](at::IntArrayRef sizes, torch::Device) {
    std::vector<int64_t> blocks = sizes.vec();
    if (sizes.size() < 2) throw Grouping::Misfit{detail::dimensions_of(sizes)};
    detail::cut(blocks, sizes, 0, rows);
    detail::cut(blocks, sizes, 1, columns);
    return detail::Layout(sizes, blocks);
  });
}

/// `size` consecutive entries of the last dimension: the M of N:M.
inline Grouping runs(int64_t size) {
  const std::string text = c10::str("runs(", size, ")");
  TORCH_CHECK_VALUE(size >= 1, text, ": size must be >= 1");
  return Grouping(text, [size](at::IntArrayRef sizes, torch::Device) {
    std::vector<int64_t> blocks(sizes.size(), 1);
    detail::cut(blocks, sizes, -1, size);
    return detail::Layout(sizes, blocks);
  });
}

/// All entries of a tensor as one group.
inline Grouping whole() {
  return Grouping("whole()", [](at::IntArrayRef sizes, torch::Device) {
    return detail::Layout(sizes, sizes.vec());
  });
}

}  // namespace torchreg
