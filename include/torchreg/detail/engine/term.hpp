#pragma once

#include <torch/csrc/autograd/custom_function.h>
#include <torch/types.h>

#include <cstddef>
#include <string>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include <torchreg/detail/engine/bind.hpp>
#include <torchreg/detail/engine/recorded_groups.hpp>
#include <torchreg/detail/engine/run.hpp>
#include <torchreg/detail/engine/slope.hpp>
#include <torchreg/detail/engine/total.hpp>

namespace torchreg::detail {

/// What a term is made of: the parameters' paths stay, the tensors and their data are autograd's.
template <class Formula>
struct TermOf : torch::CustomClassHolder {
  Formula formula;
  std::vector<Parameter> parameters;
  std::vector<double> strengths;
  bool has_factors = false;
  bool is_recorded = torch::GradMode::is_enabled();

  TermOf(Formula of_term, const Updates& updates) : formula(std::move(of_term)) {
    for (const auto& [tensors, numbers, parameter] : updates) {
      parameters.push_back({parameter->path, {}});
      strengths.push_back(numbers.strength);
      has_factors = has_factors || tensors.factor.defined();
    }
  }

  /// The updates' data, if there are any, and then their factors.
  std::vector<torch::Tensor> constants(const Updates& updates) const {
    std::vector<torch::Tensor> constants;
    for (const Update& update : updates) {
      if (has_own_data<Formula>) constants.push_back(update.tensors.data);
    }
    for (const Update& update : updates) {
      if (has_factors) constants.push_back(update.tensors.factor);
    }
    return constants;
  }

  Updates updates(at::TensorList tensors, at::TensorList constants) const {
    Updates updates(parameters.size());
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      updates[i].tensors.w = tensors[i];
      if (has_own_data<Formula>) updates[i].tensors.data = constants[i];
      if (has_factors)
        updates[i].tensors.factor = constants[constants.size() - parameters.size() + i];
      updates[i].numbers.strength = strengths[i];
      updates[i].parameter = &parameters[i];
    }
    return updates;
  }
};

/// gradient <- outer * slope for each update that has one, with a look at `outer` for each device.
template <class Formula>
void write_slopes(const Formula& formula, Updates updates, const torch::Tensor& outer) {
  std::unordered_map<torch::Device, Updates> by_device;
  for (Update& update : updates) {
    if (!update.tensors.gradient.defined() && !is_grouped<Formula>) continue;
    by_device[update.tensors.w.device()].push_back(std::move(update));
  }
  for (auto& [device, own] : by_device) {
    Slope<Formula> slope{formula};
    torch::Tensor there;
    if (device.is_cpu()) {
      const double weight = outer.item<double>();
      for (Update& update : own) update.numbers.weight = weight;
    } else {
      there = outer.to(device);
      slope.outer = &there;
    }
    run(slope, own);
  }
}

/// The slopes of a term by LibTorch's operations, which autograd records.
template <class Formula>
Tensors recorded_slopes(const Formula& formula, const Updates& updates) {
  Tensors slopes;
  if constexpr (is_grouped<Formula>) {
    slopes = recorded_slopes_of_groups(formula, updates);
  } else {
    for (const auto& [x, numbers, parameter] : updates) {
      const auto slope = slope_at(formula, in_compute_type(x.w), x.data, parameter->path);
      slopes.push_back(scaled(slope, x, numbers, presence_of(x)));
    }
  }
  return slopes;
}

/// The value of a term with a slope; an error where a tensor in the formula requires a gradient, as
/// a slope gives it none. A formula that takes lanes has numbers.
template <class Formula>
Outcome value_of(const TermOf<Formula>& of, Updates updates) {
  const bool looks = of.is_recorded && !takes_lanes<Formula>();
  for (Update& update : updates) {
    if (looks) update.tensors.w = update.tensors.w.detach();
  }
  const torch::AutoGradMode with_graph(looks);
  Outcome value = run(Value<Formula>{of.formula}, updates);
  for (const torch::Tensor& sum : value.sums) {
    TORCH_CHECK_VALUE(!sum.requires_grad(), name_of<Formula>(),
                      ": a tensor in the formula requires a gradient, and would get none beside a "
                      "slope: detach() it, or leave out slope(), and autograd finds both");
  }
  return value;
}

