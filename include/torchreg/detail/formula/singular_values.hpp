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

  /// 0, whose derivative by w is that of U V^T, of the singular values that are there:
  /// U (K o (U^T dW V - V^T dW^T U)) V^T, K_ij = 1 / (s_i + s_j), and what leaves the spaces of U
  /// and V over s. Finite also where values are equal, whose vectors have no derivative. It has no
  /// derivative of its own.
  torch::Tensor turn_of(const torch::Tensor& w, const torch::Tensor& are_there) const {
    const torch::Tensor change = (w - w.detach()).reshape({left.size(0), right.size(1)});
    const torch::Tensor are_missing = are_there.logical_not();
    const torch::Tensor u = left.masked_fill(are_missing, 0);
    const torch::Tensor v = right.t().masked_fill(are_missing, 0);
    const torch::Tensor inverse = values.reciprocal().masked_fill(are_missing, 0);
    const torch::Tensor inverse_of_two =
        (values.unsqueeze(1) + values)
            .reciprocal()
            .masked_fill(are_missing.unsqueeze(1) | are_missing, 0);
    const torch::Tensor inner = u.t().matmul(change).matmul(v);
    const torch::Tensor within = u.matmul((inner - inner.t()) * inverse_of_two);
    const torch::Tensor below = (change.matmul(v) - u.matmul(inner)) * inverse;
    const torch::Tensor beside =
        inverse.unsqueeze(1) * (u.t().matmul(change) - inner.matmul(v.t()));
    return ((within + below).matmul(v.t()) + u.matmul(beside)).view(w.sizes());
  }

  /// The tensor of w's shape with these singular values in their place.
  torch::Tensor with(const torch::Tensor& others, const torch::Tensor& w) const {
    return (left * others).matmul(right).view(w.sizes());
  }
};

}  // namespace torchreg::detail
