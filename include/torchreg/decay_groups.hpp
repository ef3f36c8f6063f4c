#pragma once

#include <torch/optim/optimizer.h>

#include <memory>
#include <utility>
#include <vector>

#include <torchreg/detail/formula/number.hpp>
#include <torchreg/select.hpp>

namespace torchreg {

/// Two groups for an optimizer: the selected parameters with this weight decay, and all other
/// trainable ones, such as biases and normalizations, with none.
///
///     using torch::optim::AdamW, torch::optim::AdamWOptions;
///     AdamW optimizer(decay_groups(model, weights(), 1e-2, AdamWOptions(1e-3)));
///
/// Both groups have `options` in all else: LibTorch's groups know their optimizer's options, so
/// these take the learning rate too. weight_decay >= 0, finite, else an error. The second group is
/// left out where it would be empty. What the decay means to each optimizer is its own: with
/// all but AdamW it is L2(weight_decay).
template <class Module, class Options>
std::vector<torch::optim::OptimizerParamGroup> decay_groups(const Module& module,
                                                            const Selector& selector,
                                                            double weight_decay,
                                                            const Options& options) {
  detail::check_strength("decay_groups: weight_decay", weight_decay);
  const Parameters selected =
      detail::select_for("decay_groups", detail::as_module(module), selector);
  std::vector<torch::Tensor> others;
  for (const auto& aliases : detail::by_tensor(detail::parameters_of(detail::as_module(module)))) {
    const torch::Tensor& tensor = aliases.front().tensor;
    const bool is_selected = tensor.is_floating_point() && selector.rule().holds(aliases);
    if (tensor.requires_grad() && !is_selected) others.push_back(tensor);
  }
  std::vector<torch::optim::OptimizerParamGroup> groups;
  const auto add = [&](std::vector<torch::Tensor> tensors, double decay) {
    auto own = std::make_unique<Options>(options);
    own->weight_decay(decay);
    groups.emplace_back(std::move(tensors), std::move(own));
  };
  add(selected.tensors(), weight_decay);
  if (!others.empty()) add(std::move(others), 0);
  return groups;
}

}  // namespace torchreg
