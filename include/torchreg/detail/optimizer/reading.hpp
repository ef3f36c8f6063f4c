#pragma once

#include <torch/optim/sgd.h>
#include <torch/types.h>

#include <cstdint>
#include <optional>

#include <torchreg/detail/engine/update.hpp>
#include <torchreg/detail/formula/number.hpp>

namespace torchreg::detail {

// kappa: how many gradients a step of SGD with momentum adds up to. 1 at the first step, then
// kappa <- momentum kappa + (1 - dampening), which tends to (1 - dampening) / (1 - momentum).

constexpr double kBeforeFirstStep = -1;

inline double momentum_limit(const torch::optim::SGDOptions& options) {
  return (1 - options.dampening()) / (1 - options.momentum());
}

inline double advance_momentum(const torch::optim::SGDOptions& options, double kappa) {
  if (kappa == kBeforeFirstStep) return 1;
  return rounded(options.momentum() * kappa) + (1 - options.dampening());
}

inline double sgd_rate(const torch::optim::SGDOptions& options, double kappa) {
  return options.lr() * (options.nesterov() ? 1 + rounded(options.momentum() * kappa) : kappa);
}

/// What an optimizer's options and state tell about one parameter.
struct Reading {
  Metric metric;                  ///< of SGD with momentum: in the limit of many steps
  Operands<torch::Tensor> state;  ///< the second moment and what else makes the step of an entry
  const char* kind = "";          ///< the step in words
  const char* optimizer = "";     ///< whose steps differ from entry to entry; else ""
  double lr = -1;                 ///< -1: not known
  double decoupled_decay = 0;     ///< of AdamW
  bool leaves_trace = true;       ///< plain SGD and optimizers of the user's do not
  bool counts = false;            ///< whether `counter` counts its steps
  int64_t counter = 0;            ///< steps so far; of SGD 1 where there is a momentum buffer
  torch::Tensor trace;            ///< a tensor of state that each step writes to
  int64_t trace_writes = 1;       ///< to it in a step
  int64_t writes = 0;             ///< to the parameter in a step, as its version shows them
  const torch::optim::SGDOptions* momentum = nullptr;  ///< the options of SGD with momentum

  /// The shape of the state, where it is not the tensor's.
  std::optional<at::IntArrayRef> misfit(const torch::Tensor& tensor) const {
    std::optional<at::IntArrayRef> found;
    const auto look = [&](const torch::Tensor& one) {
      if (one.defined() && one.sizes() != tensor.sizes()) found = one.sizes();
    };
    for_each_operand(look, state);
    look(trace);
    return found;
  }
};

}  // namespace torchreg::detail
