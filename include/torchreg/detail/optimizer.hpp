#pragma once

#include <torch/optim/adagrad.h>
#include <torch/optim/adam.h>
#include <torch/optim/adamw.h>
#include <torch/optim/lbfgs.h>
#include <torch/optim/rmsprop.h>
#include <torch/optim/sgd.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <tuple>
#include <typeinfo>

#include <torchreg/detail/step.hpp>
#include <torchreg/detail/text.hpp>

// With lookup.hpp, the only code that looks into an optimizer.

namespace torchreg::detail {

// kappa: how many gradients a step of SGD with momentum adds up to. 1 at the first step, then
// kappa <- momentum kappa + (1 - dampening), which tends to (1 - dampening) / (1 - momentum).

constexpr double kBeforeFirstStep = -1;

inline double momentum_limit(const torch::optim::SGDOptions& options) {
  return (1 - options.dampening()) / (1 - options.momentum());
}

inline double advance_momentum(const torch::optim::SGDOptions& options, double kappa) {
  return kappa == kBeforeFirstStep ? 1 : options.momentum() * kappa + (1 - options.dampening());
}

inline double sgd_rate(const torch::optim::SGDOptions& options, double kappa) {
  return options.lr() * (options.nesterov() ? 1 + options.momentum() * kappa : kappa);
}

/// What an optimizer's options and state tell about one parameter.
struct Reading {
  Step step;              ///< of SGD with momentum: in the limit of many steps
  const char* kind = "";  ///< the step in words
  double lr = 0;
  bool leaves_trace = true;  ///< plain SGD and optimizers of the user's do not
  int64_t counter = 0;       ///< steps so far; 1 where there is only a momentum buffer
  torch::Tensor trace;       ///< a tensor of state that each step writes to
  const torch::optim::SGDOptions* momentum = nullptr;  ///< the options of SGD with momentum
};

using ReadFunction = Reading (*)(const torch::optim::OptimizerOptions&,
                                 const torch::optim::OptimizerParamState*);

inline Reading read_sgd(const torch::optim::OptimizerOptions& group,
                        const torch::optim::OptimizerParamState* stored) {
  const auto& options = static_cast<const torch::optim::SGDOptions&>(group);
  Reading reading;
  reading.kind = "lr";
  reading.lr = reading.step.rate = options.lr();
  reading.leaves_trace = options.momentum() != 0;
  if (!reading.leaves_trace) return reading;
  reading.kind = options.nesterov() ? "lr (1 + momentum k)" : "lr k";
  reading.momentum = &options;
  reading.step.rate = sgd_rate(options, momentum_limit(options));
  if (stored != nullptr) {
    reading.trace = static_cast<const torch::optim::SGDParamState*>(stored)->momentum_buffer();
    reading.counter = reading.trace.defined() ? 1 : 0;
  }
  return reading;
}

inline Reading read_adagrad(const torch::optim::OptimizerOptions& group,
                            const torch::optim::OptimizerParamState* stored) {
  const auto& options = static_cast<const torch::optim::AdagradOptions&>(group);
  Reading reading;
  reading.kind = "clr/(sqrt(sum) + eps)";
  reading.lr = options.lr();
  if (stored == nullptr) return reading;
  const auto& state = static_cast<const torch::optim::AdagradParamState&>(*stored);
  if (state.step() == 0) return reading;  // the state is made before the first step
  reading.counter = state.step();
  reading.trace = reading.step.second_moment = state.sum();
  const auto decays = static_cast<double>(state.step() - 1);
  reading.step.rate = options.lr() / (1 + decays * options.lr_decay());
  reading.step.eps = options.eps();
  return reading;
}

inline Reading read_rmsprop(const torch::optim::OptimizerOptions& group,
                            const torch::optim::OptimizerParamState* stored) {
  const auto& options = static_cast<const torch::optim::RMSpropOptions&>(group);
  Reading reading;
  reading.kind = "lr/(sqrt(q) + eps)";
  reading.lr = reading.step.rate = options.lr();
  if (stored == nullptr) return reading;
  const auto& state = static_cast<const torch::optim::RMSpropParamState&>(*stored);
  reading.counter = state.step();
  reading.trace = reading.step.second_moment = state.square_avg();
  if (options.centered()) reading.step.mean = state.grad_avg();
  reading.step.eps = options.eps();
  const double momentum = options.momentum();
  const auto steps = static_cast<double>(state.step());
  if (momentum > 0) {
    reading.step.factor = momentum == 1 ? steps : (1 - std::pow(momentum, steps)) / (1 - momentum);
  }
  return reading;
}

template <class Options, class State>
Reading read_adam(const torch::optim::OptimizerOptions& group,
                  const torch::optim::OptimizerParamState* stored) {
  const auto& options = static_cast<const Options&>(group);
  Reading reading;
  reading.kind = "lr/(sqrt(v) + eps)";
  reading.lr = reading.step.rate = options.lr();
  if (stored == nullptr) return reading;
  const auto& state = static_cast<const State&>(*stored);
  reading.counter = state.step();
  reading.trace = state.exp_avg_sq();
  reading.step.second_moment = options.amsgrad() ? state.max_exp_avg_sq() : state.exp_avg_sq();
  const auto steps = static_cast<double>(state.step());
  reading.step.correction = 1 - std::pow(std::get<1>(options.betas()), steps);
  reading.step.eps = options.eps();
  return reading;
}

/// How to read this optimizer, by its exact dynamic type.
inline ReadFunction reader_of(const std::string& who, const torch::optim::Optimizer& optimizer) {
  namespace optim = torch::optim;
  const std::type_info& type = typeid(optimizer);
  if (type == typeid(optim::SGD)) return read_sgd;
  if (type == typeid(optim::Adagrad)) return read_adagrad;
  if (type == typeid(optim::RMSprop)) return read_rmsprop;
  if (type == typeid(optim::Adam)) return read_adam<optim::AdamOptions, optim::AdamParamState>;
  if (type == typeid(optim::AdamW)) return read_adam<optim::AdamWOptions, optim::AdamWParamState>;
  TORCH_CHECK_NOT_IMPLEMENTED(type != typeid(optim::LBFGS), who,
                              ": LBFGS has no per-entry step size; use a first-order optimizer, or "
                              "the penalty as a term of the loss");
  const std::string name = unqualified_name(type);
  TORCH_CHECK_NOT_IMPLEMENTED(false, who, ": optimizer ", name,
                              " is unknown; overload step_size(const ", name,
                              "&, const torch::Tensor&), or use prox_(parameters, step)");
}

}  // namespace torchreg::detail
