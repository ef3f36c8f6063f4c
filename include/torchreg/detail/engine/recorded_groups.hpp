#pragma once

#include <torch/types.h>

#include <cstddef>
#include <string>
#include <vector>

#include <torchreg/detail/engine/outcome.hpp>
#include <torchreg/detail/engine/total.hpp>
#include <torchreg/detail/formula/faces.hpp>
#include <torchreg/detail/groups/problem.hpp>

namespace torchreg::detail {

// Terms of groups by LibTorch's operations alone, which autograd records.

/// A problem's tensors, tensor_of(i), as one matrix.
template <class TensorOf>
torch::Tensor matrix_of(const Problem& problem, const TensorOf& tensor_of) {
  std::vector<torch::Tensor> parts;
  for (const auto& [index, layout] : problem.parts)
    parts.push_back(layout.matrix(tensor_of(index)));
  return parts.size() == 1 ? parts[0] : torch::cat(parts, 1);
}

/// act(problem, w, weights, first update) for each matrix of groups of some updates.
template <class Formula, class Act>
void for_each_matrix(const Formula& formula, const Updates& updates, const Act& act) {
  for (const Problem& problem : problems_of(formula, updates)) {
    const torch::Tensor w =
        matrix_of(problem, [&](std::size_t i) { return in_compute_type(updates[i].tensors.w); });
    act(problem, w, weights_of(formula, problem, w.options()), updates[problem.parts[0].index]);
  }
}

template <class Formula>
std::vector<torch::Tensor> recorded_sums_of_groups(const Formula& formula, const Updates& updates) {
  std::vector<torch::Tensor> sums;
  for_each_matrix(formula, updates,
                  [&](const Problem&, const torch::Tensor& w, const torch::Tensor& weights,
                      const Update& update) {
                    const auto value = value_at(formula, w, weights, update.path());
                    sums.push_back(sum_in_order(value) * update.numbers.strength);
                  });
  return sums;
}

template <class Formula>
std::vector<torch::Tensor> recorded_slopes_of_groups(const Formula& formula,
                                                     const Updates& updates) {
  std::vector<torch::Tensor> slopes(updates.size());
  for_each_matrix(formula, updates,
                  [&](const Problem& problem, const torch::Tensor& w, const torch::Tensor& weights,
                      const Update& update) {
                    const torch::Tensor slope =
                        slope_at(formula, w, weights, update.path()) * update.numbers.strength;
                    int64_t column = 0;
                    for (const auto& [index, layout] : problem.parts) {
                      const torch::Tensor none =
                          torch::zeros_like(updates[index].tensors.w).detach();
                      slopes[index] = layout.restored(slope.narrow(1, column, layout.size), none);
                      column += layout.size;
                    }
                  });
  return slopes;
}

}  // namespace torchreg::detail