/// A term with a slope: one node in the graph for the whole list. Only the gradients themselves
/// are allocated in backward; where a second derivative is asked for, the slope is recorded.
template <class Formula>
struct Term : torch::autograd::Function<Term<Formula>> {
  using Of = c10::intrusive_ptr<TermOf<Formula>>;

  static torch::Tensor forward(torch::autograd::AutogradContext* context, at::TensorList tensors,
                               const Of& of, const std::vector<torch::Tensor>& constants) {
    auto saved = tensors.vec();
    saved.insert(saved.end(), constants.begin(), constants.end());
    context->save_for_backward(saved);
    context->saved_data["of"] = c10::IValue::make_capsule(of);
    Outcome value = value_of(*of, of->updates(tensors, constants));
    return total(value.sum, std::move(value.sums), tensors);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& outer) {
    const auto capsule = context->saved_data["of"].toCapsule();
    const auto& of = static_cast<const TermOf<Formula>&>(*capsule);
    const auto saved = context->get_saved_variables();
    const std::size_t count = of.parameters.size();
    const auto tensors = at::TensorList(saved).slice(0, count);
    Updates updates = of.updates(tensors, at::TensorList(saved).slice(count));
    const bool is_recorded = torch::GradMode::is_enabled();
    torch::autograd::variable_list gradients(count + 2);  // none for the formula and constants
    const Tensors slopes = is_recorded ? recorded_slopes(of.formula, updates) : Tensors();
    for (std::size_t i = 0; i < count; ++i) {
      const torch::Tensor& w = tensors[i];
      if (!context->needs_input_grad(i)) continue;
      gradients[i] = is_recorded ? (outer[0].to(w.device()) * slopes[i]).to(w.scalar_type())
                                 : torch::empty_like(w);
      updates[i].tensors.gradient = gradients[i];
    }
    if (!is_recorded) write_slopes(of.formula, std::move(updates), outer[0]);
    return gradients;
  }
};

/// The values of some updates by autograd: on the CPU of each tensor in its own shape, small ones
/// on a device together.
template <class Formula>
std::vector<torch::Tensor> recorded_sums(const Formula& formula, const Updates& updates) {
  if constexpr (is_grouped<Formula>) return recorded_sums_of_groups(formula, updates);
  Indices whole, to_join;
  for (std::size_t i = 0; i < updates.size(); ++i) {
    (updates[i].tensors.w.is_cpu() ? whole : to_join).push_back(i);
  }
  Outcome outcome;
  const RecordedValue<Formula> value{{formula}};
  for (const std::size_t i : Joined<Unit>::run(value, updates, to_join, outcome))
    whole.push_back(i);
  for (const std::size_t i : whole) {
    const auto& [tensors, numbers, parameter] = updates[i];
    Operands<torch::Tensor> x = tensors;
    x.w = in_compute_type(x.w);
    const auto sum = sum_in_order(value.at(x, presence_of(x), parameter->path));
    outcome.sums.push_back(numbers.strength == 1 ? sum : sum * numbers.strength);
  }
  return std::move(outcome.sums);
}

/// R times its factors, summed over the tensors, 0-dim and differentiable.
template <class Formula>
torch::Tensor term(const Formula& formula, const Factors& factors, const Parameters& parameters) {
  require_value<Formula>();
  if constexpr (HasValue<Formula>::value) {
    Updates updates = updates_of(formula, factors, parameters);
    bind_all(formula, updates, /*with_steps=*/false);
    const auto tensors = parameters.tensors();
    if constexpr (HasSlope<Formula>::value) {
      const auto of = c10::make_intrusive<TermOf<Formula>>(formula, updates);
      return Term<Formula>::apply(at::TensorList(tensors), of, of->constants(updates));
    } else {
      return total(0, recorded_sums(formula, updates), tensors);
    }
  }
}

}  // namespace torchreg::detail
