#pragma once

#include <torch/csrc/autograd/custom_function.h>
#include <torch/types.h>

#include <cstddef>
#include <map>
#include <string>
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
    Updates updates;
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      updates.emplace_back();
      updates.back().tensors.w = tensors[i];
      if (i < data.size()) updates.back().tensors.data = data[i];
      updates.back().parameter = &parameters[i];
    }
    return updates;
  }
};

/// gradient <- outer * slope for each update that has one, with a look at `outer` for each device.
template <class Formula>
void write_slopes(const Formula& formula, const Updates& updates, const torch::Tensor& outer) {
  std::map<std::string, Updates> by_device;
  for (const Update& update : updates) {
    if (!update.tensors.gradient.defined()) continue;
    by_device[update.tensors.w.device().str()].push_back(update);
  }
  for (auto& [name, own] : by_device) {
    const torch::Device device = own[0].tensors.w.device();
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

/// An error for a formula with a tensor in it that requires a gradient, which a slope does not
/// give.
template <class Formula>
void check_no_gradient(const Outcome& value) {
  for (const torch::Tensor& sum : value.sums) {
    TORCH_CHECK_VALUE(!sum.requires_grad(), name_of<Formula>(),
                      ": a tensor in the formula requires a gradient, and would get none beside a "
                      "slope: detach() it, or leave out slope(), and autograd finds both");
  }
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
    Updates updates = of->updates(tensors, data);
    for (Update& update : updates) update.tensors.w = update.tensors.w.detach();
    Outcome value;
    {
      const torch::AutoGradMode as_outside(of->is_recorded);
      value = run(Value<Formula>{of->formula}, updates);
    }
    check_no_gradient<Formula>(value);
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
    if (!is_recorded) write_slopes(of.formula, updates, outer[0]);
    return gradients;
  }
};

/// The values of some updates by autograd: small ones on a device together.
template <class Formula>
std::vector<torch::Tensor> recorded_sums(const Formula& formula, const Updates& updates) {
  std::vector<torch::Tensor> sums;
  std::map<std::pair<std::string, torch::ScalarType>, Updates> alike;
  for (const Update& update : updates) {
    const torch::Tensor& w = update.tensors.w;
    if (is_separable<Formula> && !w.is_cpu()) {
      alike[{w.device().str(), w.scalar_type()}].push_back(update);
    } else {
      sums.push_back(
          sum_in_order(value_at(formula, in_compute_type(w), update.tensors.data, update.path())));
    }
  }
  for (const auto& [kind, own] : alike) {
    std::vector<torch::Tensor> w, data;
    for (const Update& update : own) {
      w.push_back(update.tensors.w.reshape({-1}));
      if (update.tensors.data.defined()) data.push_back(update.tensors.data.reshape({-1}));
    }
    try {
      const torch::Tensor joined = data.empty() ? torch::Tensor() : torch::cat(data);
      sums.push_back(
          value_at(formula, in_compute_type(torch::cat(w)), joined, own[0].path()).sum());
    } catch (const c10::Error&) {  // for which of them, each alone tells
      for (const Update& update : own) {
        sums.push_back(
            value_at(formula, in_compute_type(update.tensors.w), update.tensors.data, update.path())
                .sum());
      }
    }
  }
  return sums;
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
    Updates updates = of->updates(tensors, data);
    if constexpr (has_data_of_all<Formula>) {
      for (std::size_t i = 0; i < updates.size(); ++i) updates[i].parameter = &parameters[i];
      bind_all(formula, updates, /*with_steps=*/false);
      for (const Update& update : updates) data.push_back(update.tensors.data);
    }
    if constexpr (HasSlope<Formula>::value) {
      return Term<Formula>::apply(at::TensorList(tensors), of, data);
    } else {
      return total(0, recorded_sums(formula, updates), tensors);
    }
  }
}

}  // namespace torchreg::detail
