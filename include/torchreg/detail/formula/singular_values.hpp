#pragma once

#include <torch/types.h>

#include <string>
#include <tuple>

namespace torchreg::detail {

/// w as a matrix, flattened behind dim 0, and a function of its singular values.
struct SingularValues {
  torch::Tensor left, values, right;

  explicit SingularValues(const torch::Tensor& w) {
    const torch::Tensor matrix = w.dim() < 2 ? w.reshape({-1, 1}) : w.flatten(1);
    std::tie(left, values, right) = torch::linalg_svd(matrix, /*full_matrices=*/false);
  }

  /// The tensor of w's shape with these singular values in their place.
  torch::Tensor with(const torch::Tensor& others, const torch::Tensor& w) const {
    return (left * others).matmul(right).view(w.sizes());
  }
};

}  // namespace torchreg::detail
