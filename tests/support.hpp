#pragma once

#include <functional>
#include <memory>
#include <sstream>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "catch.hpp"

namespace support {

using torch::Tensor;

/// The first line and more of what `act` throws as a c10::Error, "" if it throws nothing.
inline std::string error_of(const std::function<void()>& act) {
  try {
    act();
  } catch (const c10::Error& error) {
    return error.what_without_backtrace();
  }
  return "";
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// Equal to the bit, NaN and the sign of zero included.
inline bool same_bits(const Tensor& a, const Tensor& b) {
  const auto bits = [](const Tensor& t) {
    const auto x = t.detach().contiguous();
    return x.view(x.element_size() == 8   ? torch::kLong
                  : x.element_size() == 4 ? torch::kInt
                                          : torch::kShort);
  };
  return a.sizes() == b.sizes() && a.scalar_type() == b.scalar_type() &&
         torch::equal(bits(a), bits(b));
}

inline int64_t negative_zeros(const Tensor& t) {
  return ((t == 0) & t.signbit()).sum().item<int64_t>();
}

/// Two linear layers: fc1 4x3 and fc2 2x4, with biases.
struct NetImpl : torch::nn::Module {
  NetImpl() {
    fc1 = register_module("fc1", torch::nn::Linear(3, 4));
    fc2 = register_module("fc2", torch::nn::Linear(4, 2));
  }
  Tensor forward(const Tensor& x) { return fc2(torch::tanh(fc1(x))); }
  torch::nn::Linear fc1{nullptr}, fc2{nullptr};
};
TORCH_MODULE(Net);

using MakeOptimizer =
    std::function<std::unique_ptr<torch::optim::Optimizer>(std::vector<Tensor>, double lr)>;

/// What an optimizer is, for tests that treat some in another way.
struct Kind {
  bool sgd = false, adagrad = false, rmsprop = false, adamw = false;
  bool momentum = false, nesterov = false, dampened = false, centered = false;
  bool settles = true;  ///< whether it converges in full batch
  bool common = false;  ///< one of the few that long tests are made with

  bool plain_sgd() const { return sgd && !momentum; }  ///< leaves no trace of a step
};

/// A LibTorch optimizer in one of its settings.
struct OptimizerCase {
  std::string name;
  MakeOptimizer make;
  Kind is;
};

template <class Optimizer, class Options, class Set>
OptimizerCase optimizer_case(const std::string& name, Set set) {
  using namespace torch::optim;
  Options options(1e-3);
  set(options);
  Kind is;
  is.sgd = std::is_same_v<Optimizer, SGD>;
  is.adagrad = std::is_same_v<Optimizer, Adagrad>;
  is.rmsprop = std::is_same_v<Optimizer, RMSprop>;
  is.adamw = std::is_same_v<Optimizer, AdamW>;
  if constexpr (std::is_same_v<Options, SGDOptions>) {
    is.nesterov = options.nesterov();
    is.dampened = options.dampening() != 0;
  }
  if constexpr (std::is_same_v<Options, RMSpropOptions>) is.centered = options.centered();
  if constexpr (std::is_same_v<Options, SGDOptions> || std::is_same_v<Options, RMSpropOptions>) {
    is.momentum = options.momentum() != 0;
  }
  return {name,
          [set](std::vector<Tensor> parameters, double lr) {
            Options options_of_lr(lr);
            set(options_of_lr);
            return std::make_unique<Optimizer>(std::move(parameters), options_of_lr);
          },
          is};
}

inline OptimizerCase common(OptimizerCase optimizer_case) {
  optimizer_case.is.common = true;
  return optimizer_case;
}

/// Every first-order optimizer of LibTorch in every setting that changes its step.
inline std::vector<OptimizerCase> optimizer_cases() {
  using namespace torch::optim;
  auto centered_momentum = optimizer_case<RMSprop, RMSpropOptions>(
      "RMSprop centered momentum", [](auto& o) { o.centered(true).momentum(0.9); });
  centered_momentum.is.settles = false;
  return {
      common(optimizer_case<SGD, SGDOptions>("SGD", [](auto&) {})),
      common(optimizer_case<SGD, SGDOptions>("SGD momentum", [](auto& o) { o.momentum(0.9); })),
      optimizer_case<SGD, SGDOptions>("SGD dampening",
                                      [](auto& o) { o.momentum(0.9).dampening(0.5); }),
      optimizer_case<SGD, SGDOptions>("SGD Nesterov",
                                      [](auto& o) { o.momentum(0.9).nesterov(true); }),
      optimizer_case<Adagrad, AdagradOptions>("Adagrad", [](auto&) {}),
      optimizer_case<Adagrad, AdagradOptions>("Adagrad lr_decay",
                                              [](auto& o) { o.lr_decay(1e-4); }),
      common(optimizer_case<RMSprop, RMSpropOptions>("RMSprop", [](auto&) {})),
      optimizer_case<RMSprop, RMSpropOptions>("RMSprop centered",
                                              [](auto& o) { o.centered(true); }),
      optimizer_case<RMSprop, RMSpropOptions>("RMSprop momentum", [](auto& o) { o.momentum(0.9); }),
      centered_momentum,
      common(optimizer_case<Adam, AdamOptions>("Adam", [](auto&) {})),
      optimizer_case<Adam, AdamOptions>("Adam amsgrad", [](auto& o) { o.amsgrad(true); }),
      optimizer_case<AdamW, AdamWOptions>("AdamW", [](auto& o) { o.weight_decay(0); }),
      optimizer_case<AdamW, AdamWOptions>("AdamW amsgrad",
                                          [](auto& o) { o.weight_decay(0).amsgrad(true); }),
  };
}

inline Tensor row(const std::vector<double>& numbers) {
  return torch::tensor(numbers, torch::kDouble);
}

/// One step of an optimizer with this gradient.
inline void step_with(torch::optim::Optimizer& optimizer, const Tensor& w, const Tensor& gradient) {
  w.mutable_grad() = gradient.clone();
  optimizer.step();
}

/// What torch::save() writes, and torch::load() of it.
template <class Value>
std::string saved(const Value& value) {
  std::ostringstream stream;
  torch::save(value, stream);
  return stream.str();
}
template <class Value>
void load(Value& value, const std::string& text) {
  std::istringstream stream(text);
  torch::load(value, stream);
}

/// One training step of a net on random data.
template <class Prox>
void train(Net& net, torch::optim::Optimizer& optimizer, Prox& prox) {
  const Tensor x = torch::randn({8, 3});
  optimizer.zero_grad();
  (net->forward(x) - x.narrow(1, 0, 2)).square().mean().backward();
  optimizer.step();
  prox.step();
}

inline std::vector<Tensor> copies(Net& net) {
  std::vector<Tensor> copies;
  for (const Tensor& p : net->parameters()) copies.push_back(p.detach().clone());
  return copies;
}

/// The memory of the first tensor in a saved state; undefined where there is none.
template <class Prox>
Tensor memory_of(const Prox& prox) {
  std::istringstream stream(saved(prox));
  torch::serialize::InputArchive archive;
  archive.load_from(stream);
  Tensor memory;
  archive.try_read("memory0", memory, /*is_buffer=*/true);
  return memory;
}

inline void set_lr(torch::optim::Optimizer& optimizer, double lr) {
  for (auto& group : optimizer.param_groups()) group.options().set_lr(lr);
}

inline Tensor double_parameter(at::IntArrayRef sizes) {
  return torch::randn(sizes, torch::kDouble).requires_grad_();
}

}  // namespace support
