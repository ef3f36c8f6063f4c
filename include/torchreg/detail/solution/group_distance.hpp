#pragma once

#include <torch/types.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include <torchreg/detail/engine/bind.hpp>
#include <torchreg/detail/engine/recorded_groups.hpp>
#include <torchreg/detail/solution/distance.hpp>

namespace torchreg::detail {

/// The distance at each entry of groups, and of entries in none.
template <class Formula>
torch::Tensor distance_of_groups(const Formula& formula, Operands<torch::Tensor> x,
                                 const Problem& problem, const Update& first) {
  const auto& layout = problem.layout();
  const auto stored = first.tensors.w.scalar_type();
  const torch::Tensor of_others = x.gradient.abs();  // where nothing takes them
  if (!has_weights<Formula>) {
    x.w = x.w.narrow(0, 0, layout.groups), x.gradient = x.gradient.narrow(0, 0, layout.groups);
  }
  x.data = weights_of(formula, problem, x.w.options());
  const torch::Tensor padding = layout.padding();
  if (rests_in_padding<Formula> && padding.defined()) {
    x.given = small_step_like<Formula>(x.w, x.gradient, stored)
                  .expand_as(x.w)
                  .masked_fill(padding.narrow(0, 0, x.w.size(0)), 0);
  }
  const auto distance = distance_at(formula, x, first.numbers, first.path(), stored);
  const int64_t count = distance.size(0);
  return torch::cat({distance, of_others.narrow(0, count, layout.rows - count)});
}

template <class Formula>
void append_distances_of_groups(const Formula& formula, const Updates& updates,
                                std::vector<Distances>& all) {
  const auto parameter_of = [&](std::size_t i) -> const Parameter& {
    return *updates[i].parameter;
  };
  // With entries in no group, also where the formula does not take them.
  for (const Problem& problem :
       problems_of(name_of<Formula>(), formula.grouping, updates.size(), parameter_of)) {
    const Update& first = updates[problem.parts[0].index];
    const auto exact = first.tensors.w.options().dtype(exact_type(first.tensors.w));
    Operands<torch::Tensor> x;
    x.w = matrix_of(problem, [&](std::size_t i) { return updates[i].tensors.w.to(exact); });
    x.gradient =
        matrix_of(problem, [&](std::size_t i) { return updates[i].tensors.gradient.to(exact); });
    if (x.w.numel() == 0) {
      all.push_back({first.path(), torch::zeros({1, 3}, exact)});
      continue;
    }
    const auto& layout = problem.layout();
    const torch::Tensor distance = distance_of_groups(formula, x, problem, first) + (x.w - x.w);
    torch::Tensor of_group = distance.square().sum(1).sqrt();
    torch::Tensor at_zeros = of_group.masked_fill((x.w != 0).any(1), 0);
    if (layout.rows > layout.groups) {  // entries in no group count alone
      const int64_t others = layout.rows - layout.groups;
      const auto of_others = [&](const torch::Tensor& of) {
        return of.narrow(0, layout.groups, others).amax(1);
      };
      of_group.narrow(0, layout.groups, others).copy_(of_others(distance));
      at_zeros.narrow(0, layout.groups, others).copy_(of_others(distance.masked_fill(x.w != 0, 0)));
    }
    all.push_back(
        {first.path(),
         torch::stack({of_group.max(), distance.square().sum(), at_zeros.max()}).unsqueeze(0)});
  }
}

}  // namespace torchreg::detail
