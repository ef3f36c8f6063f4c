#pragma once

#include <torch/types.h>

#include <string>
#include <vector>

#include <torchreg/detail/engine/steps.hpp>
#include <torchreg/detail/text/checks.hpp>

namespace torchreg::detail {

/// A formula's data for w, as w is: of its shape and strides, on its device, in the type that it is
/// computed in.
template <class Formula>
torch::Tensor data_like(const torch::Tensor& data, const Parameter& parameter) {
  const auto& [path, w, owner] = parameter;
  const std::string what = name_of<Formula>() + ": data";
  TORCH_CHECK_VALUE(data.defined(), what, " of ", literal(path), " are undefined");
  TORCH_CHECK_VALUE(!data.requires_grad(), what, " of ", literal(path),
                    " require a gradient, which they would not get: detach() them");
  check_broadcasts(what, data, parameter);
  torch::NoGradGuard no_grad;
  const auto options = w.options().dtype(compute_type(w.scalar_type()));
  const torch::Tensor wide = data.to(options).expand(w.sizes());
  if (wide.strides() == w.strides() && !wide.is_alias_of(w)) return wide;
  return torch::empty_like(w.detach(), options).copy_(wide);
}

/// A formula's data for one parameter; undefined where it has none, or finds them from all.
template <class Formula>
torch::Tensor data_of([[maybe_unused]] const Formula& formula,
                      [[maybe_unused]] const Parameter& parameter) {
  if constexpr (has_data_of_one<Formula>) {
    return data_like<Formula>(formula.data(parameter), parameter);
  }
  return {};
}

/// Gives the updates the data that a formula finds from all parameters, and their steps.
template <class Formula>
void bind_all([[maybe_unused]] const Formula& formula,
              [[maybe_unused]] std::vector<Update>& updates, [[maybe_unused]] bool with_steps) {
  if constexpr (has_data_of_all<Formula>) {
    Tensors all, steps;
    for (const auto& [tensors, numbers, parameter] : updates) {
      all.push_back(in_compute_type(tensors.w.detach()));
      if (with_steps) steps.push_back(step_of_each(tensors, numbers, tensors.w));
    }
    const Tensors data = formula.data(all, steps);
    TORCH_CHECK_VALUE(data.size() == updates.size(), name_of<Formula>(), ": data returned ",
                      data.size(), " tensors for ", updates.size());
    for (std::size_t i = 0; i < updates.size(); ++i) {
      updates[i].tensors.data = data_like<Formula>(data[i], *updates[i].parameter);
    }
  }
}

}  // namespace torchreg::detail
