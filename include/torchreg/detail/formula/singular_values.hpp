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

  /// 0, whose derivative by w is that of U V^T, of the singular values that are there: finite also
  /// where some are equal, whose vectors have no derivative.
  torch::Tensor turn_of(const torch::Tensor& w, const torch::Tensor& is_there) const {
    const torch::Tensor change = (w - w.detach()).reshape({left.size(0), right.size(1)});
    const auto inverse = [](const torch::Tensor& of, const torch::Tensor& where) {
      return of.reciprocal().masked_fill(where.logical_not(), 0);
    };
    const torch::Tensor of_one = inverse(values, is_there), v = right.t();
    const torch::Tensor both = is_there.unsqueeze(1) & is_there;
    const torch::Tensor of_two = inverse(values.unsqueeze(1) + values, both);
    const torch::Tensor u = left.masked_fill(is_there.logical_not(), 0);
    const torch::Tensor own = v.masked_fill(is_there.logical_not(), 0);
    const torch::Tensor inner = u.t().matmul(change).matmul(own);
    const torch::Tensor below = (change.matmul(own) - u.matmul(inner)) * of_one;
    const torch::Tensor beside =
        of_one.unsqueeze(1) * (u.t().matmul(change) - inner.matmul(own.t()));
    const torch::Tensor turn = u.matmul((inner - inner.t()) * of_two).matmul(own.t());
    return (turn + below.matmul(own.t()) + u.matmul(beside)).view(w.sizes());
  }

  /// The tensor of w's shape with these singular values in their place.
  torch::Tensor with(const torch::Tensor& others, const torch::Tensor& w) const {
    return (left * others).matmul(right).view(w.sizes());
  }
};

}  // namespace torchreg::detail
