#pragma once

#include <torch/types.h>

#include <string>
#include <utility>

#include <torchreg/detail/engine/bind.hpp>
#include <torchreg/detail/engine/run.hpp>
#include <torchreg/detail/engine/slope.hpp>
#include <torchreg/detail/engine/total.hpp>

namespace torchreg::detail {

/// An error for a tensor whose gradient cannot be added to.
inline void check_gradient(const std::string& who, const Parameter& parameter) {
  const auto& [path, tensor, owner] = parameter;
  if (!tensor.requires_grad()) return;
  TORCH_CHECK_VALUE(tensor.is_leaf(), who, ": add_gradient_: ", literal(path),
                    " is the result of other tensors, whose gradients a graph finds: use the term");
  const torch::Tensor gradient = tensor.grad();
  TORCH_CHECK_VALUE(!gradient.defined() || gradient.layout() == torch::kStrided, who,
                    ": add_gradient_: the gradient of ", literal(path), " is ", gradient.layout(),
                    "; a dense one is required");
  if (gradient.defined()) check_no_inference(who, path + ".grad", gradient);
}

/// An error where a tensor in the formula requires a gradient, which only the term gives it. A
/// formula in lanes, or of norms, has numbers.
template <class Formula>
void check_constant(const Formula& formula, Updates updates) {
  const bool has_numbers = takes_lanes<Formula>() || is_of_norms<Formula>;
  if (has_numbers || updates.empty()) return;
  if (!is_grouped<Formula>) updates.erase(updates.begin() + 1, updates.end());
  for (Update& update : updates) update.tensors.w = update.tensors.w.detach();
  const torch::AutoGradMode with_graph(true);
  for (const torch::Tensor& sum : run(Value<Formula>{formula}, updates).sums) {
    TORCH_CHECK_VALUE(!sum.requires_grad(), name_of<Formula>(),
                      ": add_gradient_: a tensor in the formula requires a gradient, and would get "
                      "none: detach() it, or use the term without a slope()");
  }
}

/// Adds the slope of R times its factors to the gradients of the tensors that require one; returns
/// the sum of R over all, without a graph.
template <class Formula>
torch::Tensor add_gradient(const Formula& formula, const Factors& factors,
                           const Parameters& parameters) {
  require_value<Formula>();
  if constexpr (HasValue<Formula>::value) {
    for (const Parameter& parameter : parameters) check_gradient(name_of<Formula>(), parameter);
    Updates updates = updates_of(formula, factors, parameters), adding, made, others;
    bind_all(formula, updates, /*with_steps=*/false);
    check_constant(formula, updates);
    for (Update& update : updates) {
      const torch::Tensor w = update.tensors.w;
      update.tensors.w = w.detach();
      if (is_grouped<Formula>) {  // all of a group at once
        const bool has_gradient = w.requires_grad() && w.grad().defined();
        update.tensors.gradient = has_gradient ? w.grad() : torch::zeros_like(update.tensors.w);
        adding.push_back(std::move(update));
        continue;
      }
      if (w.grad().defined() && w.requires_grad()) {
        update.tensors.gradient = w.grad();
        adding.push_back(std::move(update));
        continue;
      }
      others.push_back(update);
      if (!w.requires_grad()) continue;
      update.tensors.gradient = torch::empty_like(update.tensors.w);
      made.push_back(std::move(update));
    }
    Outcome value = run(Value<Formula>{formula}, others);
    value = run(AddSlope<Formula>{{formula}}, adding, std::move(value));
    run(Slope<Formula>{formula}, made);
    for (const Updates* list : {&made, &adding}) {
      for (const auto& [tensors, numbers, parameter] : *list) {
        const torch::Tensor& w = parameter->tensor;
        if (w.requires_grad() && !w.grad().defined()) w.mutable_grad() = tensors.gradient;
      }
    }
    return total(value.sum, std::move(value.sums), parameters.tensors());
  }
}

}  // namespace torchreg::detail
