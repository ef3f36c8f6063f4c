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

/// An error where a penalty takes one step for all entries, and the steps of some updates, of which
/// linked ones are one problem, differ.
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
  std::vector<Pending> of_penalty(sizeof...(Penalties));
  for (std::size_t index = 0; index < sizeof...(Penalties); ++index) {
    penalties.with_penalty(index, [&](const auto& penalty) {
      if constexpr (!is_stepped_alone<std::decay_t<decltype(penalty.formula())>>) {
        Pending& all = of_penalty[index];
        for_each_pending(index, penalty, [&](const Entry&) -> Pending& { return all; });
        check_steps(penalty.formula(), all.updates);
      }
    });
  }
  for (std::size_t index = 0; index < sizeof...(Penalties); ++index) {
    penalties.with_penalty(index, [&](const auto& penalty) {
      Pending& all = of_penalty[index];
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
      }
      all.carry_out(penalty.formula());
    });
  }
}

}  // namespace torchreg::detail
