#pragma once

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include <algorithm>
#include <string>
#include <type_traits>
#include <typeinfo>
#include <utility>
#include <vector>

#include <torchreg/detail/text/text.hpp>
#include <torchreg/selectors/selector.hpp>

namespace torchreg {

namespace detail {

/// torch::nn::LinearImpl for torch::nn::Linear, which holds it, and for itself.
template <class Module, class = void>
struct Implementation {
  using type = Module;
};
template <class Holder>
struct Implementation<Holder, std::enable_if_t<torch::detail::is_module_holder<Holder>::value>> {
  using type = typename Holder::ContainedType;
};

/// The unqualified name of the module's C++ type without "Impl", as users write the holder.
inline std::string holder_name(const torch::nn::Module& module) {
  std::string name = unqualified_name(typeid(module));
  name = name.substr(0, name.find('<'));  // of a class template
  return ends_with(name, "Impl") ? name.substr(0, name.size() - 4) : name;
}

}  // namespace detail

/// Selects the parameters that a module of type `Module`, or of a class derived from it, registered
/// itself; takes the holder (`torch::nn::Linear`) or the Impl. An error if the model has none.
template <class Module>
Selector of_type() {
  using Implementation = typename detail::Implementation<Module>::type;
  const std::string text = c10::str("of_type<", detail::qualified_name(typeid(Module)), ">()");
  const auto owned = [](const Parameter& p) {
    return dynamic_cast<const Implementation*>(p.owner) != nullptr;
  };
  detail::Rule rule = Selector(owned, text).rule();
  rule.check_names = [owned, text](const std::vector<Parameter>& parameters) {
    if (std::any_of(parameters.begin(), parameters.end(), owned)) return;
    std::vector<std::string> types;
    for (const Parameter& p : parameters) {
      if (p.owner != nullptr) types.push_back(detail::holder_name(*p.owner));
    }
    TORCH_CHECK_VALUE(false, "select: ", text, " matches no parameter",
                      detail::did_you_mean(detail::unqualified_name(typeid(Module)), types));
  };
  return Selector(std::move(rule));
}

}  // namespace torchreg
