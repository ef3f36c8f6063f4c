#pragma once

#include <type_traits>

#include <torchreg/detail/engine/steps.hpp>
#include <torchreg/detail/optimizer/lookup.hpp>
#include <torchreg/detail/optimizer/readers.hpp>

namespace torchreg {

/// How far `optimizer` moves an entry of `tensor` per unit of a constant gradient, from its options
/// and state at this moment: the step of a proximal map that follows optimizer.step(), in units of
/// parameter per gradient. What ProximalStep uses, for reading; it knows a step for entries without
/// any gradient too.
///
/// - SGD: lr; with momentum mu: lr k, in the limit k = (1 - dampening)/(1 - mu);
///   Nesterov: lr (1 + mu k).
/// - Adagrad: clr/(sqrt(sum) + eps), clr = lr/(1 + (t - 1) lr_decay).
/// - RMSprop: lr/(sqrt(q) + eps), q = square_avg; centered: q - grad_avg^2, at least 0; with
///   momentum: times (1 - mu^t)/(1 - mu).
/// - Adam, AdamW: lr/(sqrt(v/(1 - beta2^t)) + eps); amsgrad: v is the running maximum.
///
/// Where the stored second moment is exactly 0, the step is lr (Adagrad: clr). AdamW's decoupled
/// decay is no part of it. Returns a 0-dim double on the CPU, which is known without a wait, or a
/// tensor of the parameter's shape and device (float32 for half types). Reads the optimizer as the
/// class of LibTorch's that it is passed by, or else by its exact dynamic type; throws for LBFGS
/// and for classes that it does not know, for a tensor in no parameter group, and before the first
/// step of an optimizer with a second moment. Source: Duchi, Hazan, Singer 2011; Yun, Lozano, Yang
/// 2021.
template <class Optimizer,
          class = std::enable_if_t<std::is_base_of_v<torch::optim::Optimizer, Optimizer>>>
torch::Tensor step_size(const Optimizer& optimizer, const torch::Tensor& tensor) {
  torch::NoGradGuard no_grad;
  const auto read = detail::reader_of("step_size", optimizer);
  detail::GroupPosition position;
  const auto* group = detail::Groups(optimizer).find(tensor, position);
  TORCH_CHECK_VALUE(group != nullptr,
                    "step_size: the tensor is in no parameter group of this optimizer");
  const auto* state = detail::find_state(optimizer, detail::state_key(tensor));
  const auto reading = read(group->options(), state);
  TORCH_CHECK(reading.counter > 0 || reading.momentum != nullptr || !reading.leaves_trace,
              "step_size: the tensor has no optimizer state yet; call it after optimizer.step()");
  const auto misfit = reading.misfit(tensor);
  TORCH_CHECK_VALUE(!misfit, "step_size: the tensor has the shape ", tensor.sizes(),
                    ", its optimizer state ", *misfit);
  if (!reading.state.moment.defined()) {
    return torch::full({}, reading.metric.rate, torch::kDouble);
  }
  return detail::step_of_each(reading.state, detail::Numbers(reading.metric), tensor);
}

}  // namespace torchreg
