#pragma once

#include <torch/types.h>

namespace torchreg::detail {

// Rows of a matrix that are columns of an array, of which others lie in between: one entry is then
// on another page of memory than the next.

inline bool are_columns(const torch::Tensor& rows) {
  return rows.is_cpu() && rows.dim() == 2 && rows.stride(0) == 1 && rows.stride(1) > 1;
}

/// Rows of their own where they are columns: the array's lines are read in turn, and transposed in
/// the cache.
inline torch::Tensor gathered(const torch::Tensor& rows) {
  return are_columns(rows) ? rows.t().contiguous().t().contiguous() : rows;
}

/// to <- rows, without -0.0, and rounded once.
inline void scatter(torch::Tensor to, const torch::Tensor& rows) {
  if (are_columns(to)) {
    to.t().copy_(rows.t().contiguous().add_(0.0));
  } else if (to.scalar_type() == rows.scalar_type()) {
    torch::add_out(to, rows, 0.0);
  } else {
    to.copy_(rows + 0.0);
  }
}

}  // namespace torchreg::detail
