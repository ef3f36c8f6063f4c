#pragma once

#include <ATen/Parallel.h>

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

#include <torchreg/detail/engine/memory.hpp>
#include <torchreg/detail/engine/prox_all.hpp>
#include <torchreg/detail/state/penalty_list.hpp>

namespace torchreg::detail {

/// Whether each tensor is stepped for itself, whatever others there are, and none is refused.
template <class Formula>
constexpr bool is_stepped_alone =
    is_separable<Formula> && !has_data_of_all<Formula> && !takes_one_step<Formula>;

/// An error where linked tensors, which are one problem, have different steps.
template <class Formula>
void check_links([[maybe_unused]] const Formula& formula,
                 [[maybe_unused]] const std::vector<const Entry*>& entries,
                 [[maybe_unused]] const std::vector<double>& rates) {
  if constexpr (is_grouped<Formula>) {
    const auto parameter_of = [&](std::size_t i) -> auto& { return entries[i]->parameter; };
    for (const Problem& problem : problems_of(formula, entries.size(), parameter_of)) {
      for (const auto& part : problem.parts) {
        if (rates[part.index] == rates[problem.parts[0].index]) continue;
        refuse_steps_of_entries(formula, "linked tensors of different steps");
      }
    }
  }
}

/// An error where a penalty takes one step for all entries, and has one for each: of what is
/// pending, and of more moves whose gradients are scaled.
template <class... Penalties>
void check_steps(const std::vector<Entry>& entries, const std::vector<Reading>& readings,
                 const std::vector<int64_t>& moves, double scale,
                 const PenaltyList<Penalties...>& penalties) {
  for (std::size_t index = 0; index < sizeof...(Penalties); ++index) {
    penalties.with_penalty(index, [&](const auto& penalty) {
      if constexpr (takes_one_step<std::decay_t<decltype(penalty.formula())>>) {
        std::vector<const Entry*> own;
        std::vector<double> rates;
        for (std::size_t i = 0; i < entries.size(); ++i) {
          const Entry& entry = entries[i];
          if (entry.penalty != index) continue;
          const bool steps = entry.parameter.tensor.requires_grad();
          const double rate = steps ? entry.pending_rate_with(readings[i], moves[i], scale) : 0;
          const bool has_steps =
              readings[i].state.moment.defined() || readings[i].state.given.defined();
          if (rate > 0 && has_steps) refuse_steps_of_entries(penalty.formula(), "its steps");
          own.push_back(&entry);
          rates.push_back(rate);
        }
        check_links(penalty.formula(), own, rates);
      }
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

/// Updates of a penalty, and whose they are.
struct Pending {
  Updates updates{};
  std::vector<Entry*> owners{};

  template <class Formula>
  void carry_out(const Formula& formula) {
    prox_all(formula, updates, [this](std::size_t i) { owners[i]->settle(); });
    updates.clear(), owners.clear();
  }
};

/// The prox for each entry that has pending moves, with memory n.
template <class... Penalties>
void act(std::vector<Entry>& entries, const std::vector<Reading>& readings,
         const PenaltyList<Penalties...>& penalties, int64_t n) {
  const SkipWrites at_the_end{entries};
  const auto for_each_pending = [&](std::size_t index, const auto& penalty, const auto& take) {
    for (std::size_t i = 0; i < entries.size(); ++i) {
      Entry& entry = entries[i];
      if (entry.penalty != index) continue;
      entry.prepare_memory(n > 0 && has_memory(penalty.formula()));
      const bool steps = entry.pending > 0 && entry.parameter.tensor.requires_grad();
      if (!steps && !is_linked(penalty.formula())) continue;
      Pending& to = take(entry);
      Numbers& numbers = (steps ? entry.append_pending(to.updates, readings[i])
                                : entry.append_with_memory(to.updates))
                             .numbers;
      numbers.weight = newest_weight(entry.pending, entry.steps, n);
      numbers.strength *= factors_of(penalty).number();
      to.owners.push_back(&entry);
    }
  };
  for (std::size_t index = 0; index < sizeof...(Penalties); ++index) {
    penalties.with_penalty(index, [&](const auto& penalty) {
      Pending all;
      if constexpr (is_stepped_alone<std::decay_t<decltype(penalty.formula())>>) {
        // What is looked up of some on the CPU is in its cache when they are written; several
        // threads share more of them.
        const std::size_t some_are = at::get_num_threads() == 1 ? 128 : 512;
        Pending some;
        for_each_pending(index, penalty, [&](const Entry& entry) -> Pending& {
          if (some.owners.size() == some_are) some.carry_out(penalty.formula());
          return entry.parameter.tensor.is_cpu() ? some : all;
        });
        some.carry_out(penalty.formula());
      } else {
        for_each_pending(index, penalty, [&](const Entry&) -> Pending& { return all; });
      }
      all.carry_out(penalty.formula());
    });
  }
}

}  // namespace torchreg::detail
