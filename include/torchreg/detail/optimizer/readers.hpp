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
#include <type_traits>
#include <typeinfo>

#include <torchreg/detail/optimizer/reading.hpp>
#include <torchreg/detail/text/text.hpp>

// With lookup.hpp and reading.hpp, the only code that looks into an optimizer.

namespace torchreg::detail {

using ReadFunction = Reading (*)(const torch::optim::OptimizerOptions&,
                                 const torch::optim::OptimizerParamState*);

inline Reading read_sgd(const torch::optim::OptimizerOptions& group,
                        const torch::optim::OptimizerParamState* stored) {
  const auto& options = static_cast<const torch::optim::SGDOptions&>(group);
  Reading reading;
  reading.kind = "lr";
  reading.lr = reading.metric.rate = options.lr();
  reading.leaves_trace = options.momentum() != 0;
  if (stored != nullptr) {
    reading.trace = static_cast<const torch::optim::SGDParamState*>(stored)->momentum_buffer();
    reading.counter = reading.trace.defined() ? 1 : 0;
  }
  if (!reading.leaves_trace) return reading;
  reading.kind = options.nesterov() ? "lr (1 + momentum k)" : "lr k";
  reading.momentum = &options;
  reading.metric.rate = sgd_rate(options, momentum_limit(options));
  return reading;
}

inline Reading read_adagrad(const torch::optim::OptimizerOptions& group,
                            const torch::optim::OptimizerParamState* stored) {
  const auto& options = static_cast<const torch::optim::AdagradOptions&>(group);
  Reading reading;
  reading.kind = "clr/(sqrt(sum) + eps)";
  reading.optimizer = "Adagrad";
  reading.counts = true;
  reading.writes = 1;
  reading.lr = options.lr();
  if (stored == nullptr) return reading;
  const auto& state = static_cast<const torch::optim::AdagradParamState&>(*stored);
  if (state.step() == 0) return reading;  // the state is made before the first step
  reading.counter = state.step();
  reading.trace = reading.state.moment = state.sum();
  const auto steps = static_cast<double>(state.step());
  reading.metric.rate = options.lr() / (1 + rounded((steps - 1) * options.lr_decay()));
  reading.metric.eps = options.eps();
  reading.metric.share = steps;
  return reading;
}

inline Reading read_rmsprop(const torch::optim::OptimizerOptions& group,
                            const torch::optim::OptimizerParamState* stored) {
  const auto& options = static_cast<const torch::optim::RMSpropOptions&>(group);
  Reading reading;
  reading.kind = "lr/(sqrt(q) + eps)";
  reading.optimizer = "RMSprop";
  reading.counts = true;
  reading.writes = 1;
  reading.trace_writes = 2;
  reading.lr = reading.metric.rate = options.lr();
  if (stored == nullptr) return reading;
  const auto& state = static_cast<const torch::optim::RMSpropParamState&>(*stored);
  reading.counter = state.step();
  reading.trace = reading.state.moment = state.square_avg();
  if (options.centered()) reading.state.mean = state.grad_avg();
  reading.metric.eps = options.eps();
  const double momentum = options.momentum();
  const auto steps = static_cast<double>(state.step());
  if (momentum > 0) {
    reading.metric.factor =
        momentum == 1 ? steps : (1 - std::pow(momentum, steps)) / (1 - momentum);
  }
  reading.metric.share = 1 - std::pow(options.alpha(), steps);
  return reading;
}

template <class Options, class State>
Reading read_adam(const torch::optim::OptimizerOptions& group,
                  const torch::optim::OptimizerParamState* stored) {
  const auto& options = static_cast<const Options&>(group);
  Reading reading;
  reading.kind = "lr/(sqrt(v) + eps)";
  reading.optimizer = "Adam";
  reading.counts = true;
  reading.writes = 1;
  reading.trace_writes = 2;
  if constexpr (std::is_same_v<Options, torch::optim::AdamWOptions>) {
    reading.optimizer = "AdamW";
    reading.decoupled_decay = options.weight_decay();
    if (reading.decoupled_decay != 0) reading.writes = 2;
  }
  reading.lr = reading.metric.rate = options.lr();
  if (stored == nullptr) return reading;
  const auto& state = static_cast<const State&>(*stored);
  reading.counter = state.step();
  reading.trace = state.exp_avg_sq();
  reading.state.moment = options.amsgrad() ? state.max_exp_avg_sq() : state.exp_avg_sq();
  const auto steps = static_cast<double>(state.step());
  reading.metric.share = reading.metric.correction =
      1 - std::pow(std::get<1>(options.betas()), steps);
  reading.metric.eps = options.eps();
  return reading;
}

/// How to read an optimizer of exactly this type; null if it is none of LibTorch's first-order
/// ones.
inline ReadFunction reader_of_type(const std::type_info& type) {
  namespace optim = torch::optim;
  if (type == typeid(optim::SGD)) return read_sgd;
  if (type == typeid(optim::Adagrad)) return read_adagrad;
  if (type == typeid(optim::RMSprop)) return read_rmsprop;
  if (type == typeid(optim::Adam)) return read_adam<optim::AdamOptions, optim::AdamParamState>;
  if (type == typeid(optim::AdamW)) return read_adam<optim::AdamWOptions, optim::AdamWParamState>;
  return nullptr;
}

/// How to read this optimizer: as the type that it is passed by, or else as the one that it is.
template <class Optimizer>
ReadFunction reader_of(const std::string& who, const Optimizer& optimizer) {
  if (const auto read = reader_of_type(typeid(Optimizer))) return read;
  const std::type_info& type = typeid(optimizer);
  if (const auto read = reader_of_type(type)) return read;
  TORCH_CHECK_NOT_IMPLEMENTED(type != typeid(torch::optim::LBFGS), who,
                              ": LBFGS has no per-entry step size; use a first-order optimizer, or "
                              "the penalty as a term of the loss");
  const std::string name = unqualified_name(type);
  TORCH_CHECK_NOT_IMPLEMENTED(
      false, who, ": optimizer ", name, " is unknown; overload step_size(const ", name,
      "&, const torch::Tensor&), or use prox_(parameters, step)\nPass it by its own type, as the "
      "overload is not seen through torch::optim::Optimizer&; or by the type of LibTorch's that it "
      "steps as, such as static_cast<torch::optim::Adam&>(optimizer).");
}

}  // namespace torchreg::detail
