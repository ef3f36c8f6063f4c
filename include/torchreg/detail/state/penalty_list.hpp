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

  /// What binds a penalty to a parameter.
  Bound bound_to(std::size_t wanted, const Parameter& parameter) const {
    Bound bound;
    with_penalty(wanted, [&](const auto& penalty) {
      bound = detail::bound_to(penalty.formula(), factors_of(penalty), parameter);
    });
    return bound;
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
  for (std::size_t penalty = 0; penalty < sizeof...(Penalties); ++penalty) {
    Updates updates;
    std::vector<Entry*> owners;
    updates.reserve(entries.size());
    owners.reserve(entries.size());
    for (std::size_t i = 0; i < entries.size(); ++i) {
      Entry& entry = entries[i];
      const torch::Tensor& tensor = entry.parameter.tensor;
      if (entry.penalty != penalty || entry.pending == 0 || !tensor.requires_grad()) continue;
      updates.push_back(entry.pending_update(readings[i]));
      updates.back().numbers.weight = newest_weight(entry.pending, entry.steps, n);
      owners.push_back(&entry);
    }
    penalties.with_penalty(penalty, [&](const auto& own) {
      for (Update& update : updates) update.numbers.strength *= factors_of(own).number();
      prox_all(own.formula(), std::move(updates), [&](std::size_t i) { owners[i]->settle(); });
    });
  }
}

}  // namespace torchreg::detail
