#pragma once

#include <torch/nn/module.h>

#include <cstddef>
#include <string>
#include <type_traits>
#include <unordered_map>
#include <vector>

#include <torchreg/detail/text/checks.hpp>
#include <torchreg/parameters.hpp>
#include <torchreg/selectors/paths.hpp>
#include <torchreg/selectors/roles.hpp>
#include <torchreg/selectors/selector.hpp>
#include <torchreg/selectors/shapes.hpp>
#include <torchreg/selectors/types.hpp>
#include <torchreg/selectors/where.hpp>

namespace torchreg {

namespace detail {

template <class T, class = void>
struct PointsToModule : std::false_type {};
template <class T>
struct PointsToModule<T, std::void_t<decltype(*std::declval<const T&>())>>
    : std::is_base_of<torch::nn::Module, std::decay_t<decltype(*std::declval<const T&>())>> {};

/// A torch::nn::Module, or what dereferences to one: a holder, a smart or a plain pointer.
template <class T>
constexpr bool is_module = std::is_base_of_v<torch::nn::Module, T> || PointsToModule<T>::value;

/// A module of another kind, whose parameters have paths: jit.hpp says what they are.
template <class T>
struct OtherModule : std::false_type {};

/// Takes part in overloads beside Parameters: what is no list of tensors must be a module, or
/// as_module() says what is taken.
template <class T>
using IfNoTensors = std::enable_if_t<!std::is_convertible_v<const T&, Parameters>>;

template <class T>
std::conditional_t<OtherModule<T>::value, const T&, const torch::nn::Module&> as_module(
    const T& module) {
  static_assert(is_module<T> || OtherModule<T>::value,
                "torchreg takes a torch::nn::Module, what points to one, or tensors; of a "
                "torch::jit::Module, include torchreg/jit.hpp");
  if constexpr (std::is_base_of_v<torch::nn::Module, T> || OtherModule<T>::value) {
    return module;
  } else if constexpr (is_module<T>) {
    TORCH_CHECK_VALUE(static_cast<bool>(module), "select: the module is a null pointer");
    return *module;
  } else {
    TORCH_CHECK(false);
  }
}

inline void append_parameters(const torch::nn::Module& module, const std::string& prefix,
                              std::vector<Parameter>& parameters) {
  for (const auto& own : module.named_parameters(/*recurse=*/false)) {
    parameters.push_back({prefix + own.key(), own.value(), &module});
  }
  for (const auto& child : module.named_children()) {
    append_parameters(*child.value(), prefix + child.key() + '.', parameters);
  }
}

/// Every parameter under every path, in the module's own order.
inline std::vector<Parameter> parameters_of(const torch::nn::Module& module) {
  std::vector<Parameter> parameters;
  append_parameters(module, "", parameters);
  TORCH_CHECK_VALUE(!parameters.empty(),
                    "select: the module has no parameters; were its submodules registered with "
                    "register_module?");
  return parameters;
}

template <class T>
std::vector<Parameter> parameters_of(const T& module) {
  return OtherModule<T>::parameters(module);
}

/// Gathers the paths of each tensor, in the order of the first ones.
inline std::vector<Aliases> by_tensor(const std::vector<Parameter>& parameters) {
  std::vector<Aliases> tensors;
  std::unordered_map<const c10::TensorImpl*, std::size_t> index;
  for (const Parameter& parameter : parameters) {
    const auto* identity = parameter.tensor.unsafeGetTensorImpl();
    const auto [position, is_new] = index.emplace(identity, tensors.size());
    if (is_new) tensors.emplace_back();
    tensors[position->second].push_back(parameter);
  }
  return tensors;
}

inline std::string first_paths(const std::vector<Parameter>& list) {
  std::vector<std::string> paths = Parameters(list).paths();
  const bool cut = paths.size() > 20;
  if (cut) paths.resize(20);
  return literals(paths) + (cut ? ", ..." : "");
}

/// select() of all parameters; an integer or complex tensor is reported in the name of `who`.
inline Parameters select_from(const std::string& who, const std::vector<Parameter>& parameters,
                              const Selector& selector) {
  selector.rule().check_names(parameters);

  std::vector<Parameter> trainable, selected, frozen;
  for (const Aliases& aliases : by_tensor(parameters)) {
    const Parameter& first = aliases.front();
    const bool is_trainable = first.tensor.requires_grad() && first.tensor.is_floating_point();
    if (is_trainable) trainable.push_back(first);
    if (!selector.rule().holds(aliases)) continue;
    if (selector.rule().names(aliases)) check_floating(who, first);
    (is_trainable ? selected : frozen).push_back(first);
  }
  if (selected.empty()) {
    for (const Parameter& parameter : frozen) check_floating(who, parameter);
    TORCH_CHECK_VALUE(
        frozen.empty(), "select: ", selector.describe(),
        " selects only frozen parameters (requires_grad is false): ", first_paths(frozen));
    TORCH_CHECK_VALUE(
        !trainable.empty(), "select: ", selector.describe(),
        " selects none of the 0 trainable parameters; all are frozen: ", first_paths(parameters));
    TORCH_CHECK_VALUE(false, "select: ", selector.describe(), " selects none of the ",
                      trainable.size(), " trainable parameters: ", first_paths(trainable),
                      "; everything() takes them all, and a tensor itself can be passed too");
  }
  return Parameters(selected);
}

template <class Module>
Parameters select_for(const std::string& who, const Module& module, const Selector& selector) {
  return select_from(who, parameters_of(module), selector);
}

}  // namespace detail

/// The trainable floating-point parameters of `module` for which `selector` holds, in the module's
/// own order, each tensor once, under its first path. `module` is a torch::nn::Module or anything
/// that dereferences to one.
///
/// Throws if nothing is selected, if only frozen parameters would be, if a name in the selector
/// matches no parameter of the module, or if it is that of an integer or complex tensor.
template <class Module, class = detail::IfNoTensors<Module>>
Parameters select(const Module& module, const Selector& selector) {
  return detail::select_for("select", detail::as_module(module), selector);
}

/// The same of a list of parameters with paths of your own, whoever holds them. A name in the
/// selector that is none of the list's is an error here too. None has an owner, so normalization()
/// holds for none.
inline Parameters select(const std::vector<Parameter>& parameters, const Selector& selector) {
  std::vector<Parameter> list;
  for (const Parameter& parameter : parameters) {
    TORCH_CHECK_VALUE(parameter.tensor.defined(), "select: ", detail::literal(parameter.path),
                      " is undefined");
    list.push_back({parameter.path, parameter.tensor});
  }
  TORCH_CHECK_VALUE(!list.empty(), "select: the list of parameters is empty");
  return detail::select_from("select", list, selector);
}
inline Parameters select(const Parameters& parameters, const Selector& selector) {
  return select(std::vector<Parameter>(parameters.begin(), parameters.end()), selector);
}

}  // namespace torchreg
