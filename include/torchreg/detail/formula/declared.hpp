#pragma once

#include <string>
#include <type_traits>

#include <torchreg/detail/formula/number.hpp>
#include <torchreg/detail/formula/traits.hpp>

namespace torchreg::detail {

// What a formula declares: its domain, its memory, its name, its strengths.

template <class Formula>
using SaysSeparable = std::bool_constant<Formula::is_separable>;
template <class Formula>
using SaysDomain = std::integral_constant<Domain, Formula::domain>;
template <class Formula>
using SaysMemory = std::integral_constant<Memory, Formula::memory>;
template <class Formula>
using SaysLanes = std::bool_constant<Formula::takes_lanes>;

template <class Formula>
using GroupingOf = decltype(a<Formula>().grouping);
template <class Formula>
using SaysSome = std::bool_constant<Formula::takes_some>;
template <class Formula>
using SaysNoThrow = std::bool_constant<Formula::never_throws>;
template <class Formula>
using SaysRest = std::bool_constant<Formula::rests_in_padding>;
template <class Formula>
using SaysKinks = std::bool_constant<Formula::has_other_kinks>;
template <class Formula>
using SaysSurvives = std::bool_constant<Formula::survives_rounding>;
template <class Formula>
using SaysInstead = decltype(std::string(Formula::instead));

template <class Formula>
constexpr Domain domain_of() {
  if constexpr (Has<SaysDomain, Formula>::value) return Formula::domain;
  if constexpr (Has<SaysSeparable, Formula>::value) {
    return Formula::is_separable ? Domain::entries : Domain::tensor;
  }
  return Has<GroupingOf, Formula>::value ? Domain::groups : Domain::entries;
}

struct NormStrengths;

template <class Formula>
using Norms = decltype(a<Formula>().norms());

/// Whether it is l1 sum |w| + group sum_g w_g ||w_g||, which has registers of its own.
template <class Formula>
constexpr bool is_of_norms = [] {
  if constexpr (Has<Norms, Formula>::value && has_weights<Formula>) {
    return std::is_same_v<Norms<Formula>, NormStrengths>;
  }
  return false;
}();

template <class Formula>
constexpr bool is_grouped = domain_of<Formula>() == Domain::groups;

/// Whether a formula of groups may get some of them without the others.
template <class Formula>
constexpr bool takes_some = [] {
  if constexpr (Has<SaysSome, Formula>::value) return Formula::takes_some;
  return false;
}();

/// Whether a formula of groups may be stopped by no error between some of them and the others.
template <class Formula>
constexpr bool never_throws = [] {
  if constexpr (Has<SaysNoThrow, Formula>::value) return Formula::never_throws;
  return false;
}();

template <class Formula>
constexpr bool rests_in_padding = [] {
  if constexpr (Has<SaysRest, Formula>::value) return Formula::rests_in_padding;
  return false;
}();

/// Whether its value has kinks where no entry is zero, as that of singular values.
template <class Formula>
constexpr bool has_other_kinks = [] {
  if constexpr (Has<SaysKinks, Formula>::value) return Formula::has_other_kinks;
  return false;
}();

/// Whether a point of its set that is rounded is one too, as zeros and signs alone tell.
template <class Formula>
constexpr bool survives_rounding = [] {
  if constexpr (Has<SaysSurvives, Formula>::value) return Formula::survives_rounding;
  return false;
}();

/// Whether its prox takes one step for all entries.
template <class Formula>
constexpr bool takes_one_step = Has<SaysInstead, Formula>::value;

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
using Kink = decltype(double(a<Formula>().kink()));

/// Whether it is a convex penalty of entries that says how steep it is beside 0. A constraint on
/// top of one holds from one side alone.
template <class Formula>
constexpr bool has_kink = [] {
  if constexpr (Has<Kink, Formula>::value) return is_separable<Formula> && !is_constraint<Formula>;
  return false;
}();

template <class Formula>
using SaysConstantSlope = std::bool_constant<Formula::has_constant_slope>;

/// Whether it is as steep everywhere as beside 0.
template <class Formula>
constexpr bool has_constant_slope = [] {
  if constexpr (Has<SaysConstantSlope, Formula>::value) return Formula::has_constant_slope;
  return false;
}();

template <class Formula>
using SaysZeros = decltype(bool(a<Formula>().makes_zeros()));

/// Whether zeros remember what holds them.
template <class Formula>
bool has_memory([[maybe_unused]] const Formula& formula) {
  if constexpr (Has<SaysMemory, Formula>::value) {
    if (Formula::memory == Memory::none) return false;
  } else if (domain_of<Formula>() == Domain::tensor) {
    return false;
  }
  if (is_grouped<Formula> && !has_slope<Formula>) return false;
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

/// Whether a strength is in its range, which infinities are if the range begins there.
inline bool is_in(const Range& range, double value) {
  if (!is_finite(range.low)) return !is_nan(value);
  return is_finite(value) && value <= range.high &&
         (range.is_open ? value > range.low : value >= range.low);
}

/// "finite and >= 0"
inline std::string describe_range(const Range& range) {
  if (!is_finite(range.low)) return "a number";
  const std::string low = c10::str(range.low);
  if (is_finite(range.high)) return "in [" + low + ", " + c10::str(range.high) + "]";
  return std::string("finite and ") + (range.is_open ? "> " : ">= ") + low;
}

template <class Formula>
using Check = decltype(a<Formula>().check());

template <class Formula>
void check_strengths(const Formula& formula) {
  for_each_strength(formula, [](const std::string& name, double value, const Range& range) {
    TORCH_CHECK_VALUE(is_in(range, value), name_of<Formula>(), ": ", name, " must be ",
                      describe_range(range), ", got ", value);
  });
  if constexpr (Has<Check, Formula>::value) formula.check();
}

/// "ElasticNet(l1 = 0.1, l2 = 0.2)", "TopK(k = 2, runs(4))"
template <class Formula>
std::string describe_formula(const Formula& formula) {
  std::string list;
  for_each_strength(formula, [&](const std::string& name, double value, const Range&) {
    list += (list.empty() ? "" : ", ") + name + " = " + c10::str(value);
  });
  if constexpr (Has<GroupingOf, Formula>::value) {
    const std::string grouping = formula.grouping.describe();
    if (!grouping.empty()) list += (list.empty() ? "" : ", ") + grouping;
  }
  return name_of<Formula>() + (list.empty() ? "" : "(" + list + ")");
}

}  // namespace torchreg::detail
