#pragma once

#include <torch/types.h>

#include <functional>
#include <string>
#include <type_traits>
#include <utility>

#include <torchreg/detail/formula/declared.hpp>
#include <torchreg/detail/text/checks.hpp>
#include <torchreg/parameters.hpp>

namespace torchreg::detail {

/// What a penalty is multiplied by at one parameter.
struct Factor {
  double number = 1;
  torch::Tensor entries{};  ///< a factor each, which broadcast to the parameter
  bool is_tensor = false;
};

/// What a penalty is multiplied by: a number, times what a callable says of each parameter.
class Factors {
 public:
  double number() const { return number_; }
  bool has_callable() const { return of_parameter_ != nullptr; }

  /// Takes a number, or a callable that returns a number or a tensor for a parameter.
  template <class C>
  void set(const std::string& who, C c) {
    if constexpr (std::is_arithmetic_v<C>) {
      check_strength(who + ": factor", static_cast<double>(c));
      number_ = static_cast<double>(c);
    } else {
      static_assert(std::is_invocable_v<C, const Parameter&>,
                    "scaled_by takes a number >= 0, or a callable (const torchreg::Parameter&) -> "
                    "double or torch::Tensor");
      using Result = std::decay_t<std::invoke_result_t<C, const Parameter&>>;
      of_parameter_ = [c = std::move(c)](const Parameter& parameter) {
        if constexpr (std::is_arithmetic_v<Result>) {
          return Factor{static_cast<double>(c(parameter)), {}, false};
        } else {
          return Factor{1, torch::Tensor(c(parameter)), true};
        }
      };
    }
  }

  /// What the callable says of a parameter. Does not wait for a device.
  Factor at(const std::string& who, const Parameter& parameter) const {
    Factor factor = of_parameter_(parameter);
    const std::string what = who + ": factor of " + literal(parameter.path);
    check_strength(what, factor.number);
    if (!factor.is_tensor) return factor;
    check_strengths_in(what, factor.entries);
    check_broadcasts(who + ": factor", factor.entries, parameter);
    const bool is_number = factor.entries.dim() == 0 && factor.entries.is_cpu() &&
                           !factor.entries.requires_grad();  // else refused, as entries are
    return is_number ? Factor{factor.entries.item<double>(), {}, false} : factor;
  }

 private:
  double number_ = 1;
  std::function<Factor(const Parameter&)> of_parameter_;
};

/// "2 * L1(lambda = 0.1)", or "factors * L1(lambda = 0.1)".
template <class Formula>
std::string describe_penalty(const Formula& formula, const Factors& factors) {
  std::string text = describe_formula(formula);
  if (factors.has_callable()) text = "factors * " + text;
  if (factors.number() != 1) text = c10::str(factors.number()) + " * " + text;
  return text;
}

}  // namespace torchreg::detail
