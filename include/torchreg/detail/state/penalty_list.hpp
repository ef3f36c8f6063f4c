#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <torchreg/detail/engine/prox_all.hpp>
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

/// The penalties of one ProximalStep, of different types, by their index.
template <class Formula>
void refuse_steps_of_entries([[maybe_unused]] const Formula& formula,
                             [[maybe_unused]] const std::string& whose) {
  if constexpr (takes_one_step<Formula>) {
    TORCH_CHECK_VALUE(false, "ProximalStep: ", name_of<Formula>(),
                      " has no exact prox for a step per entry (", whose, "); ", Formula::instead);
  }
}

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

/// The same where the steps of some updates, of which linked ones are one problem, differ.
template <class Formula>
void check_steps([[maybe_unused]] const Formula& formula, const Updates& updates) {
  if constexpr (takes_one_step<Formula>) {
    for (const Update& update : updates) {
      const bool is_one = !update.tensors.moment.defined() && !update.tensors.given.defined();
      if (!is_one) refuse_steps_of_entries(formula, "its steps");
    }
    if constexpr (is_grouped<Formula>) {
      for (const Problem& problem : problems_of(formula, updates)) {
        for (const auto& part : problem.parts) {
          const double rate = updates[problem.parts[0].index].numbers.rate;
          if (updates[part.index].numbers.rate != rate) {
            refuse_steps_of_entries(formula, "linked tensors of different steps");
          }
        }
      }
    }
  }
}

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
        updates.push_back({entry.bound_tensors(), {}, &entry.parameter});
        updates.back().numbers.strength = entry.strength * factors_of(penalty).number();
      }
      act(penalty, updates);
    });
  }
}

/// Takes what is written in its life for the prox's own, also where a formula throws: on all
/// entries, as views of one tensor have one version.
struct SkipWrites {
  std::vector<Entry>& entries;
  ~SkipWrites() {
    for (Entry& entry : entries) entry.watch.skip(entry.parameter.tensor);
  }
};

/// The prox for each entry that has pending moves, with memory n.
template <class... Penalties>
void act(std::vector<Entry>& entries, const std::vector<Reading>& readings,
         const PenaltyList<Penalties...>& penalties, int64_t n) {
  const SkipWrites at_the_end{entries};
  struct Pending {
    Updates updates;
    std::vector<Entry*> owners;
  };
  std::vector<Pending> of_penalty(sizeof...(Penalties));
  for (std::size_t penalty = 0; penalty < sizeof...(Penalties); ++penalty) {
    auto& [updates, owners] = of_penalty[penalty];
    updates.reserve(entries.size());
    owners.reserve(entries.size());
    penalties.with_penalty(penalty, [&, &updates = updates, &owners = owners](const auto& own) {
      for (std::size_t i = 0; i < entries.size(); ++i) {
        Entry& entry = entries[i];
        if (entry.penalty != penalty) continue;
        const bool steps = entry.pending > 0 && entry.parameter.tensor.requires_grad();
        if (!steps && !is_linked(own.formula())) continue;
        updates.push_back(steps ? entry.pending_update(readings[i]) : entry.resting_update());
        updates.back().numbers.weight = newest_weight(entry.pending, entry.steps, n);
        updates.back().numbers.strength *= factors_of(own).number();
        owners.push_back(&entry);
      }
      check_steps(own.formula(), updates);
    });
  }
  for (std::size_t penalty = 0; penalty < sizeof...(Penalties); ++penalty) {
    auto& [updates, owners] = of_penalty[penalty];
    penalties.with_penalty(penalty, [&, &updates = updates, &owners = owners](const auto& own) {
      prox_all(own.formula(), std::move(updates), [&](std::size_t i) { owners[i]->settle(); });
    });
  }
}

}  // namespace torchreg::detail
