#pragma once

#include <torch/types.h>

#include <limits>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <torchreg/detail/formula/number.hpp>

namespace torchreg::detail {

// What a formula, a plain struct with the mathematics of one penalty, is able to do.

template <class Formula, class = void>
struct HasValue : std::false_type {};
template <class Formula>
struct HasValue<Formula, std::void_t<decltype(std::declval<const Formula&>().value(
                             std::declval<const torch::Tensor&>()))>> : std::true_type {};

template <class Formula, class = void>
struct HasSlope : std::false_type {};
template <class Formula>
struct HasSlope<Formula, std::void_t<decltype(std::declval<const Formula&>().slope(
                             std::declval<const torch::Tensor&>()))>> : std::true_type {};

template <class Formula, class = void>
struct HasProx : std::false_type {};
template <class Formula>
struct HasProx<Formula,
               std::void_t<decltype(std::declval<const Formula&>().prox(
                   std::declval<const torch::Tensor&>(), std::declval<const torch::Tensor&>()))>>
    : std::true_type {};

template <class Formula>
constexpr void require_value() {
  static_assert(HasValue<Formula>::value,
                "this penalty has no value: add  template <class X> X value(const X& w) const");
}

template <class Formula>
constexpr void require_prox() {
  static_assert(HasProx<Formula>::value,
                "this penalty has no prox: add  "
                "template <class X> X prox(const X& w, const X& step) const");
}

/// Formulas are separable, so that any piece of a tensor can be passed, unless they say otherwise.
template <class Formula, class = void>
struct IsSeparable : std::true_type {};
template <class Formula>
struct IsSeparable<Formula, std::void_t<decltype(Formula::is_separable)>>
    : std::bool_constant<Formula::is_separable> {};

/// Whether value, slope and prox do for Lanes too, as a separable formula may say.
template <class Formula, class = void>
struct TakesLanes : std::false_type {};
template <class Formula>
struct TakesLanes<Formula, std::void_t<decltype(Formula::takes_lanes)>>
    : std::bool_constant<Formula::takes_lanes && IsSeparable<Formula>::value> {};

template <class Formula, class = void>
struct HasName : std::false_type {};
template <class Formula>
struct HasName<Formula, std::void_t<decltype(std::string(Formula::name))>>
    : std::bool_constant<!std::is_member_object_pointer_v<decltype(&Formula::name)>> {};

template <class Formula, class = void>
struct HasStrengths : std::false_type {};
template <class Formula>
struct HasStrengths<Formula, std::void_t<decltype(std::declval<const Formula&>().strengths())>>
    : std::true_type {};

/// What errors and tables call a formula.
template <class Formula>
std::string name_of() {
  if constexpr (HasName<Formula>::value) return std::string(Formula::name);
  return "Penalty";
}

/// A number in a formula that must be finite and >= 0, with its name.
using Strength = std::pair<const char*, double>;

template <class Formula>
void check_strengths([[maybe_unused]] const Formula& formula) {
  if constexpr (HasStrengths<Formula>::value) {
    for (const auto& [name, value] : formula.strengths()) {
      check_strength(name_of<Formula>() + ": " + name, value);
    }
  }
}

/// "ElasticNet(l1 = 0.1, l2 = 0.2)"
template <class Formula>
std::string describe_formula([[maybe_unused]] const Formula& formula) {
  std::string list;
  if constexpr (HasStrengths<Formula>::value) {
    for (const auto& [name, value] : formula.strengths()) {
      list += (list.empty() ? "" : ", ") + std::string(name) + " = " + c10::str(value);
    }
  }
  return name_of<Formula>() + (list.empty() ? "" : "(" + list + ")");
}

/// How a prox treats special entries, found by asking it.
struct ProxTraits {
  bool makes_zeros;      ///< small entries become 0: L1, but not L2, nor an L1 whose lambda is 0
  bool keeps_nonfinite;  ///< NaN and infinities come back as they are
};

template <class Formula>
ProxTraits prox_traits(const Formula& formula) {
  if constexpr (!IsSeparable<Formula>::value) return {true, false};
  const double inf = std::numeric_limits<double>::infinity();
  const double nan = std::numeric_limits<double>::quiet_NaN();
  double probe[] = {1e-150, nan, inf, -inf};  // no denormals, which may be flushed to 0
  const auto w = torch::from_blob(probe, {4}, torch::kDouble);
  const torch::Tensor z = formula.prox(w, torch::ones({}, torch::kDouble));
  if (!z.defined() || z.numel() != 4) return {true, false};  // refused where it is taken
  const auto all = z.to(torch::kDouble).contiguous();
  const double* x = all.template data_ptr<double>();
  return {x[0] == 0, x[1] != x[1] && x[2] == inf && x[3] == -inf};
}

}  // namespace torchreg::detail
