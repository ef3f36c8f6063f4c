#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <torchreg/detail/engine/bind.hpp>
#include <torchreg/detail/formula/declared.hpp>
#include <torchreg/detail/state/entry.hpp>

namespace torchreg::detail {

template <class T, class = void>
constexpr bool is_penalty = false;
template <class T>
constexpr bool is_penalty<T, std::void_t<decltype(std::declval<const T&>().formula()),
                                         decltype(std::declval<const T&>().selector())>> = true;

template <class Penalty>
using FactorsOf = decltype(a<Penalty>().factors());

/// What a penalty is multiplied by; 1 for a class of a user's own.
template <class Penalty>
const Factors& factors_of([[maybe_unused]] const Penalty& penalty) {
  static const Factors none;
  if constexpr (Has<FactorsOf, Penalty>::value)
    return penalty.factors();
  else
    return none;
}

/// True, or the error of require_prox().
template <class Penalty>
constexpr bool has_prox = [] {
  if constexpr (is_penalty<Penalty>) {
    require_prox<std::decay_t<decltype(std::declval<Penalty>().formula())>>();
  }
  return true;
}();

/// An error for a penalty that takes one step for all entries.
template <class Formula>
void refuse_steps_of_entries([[maybe_unused]] const Formula& formula,
                             [[maybe_unused]] const std::string& whose) {
  if constexpr (takes_one_step<Formula>) {
    TORCH_CHECK_VALUE(false, "ProximalStep: ", name_of<Formula>(),
                      " has no exact prox for a step per entry (", whose, "); ", Formula::instead);
  }
}

/// The penalties of one ProximalStep, of different types, by their index.
template <class... Penalties>
struct PenaltyList {
  static_assert((has_prox<Penalties> && ...));

  std::tuple<Penalties...> tuple;

  void check() const {
    std::apply([](const auto&... each) { (check_strengths(each.formula()), ...); }, tuple);
  }

  /// Of each penalty, whether its zeros remember.
  std::vector<bool> have_memory() const {
    return std::apply(
        [](const auto&... each) { return std::vector<bool>{has_memory(each.formula())...}; },
        tuple);
  }

  /// What binds the penalties to their entries.
  std::vector<Bound> bounds_of(const std::vector<Entry>& entries) const {
    std::vector<Bound> bounds(entries.size());
    for (std::size_t index = 0; index < sizeof...(Penalties); ++index) {
      std::vector<Parameter> own;
      for (const Entry& entry : entries) {
        if (entry.penalty == index) own.push_back(entry.parameter);
      }
      with_penalty(index, [&](const auto& penalty) {
        const auto of_own =
            detail::bounds_of(penalty.formula(), factors_of(penalty), Parameters(own));
        auto next = of_own.begin();
        for (std::size_t i = 0; i < entries.size(); ++i) {
          if (entries[i].penalty == index) bounds[i] = *next++;
        }
      });
    }
    return bounds;
  }

  /// An error where a penalty takes one step for all entries, and the optimizer has one for each.
  void check_optimizer(const std::vector<Entry>& entries,
                       const std::vector<Reading>& readings) const {
    for (std::size_t i = 0; i < entries.size(); ++i) {
      const std::string optimizer = readings[i].optimizer;
      with_penalty(entries[i].penalty, [&](const auto& penalty) {
        if (!optimizer.empty()) refuse_steps_of_entries(penalty.formula(), optimizer);
      });
    }
  }

  /// How the groups of each entry lie, which its memory is of; nothing of a penalty of entries.
  std::vector<std::string> groups_of(const std::vector<Entry>& entries) const {
    std::vector<std::string> texts(entries.size());
    for (std::size_t index = 0; index < sizeof...(Penalties); ++index) {
      with_penalty(index, [&](const auto& penalty) {
        if constexpr (is_grouped<std::decay_t<decltype(penalty.formula())>>) {
          std::vector<std::size_t> own;
          for (std::size_t i = 0; i < entries.size(); ++i) {
            if (entries[i].penalty == index) own.push_back(i);
          }
          const auto parameter_of = [&](std::size_t i) -> auto& {
            return entries[own[i]].parameter;
          };
          for (const auto& problem : problems_of(penalty.formula(), own.size(), parameter_of)) {
            const std::string& first = parameter_of(problem.parts[0].index).path;
            for (const auto& part : problem.parts) {
              const bool is_linked = penalty.formula().grouping.links() != nullptr;
              texts[own[part.index]] =
                  c10::str(part.layout.describe(), is_linked ? " linked to " : "",
                           is_linked ? literal(first) : "");
            }
          }
        }
      });
    }
    return texts;
  }

  std::vector<std::string> describe() const {
    using Texts = std::vector<std::string>;
    return std::apply(
        [](const auto&... each) {
          return Texts{describe_penalty(each.formula(), factors_of(each))...};
        },
        tuple);
  }

  template <class Act>
  void with_penalty(std::size_t wanted, const Act& act) const {
    std::size_t index = 0;
    const auto visit = [&](const auto& penalty) {
      if (index++ == wanted) act(penalty);
    };
    std::apply([&](const auto&... each) { (visit(each), ...); }, tuple);
  }
};

/// act(penalty, updates) for each penalty, whose updates have no steps.
template <class... Penalties, class Act>
void for_each_penalty(const std::vector<Entry>& entries, const PenaltyList<Penalties...>& penalties,
                      const Act& act) {
  for (std::size_t index = 0; index < sizeof...(Penalties); ++index) {
    penalties.with_penalty(index, [&](const auto& penalty) {
      Updates updates;
      for (const Entry& entry : entries) {
        if (entry.penalty != index) continue;
        entry.check_shape();
        entry.append_to(updates).numbers.strength *= factors_of(penalty).number();
      }
      act(penalty, updates);
    });
  }
}

}  // namespace torchreg::detail
