#pragma once

#include <torch/types.h>

#include <torchreg/detail/formula/number.hpp>
#include <torchreg/detail/groups/norms.hpp>

namespace torchreg::detail {

// A penalty of each group's norm, from one of numbers with a strength of 1: R of a strength t is
// t^2 R(. / t) for MCP and SCAD. Where t is 0, there is no penalty; where a norm over it is
// infinite, it is beyond where they are flat.

inline torch::Tensor scale_of(const torch::Tensor& t) {
  return t.masked_fill(t == 0, 1).clamp_max_(largest_of(t.scalar_type()));
}

template <class OfNumbers>
torch::Tensor value_of_norms(const OfNumbers& of_numbers, const torch::Tensor& w,
                             const torch::Tensor& t) {
  const torch::Tensor scale = scale_of(t);
  return t.square() * of_numbers.value(torch::Tensor(norms_of(w) / scale));
}

template <class OfNumbers>
torch::Tensor slope_of_norms(const OfNumbers& of_numbers, const torch::Tensor& w,
                             const torch::Tensor& t) {
  const torch::Tensor scale = scale_of(t);
  return t * of_numbers.slope(torch::Tensor(norms_of(w) / scale)) * directions_of(w);
}

/// For one step: the prox of the norm, in the direction of w.
template <class OfNumbers>
torch::Tensor prox_of_norms(const OfNumbers& of_numbers, const torch::Tensor& w,
                            const torch::Tensor& step, const torch::Tensor& t) {
  const torch::Tensor scale = scale_of(t), norms = norms_of(w), ratio = norms / scale;
  const torch::Tensor length = of_numbers.prox(ratio, step) * scale;
  const torch::Tensor shorter = w * (length / norms.masked_fill(norms == 0, 1));
  return w.where((t == 0) | (length == norms) | ratio.isinf(), shorter);
}

}  // namespace torchreg::detail
