#pragma once

#include <torch/types.h>

#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <torchreg/formula.hpp>
#include <torchreg/parameters.hpp>

namespace torchreg::detail {

// What a formula has, and what it declares.

template <template <class> class Expression, class Formula, class = void>
struct Has : std::false_type {};
template <template <class> class Expression, class Formula>
struct Has<Expression, Formula, std::void_t<Expression<Formula>>> : std::true_type {};

using Tensors = std::vector<torch::Tensor>;

/// One of this type, in expressions that are not evaluated.
template <class T>
const T& a();

template <class Formula>
using DataOfOne = decltype(torch::Tensor(a<Formula>().data(a<Parameter>())));
template <class Formula>
using DataOfAll = decltype(Tensors(a<Formula>().data(a<Tensors>(), a<Tensors>())));

template <class Formula>
constexpr bool has_data_of_one = Has<DataOfOne, Formula>::value;
template <class Formula>
constexpr bool has_data_of_all = Has<DataOfAll, Formula>::value;
template <class Formula>
constexpr bool has_data = [] {
  static_assert(!has_data_of_one<Formula> || !has_data_of_all<Formula>,
                "this penalty has data of one parameter and of all: keep one of the two");
  return has_data_of_one<Formula> || has_data_of_all<Formula>;
}();

template <class Formula>
using ValueFace = decltype(a<Formula>().value(a<torch::Tensor>()));
template <class Formula>
using SlopeFace = decltype(a<Formula>().slope(a<torch::Tensor>()));
template <class Formula>
using ProxFace = decltype(a<Formula>().prox(a<torch::Tensor>(), a<torch::Tensor>()));
template <class Formula>
using ValueWithData = decltype(a<Formula>().value(a<torch::Tensor>(), a<torch::Tensor>()));
template <class Formula>
using SlopeWithData = decltype(a<Formula>().slope(a<torch::Tensor>(), a<torch::Tensor>()));
template <class Formula>
using ProxWithData =
    decltype(a<Formula>().prox(a<torch::Tensor>(), a<torch::Tensor>(), a<torch::Tensor>()));

template <class Formula>
struct HasValue
    : std::conditional_t<has_data<Formula>, Has<ValueWithData, Formula>, Has<ValueFace, Formula>> {
};
template <class Formula>
struct HasSlope
    : std::conditional_t<has_data<Formula>, Has<SlopeWithData, Formula>, Has<SlopeFace, Formula>> {
};
template <class Formula>
struct HasProx
    : std::conditional_t<has_data<Formula>, Has<ProxWithData, Formula>, Has<ProxFace, Formula>> {};

/// Whether a penalty has a slope, be it by autograd. A constraint, which is a prox alone, has none.
template <class Formula>
constexpr bool has_slope = HasSlope<Formula>::value || HasValue<Formula>::value;

/// A face that leaves out the data which a formula has would count as none, in silence.
template <class Formula>
constexpr void require_data_arguments() {
  static_assert(
      !has_data<Formula> || ((HasValue<Formula>::value || !Has<ValueFace, Formula>::value) &&
                             (HasSlope<Formula>::value || !Has<SlopeFace, Formula>::value)),
      "this penalty has data: they are the last argument of its value and slope too");
}

template <class Formula>
using StepInDouble = decltype(a<Formula>().prox(a<torch::Tensor>(), a<double>()));

template <class Formula>
using SaysConstraint = std::bool_constant<Formula::is_constraint>;
template <class Formula>
constexpr bool is_constraint = [] {
  if constexpr (Has<SaysConstraint, Formula>::value) return Formula::is_constraint;
  return false;
}();

template <class Formula>
constexpr void require_value() {
  require_data_arguments<Formula>();
  static_assert(!is_constraint<Formula>,
                "this is a constraint: as a term of the loss it would do nothing; use it in "
                "ProximalStep");
  static_assert(HasValue<Formula>::value || is_constraint<Formula>,
                "this penalty has no value: add  template <class X> X value(const X& w) const");
}

template <class Formula>
constexpr void require_prox() {
  require_data_arguments<Formula>();
  constexpr bool takes_number = Has<StepInDouble, Formula>::value && !HasProx<Formula>::value;
  static_assert(!takes_number,
                "this penalty's prox takes its step as a number, but each entry may have its own: "
                "make it  torch::Tensor prox(const torch::Tensor& w, const torch::Tensor& step)");
  static_assert(HasProx<Formula>::value || takes_number,
                "this penalty has no prox: add  "
                "template <class X> X prox(const X& w, const X& step) const");
}

template <class Formula>
using SaysSeparable = std::bool_constant<Formula::is_separable>;
template <class Formula>
using SaysDomain = std::integral_constant<Domain, Formula::domain>;
template <class Formula>
using SaysMemory = std::integral_constant<Memory, Formula::memory>;
template <class Formula>
using SaysLanes = std::bool_constant<Formula::takes_lanes>;

template <class Formula>
constexpr Domain domain_of() {
  if constexpr (Has<SaysDomain, Formula>::value) return Formula::domain;
  if constexpr (Has<SaysSeparable, Formula>::value) {
    return Formula::is_separable ? Domain::entries : Domain::tensor;
  }
  return Domain::entries;
}

/// Whether any piece of a tensor can be passed.
template <class Formula>
constexpr bool is_separable = domain_of<Formula>() == Domain::entries;

template <class Formula>
constexpr bool takes_lanes() {
  if constexpr (Has<SaysLanes, Formula>::value)
    return Formula::takes_lanes && is_separable<Formula>;
  return false;
}

template <class Formula>
using SaysZeros = decltype(bool(a<Formula>().makes_zeros()));

/// Whether zeros remember what holds them.
template <class Formula>
bool has_memory([[maybe_unused]] const Formula& formula) {
  if constexpr (Has<SaysMemory, Formula>::value) {
    if (Formula::memory == Memory::none) return false;
  } else if (!is_separable<Formula>) {
    return false;
  }
  if constexpr (Has<SaysZeros, Formula>::value) return formula.makes_zeros();
  return true;
}

template <class Formula, class = void>
struct HasName : std::false_type {};
template <class Formula>
struct HasName<Formula, std::void_t<decltype(std::string(Formula::name))>>
    : std::bool_constant<!std::is_member_object_pointer_v<decltype(&Formula::name)>> {};

/// What errors and tables call a formula.
template <class Formula>
std::string name_of() {
  if constexpr (HasName<Formula>::value) return std::string(Formula::name);
  return "Penalty";
}

template <class Formula>
using Strengths = decltype(a<Formula>().strengths());

/// visit(name, value, range) for each strength of a formula, which may be a pair of the first two.
template <class Formula, class Visit>
void for_each_strength([[maybe_unused]] const Formula& formula,
                       [[maybe_unused]] const Visit& visit) {
  if constexpr (Has<Strengths, Formula>::value) {
    for (const auto& strength : formula.strengths()) {
      if constexpr (std::is_convertible_v<decltype(strength), Strength>) {
        visit(strength.name, strength.value, strength.range);
      } else {
        const auto& [name, value] = strength;
        visit(name, value, at_least(0));
      }
    }
  }
}

template <class Formula>
void check_strengths(const Formula& formula) {
  for_each_strength(formula, [](const std::string& name, double value, const Range& range) {
    const bool fits = is_finite(value) && value <= range.high &&
                      (range.is_open ? value > range.low : value >= range.low);
    if (fits) return;
    const std::string required =
        is_finite(range.high)
            ? "in [" + c10::str(range.low) + ", " + c10::str(range.high) + "]"
            : std::string("finite and ") + (range.is_open ? "> " : ">= ") + c10::str(range.low);
    TORCH_CHECK_VALUE(false, name_of<Formula>(), ": ", name, " must be ", required, ", got ",
                      value);
  });
}

/// "ElasticNet(l1 = 0.1, l2 = 0.2)"
template <class Formula>
std::string describe_formula(const Formula& formula) {
  std::string list;
  for_each_strength(formula, [&](const std::string& name, double value, const Range&) {
    list += (list.empty() ? "" : ", ") + name + " = " + c10::str(value);
  });
  return name_of<Formula>() + (list.empty() ? "" : "(" + list + ")");
}

}  // namespace torchreg::detail
