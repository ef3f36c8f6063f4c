#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <torchreg/detail/groups/problem.hpp>
#include <torchreg/groupings/linked.hpp>
#include <torchreg/sparsity.hpp>

namespace torchreg {

namespace detail {

/// Those that a grouping fits; all, of links.
inline Parameters fitting(const Parameters& parameters, const Grouping& grouping) {
  std::vector<Parameter> fitting;
  for (const Parameter& parameter : parameters) {
    if (grouping.links() != nullptr || grouping.fits(parameter.tensor))
      fitting.push_back(parameter);
  }
  TORCH_CHECK_VALUE(!fitting.empty(), "sparsity: ", grouping.describe(), " fits no tensor");
  return Parameters(fitting);
}

/// How many groups of a problem are zero in all their tensors, 0-dim. A group without entries is
/// none.
inline torch::Tensor zero_groups(const Problem& problem, const Parameters& parameters) {
  torch::Tensor are_zero;
  for (const auto& [index, layout] : problem.parts) {
    const torch::Tensor entries =
        layout.matrix(parameters[index].tensor).narrow(0, 0, layout.groups);
    const torch::Tensor own = (entries == 0).all(1).to(parameters[0].tensor.device());
    are_zero = are_zero.defined() ? are_zero & own : own;
  }
  const torch::Tensor sizes = problem.layout().sizes_of_rows();
  if (sizes.defined()) {
    are_zero = are_zero & (sizes.narrow(0, 0, problem.layout().groups).squeeze(1) > 0);
  }
  return are_zero.sum();
}

inline std::vector<Problem> problems_of(const Parameters& parameters, const Grouping& grouping) {
  return problems_of("sparsity", grouping, parameters.size(),
                     [&](std::size_t i) -> const Parameter& { return parameters[i]; });
}

}  // namespace detail

/// Counts the exact zeros of these tensors, and their zero groups: `groups` and `zero_groups` of
/// each tensor, of links for each link under its first path. Tensors that the grouping does not fit
/// are left out; an error where none fits. Waits for the device.
inline Sparsity sparsity(const Parameters& parameters, const Grouping& grouping) {
  torch::NoGradGuard no_grad;
  detail::check_floating("sparsity", parameters);
  const Parameters fitting = detail::fitting(parameters, grouping);
  const Sparsity of_tensors = sparsity(fitting);
  Sparsity total;
  for (const detail::Problem& problem : detail::problems_of(fitting, grouping)) {
    Sparsity::Tensor one = of_tensors.tensors[problem.parts[0].index];
    for (std::size_t k = 1; k < problem.parts.size(); ++k) {
      const Sparsity::Tensor& more = of_tensors.tensors[problem.parts[k].index];
      one.zeros += more.zeros;
      one.entries += more.entries;
      one.nonfinite += more.nonfinite;
    }
    one.groups = problem.layout().groups;
    one.zero_groups = detail::zero_groups(problem, fitting).item<int64_t>();
    total.zeros += one.zeros;
    total.entries += one.entries;
    total.groups += one.groups;
    total.zero_groups += one.zero_groups;
    total.tensors.push_back(std::move(one));
  }
  return total;
}

/// The same for every floating-point parameter of a module, frozen or not, or for those that are
/// linked.
template <class Module, class = detail::IfNoTensors<Module>>
Sparsity sparsity(const Module& module, const Grouping& grouping) {
  const auto& all = detail::as_module(module);
  if (grouping.links() != nullptr) {
    grouping.links()->selector().rule().check_names(detail::parameters_of(all));
  }
  return sparsity(detail::floating_parameters(all), grouping);
}

}  // namespace torchreg
