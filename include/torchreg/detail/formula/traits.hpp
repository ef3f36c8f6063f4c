#pragma once

#include <torch/types.h>

#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <torchreg/formula.hpp>
#include <torchreg/parameters.hpp>

namespace torchreg::detail {

// What a formula has: its faces and its data, and the errors of those that are missing.

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
using SaysWeights = std::bool_constant<Formula::takes_weights>;
template <class Formula>
constexpr bool has_weights = [] {
  if constexpr (Has<SaysWeights, Formula>::value) return Formula::takes_weights;
  return false;
}();
/// Of the engine's operands; the weights of groups are found where they are laid out.
template <class Formula>
constexpr bool has_own_data = [] {
  static_assert(!has_data_of_one<Formula> || !has_data_of_all<Formula>,
                "this penalty has data of one parameter and of all: keep one of the two");
  return has_data_of_one<Formula> || has_data_of_all<Formula>;
}();
/// Whether its faces have a last argument.
template <class Formula>
constexpr bool has_data = has_own_data<Formula> || has_weights<Formula>;

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
                             (HasSlope<Formula>::value || !Has<SlopeFace, Formula>::value) &&
                             (HasProx<Formula>::value || !Has<ProxFace, Formula>::value)),
      "this penalty has data: they are the last argument of its value, slope and prox");
}

template <class Formula>
using StepInDouble = decltype(a<Formula>().prox(a<torch::Tensor>(), a<double>()));
template <class Formula>
using StepInDoubleWithData =
    decltype(a<Formula>().prox(a<torch::Tensor>(), a<double>(), a<torch::Tensor>()));

template <class Formula>
using SaysConstraint = std::bool_constant<Formula::is_constraint>;
template <class Formula>
constexpr bool is_constraint = [] {
  if constexpr (Has<SaysConstraint, Formula>::value) return Formula::is_constraint;
  return false;
}();

/// Of a penalty that counts entries or groups, and has no slope.
template <class Formula>
using SaysCount = std::bool_constant<Formula::is_count>;
template <class Formula>
constexpr bool is_count = [] {
  if constexpr (Has<SaysCount, Formula>::value) return Formula::is_count;
  return false;
}();

template <class Formula>
constexpr void require_value() {
  require_data_arguments<Formula>();
  static_assert(!is_count<Formula>,
                "L0 has no gradient: as a term of the loss it would do nothing; use it in "
                "ProximalStep");
  static_assert(!is_constraint<Formula>,
                "this is a constraint: as a term of the loss it would do nothing; use it in "
                "ProximalStep");
  static_assert(HasValue<Formula>::value || is_constraint<Formula> || is_count<Formula>,
                "this penalty has no value: add  template <class X> X value(const X& w) const");
}

template <class Formula>
constexpr void require_prox() {
  require_data_arguments<Formula>();
  constexpr bool takes_number =
      !HasProx<Formula>::value && (has_data<Formula> ? Has<StepInDoubleWithData, Formula>::value
                                                     : Has<StepInDouble, Formula>::value);
  static_assert(!takes_number,
                "this penalty's prox takes its step as a number, but each entry may have its own: "
                "make it  torch::Tensor prox(const torch::Tensor& w, const torch::Tensor& step)");
  static_assert(HasProx<Formula>::value || takes_number,
                "this penalty has no prox: add  "
                "template <class X> X prox(const X& w, const X& step) const");
}

}  // namespace torchreg::detail
