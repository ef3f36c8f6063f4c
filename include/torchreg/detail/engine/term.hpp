#pragma once

#include <torch/types.h>

#include <cstddef>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include <torchreg/detail/engine/bind.hpp>
#include <torchreg/detail/engine/recorded_groups.hpp>
#include <torchreg/detail/engine/run.hpp>
#include <torchreg/detail/engine/slope.hpp>
#include <torchreg/detail/engine/term_node.hpp>
#include <torchreg/detail/engine/total.hpp>

namespace torchreg::detail {

/// The value of a term with a slope; an error where a tensor in the formula requires a gradient, as
/// a slope gives it none. A formula that takes lanes has numbers.
template <class Formula>
Outcome value_of(const Formula& formula, Updates updates) {
  const bool looks = torch::GradMode::is_enabled() && !takes_lanes<Formula>();
  for (Update& update : updates) {
    if (looks) update.tensors.w = update.tensors.w.detach();
  }
  const torch::AutoGradMode with_graph(looks);
  Outcome value = run(Value<Formula>{formula}, updates);
  for (const torch::Tensor& sum : value.sums) {
    TORCH_CHECK_VALUE(!sum.requires_grad(), name_of<Formula>(),
                      ": a tensor in the formula requires a gradient, and would get none beside a "
                      "slope: detach() it, or leave out slope(), and autograd finds both");
  }
  return value;
}

/// The slopes of a formula, for the node of its term.
template <class Formula>
struct SlopesOf : Slopes {
  Formula formula;

  explicit SlopesOf(Formula of_term) : formula(std::move(of_term)) {}

  std::string name() const override { return name_of<Formula>(); }

  /// With a look at `outer` for each device.
  void write(Updates updates, const torch::Tensor& outer) const override {
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

  Tensors recorded(const Updates& updates) const override {
    if constexpr (is_grouped<Formula>) return recorded_slopes_of_groups(formula, updates);
    Tensors slopes;
    for (const auto& [x, numbers, parameter] : updates) {
      const auto slope = slope_at(formula, in_compute_type(x.w), x.data, parameter->path);
      slopes.push_back(scaled(slope, x, numbers, presence_of(x)));
    }
    return slopes;
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
  const AnyKernel any = any_kernel<Unit>(value);
  for (const std::size_t i : Joined<Unit>::run(any, updates, to_join, outcome)) whole.push_back(i);
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
      Outcome value = value_of(formula, updates);
      torch::Tensor sum = [&] {
        const torch::NoGradGuard no_grad;
        return total(value.sum, std::move(value.sums), tensors);
      }();
      if (has_graph(name_of<Formula>(), tensors)) {
        const auto node =
            make_node<TermNode>(std::make_unique<SlopesOf<Formula>>(formula), updates);
        torch::autograd::create_gradient_edge(sum, node);
      }
      return sum;
    } else {
      return total(0, recorded_sums(formula, updates), tensors);
    }
  }
}

}  // namespace torchreg::detail
