#pragma once

#include <torch/types.h>

#include <cstdint>
#include <vector>

#include <torchreg/detail/engine/pieces.hpp>

namespace torchreg::detail {

/// The dtype of a term: what the tensors promote to, float32 for half types.
inline torch::ScalarType term_type(at::TensorList tensors) {
  torch::ScalarType type = compute_type(tensors[0].scalar_type());
  for (const torch::Tensor& tensor : tensors) {
    type = torch::promote_types(type, compute_type(tensor.scalar_type()));
  }
  return type;
}

/// The sum of all entries, with the same bits with any number of threads.
inline torch::Tensor sum_in_order(const torch::Tensor& values) {
  if (values.numel() <= kPiece || !values.is_cpu()) return values.sum();
  const torch::Tensor flat = values.reshape({-1});
  const int64_t rows = flat.numel() / kPiece, whole = rows * kPiece;
  std::vector<torch::Tensor> sums;
  for (int64_t i = 0; i < rows; ++i) sums.push_back(flat.narrow(0, i * kPiece, kPiece).sum());
  sums.push_back(flat.narrow(0, whole, flat.numel() - whole).sum());
  return sum_in_order(torch::stack(sums));
}

/// The sum of `known` and of 0-dim tensors in their order, as a 0-dim tensor of the term's type and
/// of the first tensor's device: in double on the CPU, as some devices have none.
inline torch::Tensor total(double known, std::vector<torch::Tensor> sums, at::TensorList tensors) {
  const auto options = tensors[0].options().dtype(term_type(tensors)).requires_grad(false);
  const auto in_double = options.dtype(torch::kDouble).device(torch::kCPU);  // holds any number
  const auto of_known = [&] { return torch::full({}, known, in_double).to(options); };
  if (sums.empty()) return of_known();
  const auto between = tensors[0].is_cpu() ? in_double : options;
  for (torch::Tensor& sum : sums) sum = sum.to(between);
  const torch::Tensor sum = sum_in_order(torch::stack(sums));
  return (known == 0 ? sum : tensors[0].is_cpu() ? sum + known : sum + of_known()).to(options);
}

}  // namespace torchreg::detail
