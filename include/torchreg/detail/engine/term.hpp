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
#include <torchreg/detail/engine/run.hpp>
#include <torchreg/detail/engine/slope.hpp>
#include <torchreg/detail/engine/total.hpp>

namespace torchreg::detail {

/// What a term is made of: the parameters' paths stay, the tensors and their data are autograd's.
template <class Formula>
struct TermOf : torch::CustomClassHolder {
  Formula formula;
  std::vector<Parameter> parameters;
  bool is_recorded = torch::GradMode::is_enabled();

  TermOf(Formula of_term, const Parameters& of_paths) : formula(std::move(of_term)) {
    for (const Parameter& parameter : of_paths) parameters.push_back({parameter.path, {}});
  }

  Updates updates(at::TensorList tensors, at::TensorList data) const {
    Updates updates(parameters.size());
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      updates[i].tensors.w = tensors[i];
      if (!data.empty()) updates[i].tensors.data = data[i];
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
    if (!update.tensors.gradient.defined()) continue;
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
                               const Of& of, const std::vector<torch::Tensor>& data) {
    auto saved = tensors.vec();
    saved.insert(saved.end(), data.begin(), data.end());
    context->save_for_backward(saved);
    context->saved_data["of"] = c10::IValue::make_capsule(of);
    Outcome value = value_of(*of, of->updates(tensors, data));
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
    torch::autograd::variable_list gradients(count + 2);  // none for the formula and the data
    for (std::size_t i = 0; i < count; ++i) {
      const torch::Tensor& w = tensors[i];
      if (!context->needs_input_grad(i)) continue;
      const auto& x = updates[i].tensors;
      gradients[i] = is_recorded
                         ? (outer[0].to(w.device()) *
                            slope_at(of.formula, in_compute_type(w), x.data, updates[i].path()))
                               .to(w.scalar_type())
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
  Indices whole, to_join;
  for (std::size_t i = 0; i < updates.size(); ++i) {
    (updates[i].tensors.w.is_cpu() ? whole : to_join).push_back(i);
  }
  Outcome outcome;
  const RecordedValue<Formula> value{{formula}};
  for (const std::size_t i : Joined<Unit>::run(value, updates, to_join, outcome))
    whole.push_back(i);
  for (const std::size_t i : whole) {
    const auto& [w, data] = std::tie(updates[i].tensors.w, updates[i].tensors.data);
    outcome.sums.push_back(
        sum_in_order(value_at(formula, in_compute_type(w), data, updates[i].path())));
  }
  return std::move(outcome.sums);
}

/// R summed over the tensors, 0-dim and differentiable.
template <class Formula>
torch::Tensor term(const Formula& formula, const Parameters& parameters) {
  require_value<Formula>();
  if constexpr (HasValue<Formula>::value) {
    const auto of = c10::make_intrusive<TermOf<Formula>>(formula, parameters);
    const auto tensors = parameters.tensors();
    std::vector<torch::Tensor> data;
    if constexpr (has_data_of_one<Formula>) {
      for (const Parameter& parameter : parameters) data.push_back(data_of(formula, parameter));
    }
    if constexpr (has_data_of_all<Formula>) {
      Updates updates = of->updates(tensors, data);
      for (std::size_t i = 0; i < updates.size(); ++i) updates[i].parameter = &parameters[i];
      bind_all(formula, updates, /*with_steps=*/false);
      for (const Update& update : updates) data.push_back(update.tensors.data);
    }
    if constexpr (HasSlope<Formula>::value) {
      return Term<Formula>::apply(at::TensorList(tensors), of, data);
    } else {
      return total(0, recorded_sums(formula, of->updates(tensors, data)), tensors);
    }
  }
}

}  // namespace torchreg::detail
