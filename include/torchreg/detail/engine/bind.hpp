#pragma once

#include <torch/types.h>

#include <cmath>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include <torchreg/detail/engine/outcome.hpp>
#include <torchreg/detail/engine/steps.hpp>
#include <torchreg/detail/formula/factors.hpp>
#include <torchreg/detail/groups/problem.hpp>
#include <torchreg/detail/text/checks.hpp>

namespace torchreg::detail {

/// Constants of w's entries: expanded to its shape, on its device, in the type that it is computed
/// in. `what` they are, an error says.
inline torch::Tensor constants_for(const std::string& what, const torch::Tensor& constants,
                                   const Parameter& parameter) {
  const auto& [path, w, owner] = parameter;
  TORCH_CHECK_VALUE(constants.defined(), what, " of ", literal(path), " are undefined");
  TORCH_CHECK_VALUE(!constants.requires_grad(), what, " of ", literal(path),
                    " require a gradient, which they would not get: detach() them");
  check_broadcasts(what, constants, parameter);
  torch::NoGradGuard no_grad;
  const auto options = w.options().dtype(compute_type(w.scalar_type()));
  return constants.to(options).expand(w.sizes());
}

/// The same, of w's strides.
inline torch::Tensor laid_as(const torch::Tensor& w, const torch::Tensor& constants) {
  if (constants.strides() == w.strides() && !constants.is_alias_of(w)) return constants;
  return torch::empty_like(w.detach(), constants.options()).copy_(constants);
}

/// A formula's data of w's entries, of w's strides, or one number that is expanded to them.
template <class Formula>
torch::Tensor data_for(const torch::Tensor& data, const Parameter& parameter) {
  const auto all = constants_for(c10::str(name_of<Formula>(), ": data"), data, parameter);
  if (!is_expanded(all)) return laid_as(parameter.tensor, all);
  return unexpanded(all).clone().expand(all.sizes());
}

/// What binds a penalty to one parameter: the formula's data, unless they are found from all, and
/// the factors.
struct Bound {
  torch::Tensor data{}, factor{};  ///< undefined where there is none
  double strength = 1;
  int64_t groups = 0;  ///< of a penalty of groups, which remembers each
};

template <class Formula>
Bound bound_to([[maybe_unused]] const Formula& formula, const Factors& factors,
               const Parameter& parameter) {
  Bound bound;
  if constexpr (has_data_of_one<Formula>) {
    bound.data = data_for<Formula>(formula.data(parameter), parameter);
  }
  if (!factors.has_callable()) return bound;
  const Factor factor = factors.at(name_of<Formula>(), parameter);
  bound.strength = factor.number;
  if (factor.is_tensor) {
    const bool is_entrywise = is_separable<Formula> && (has_slope<Formula> || is_count<Formula>);
    TORCH_CHECK_VALUE(
        is_entrywise, name_of<Formula>(), ": a factor per entry is for separable penalties; ",
        is_grouped<Formula> ? "give the grouping weights"
                            : c10::str("let ", literal(parameter.path), " have a number"));
    const std::string what = c10::str(name_of<Formula>(), ": factors");
    const torch::Tensor entries = constants_for(what, factor.entries, parameter);
    const double largest = std::sqrt(largest_of(entries.scalar_type()));  // of a product's factors
    bound.factor = laid_as(parameter.tensor, entries.clamp_max(largest));
  }
  return bound;
}

/// The same for all parameters of a penalty. A link's factor is that of its first tensor.
template <class Formula>
std::vector<Bound> bounds_of(const Formula& formula, const Factors& factors,
                             const Parameters& parameters) {
  std::vector<Bound> bounds(parameters.size());
  if constexpr (is_grouped<Formula>) {
    const auto parameter_of = [&](std::size_t i) -> const Parameter& { return parameters[i]; };
    for (const Problem& problem : problems_of(formula, parameters.size(), parameter_of)) {
      const Bound bound = bound_to(formula, factors, parameters[problem.parts[0].index]);
      for (const auto& part : problem.parts) {
        bounds[part.index] = bound;
        bounds[part.index].groups = part.layout.groups;
      }
    }
  } else {
    for (std::size_t i = 0; i < bounds.size(); ++i) {
      bounds[i] = bound_to(formula, factors, parameters[i]);
    }
  }
  return bounds;
}

/// How the groups of the tensors of some updates lie.
template <class Formula>
std::vector<Problem> problems_of(const Formula& formula, const Updates& updates) {
  return problems_of(formula, updates.size(), [&](std::size_t i) {
    return Parameter{updates[i].path(), updates[i].tensors.w, nullptr};
  });
}

/// The updates of a penalty on some parameters.
template <class Formula>
Updates updates_of(const Formula& formula, const Factors& factors, const Parameters& parameters) {
  Updates updates(parameters.size());
  std::vector<Bound> bounds = bounds_of(formula, factors, parameters);
  for (std::size_t i = 0; i < updates.size(); ++i) {
    auto& [tensors, numbers, parameter] = updates[i];
    parameter = &parameters[i];
    tensors.w = parameter->tensor;
    Bound& bound = bounds[i];
    tensors.data = std::move(bound.data);
    tensors.factor = std::move(bound.factor);
    numbers.strength = factors.number() * bound.strength;
  }
  return updates;
}

/// The data that a formula finds from all parameters, of as many tensors.
template <class Formula>
Tensors data_of_all(const Formula& formula, const Tensors& all, const Tensors& steps) {
  Tensors data = formula.data(all, steps);
  TORCH_CHECK_VALUE(data.size() == all.size(), name_of<Formula>(), ": data returned ", data.size(),
                    " tensors for ", all.size());
  return data;
}

/// Gives the updates the data that a formula finds from all parameters, and their steps.
template <class Formula>
void bind_all([[maybe_unused]] const Formula& formula, [[maybe_unused]] Updates& updates,
              [[maybe_unused]] bool with_steps) {
  if constexpr (has_data_of_all<Formula>) {
    Tensors all, steps;
    for (const auto& [tensors, numbers, parameter] : updates) {
      all.push_back(in_compute_type(tensors.w.detach()));
      if (with_steps) steps.push_back(step_of_each(tensors, numbers, tensors.w));
    }
    const Tensors data = data_of_all(formula, all, steps);
    for (std::size_t i = 0; i < updates.size(); ++i) {
      updates[i].tensors.data = data_for<Formula>(data[i], *updates[i].parameter);
    }
  }
}

}  // namespace torchreg::detail
