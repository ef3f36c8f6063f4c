#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <torchreg/detail/engine/prox_all.hpp>
#include <torchreg/detail/formula/traits.hpp>
#include <torchreg/detail/state/entry.hpp>

namespace torchreg::detail {

template <class T, class = void>
constexpr bool is_penalty = false;
template <class T>
constexpr bool is_penalty<T, std::void_t<decltype(std::declval<const T&>().formula()),
                                         decltype(std::declval<const T&>().selector())>> = true;

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

  /// The data of a penalty for a parameter.
  torch::Tensor data_of(std::size_t penalty, const Parameter& parameter) const {
    torch::Tensor data;
    with_formula(penalty, [&](const auto& formula) { data = detail::data_of(formula, parameter); });
    return data;
  }

  std::vector<std::string> describe() const {
    using Texts = std::vector<std::string>;
    return std::apply(
        [](const auto&... each) { return Texts{describe_formula(each.formula())...}; }, tuple);
  }

  template <class Act>
  void with_formula(std::size_t wanted, const Act& act) const {
    std::size_t index = 0;
    const auto visit = [&](const auto& penalty) {
      if (index++ == wanted) act(penalty.formula());
    };
    std::apply([&](const auto&... each) { (visit(each), ...); }, tuple);
  }
};

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
    penalties.with_formula(penalty, [&](const auto& formula) {
      prox_all(formula, std::move(updates), [&](std::size_t i) { owners[i]->settle(); });
    });
  }
}

}  // namespace torchreg::detail
