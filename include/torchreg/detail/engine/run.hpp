#pragma once

#include <numeric>
#include <utility>

#include <torchreg/detail/engine/bind.hpp>
#include <torchreg/detail/engine/in_groups.hpp>
#include <torchreg/detail/engine/joined.hpp>
#include <torchreg/detail/engine/joined_groups.hpp>

namespace torchreg::detail {

/// Carries out a kernel on all updates, whose formula knows nothing of how: the one choice of an
/// executor. Each does what it can and leaves the rest to the next.
template <class Kernel, class ThisUnit = Unit>
Outcome run(const Kernel& kernel, const Updates& updates, Outcome outcome = {}) {
  if constexpr (is_grouped<std::decay_t<decltype(kernel.formula)>>) {
    const AnyGroups any = any_groups<ThisUnit>(kernel);
    auto problems = problems_of(kernel.formula, updates);
    problems = JoinedGroups<ThisUnit>::run(any, std::move(problems), updates, outcome);
    InGroups<ThisUnit>::run(any, problems, updates, outcome);
  } else {
    Indices todo(updates.size());
    std::iota(todo.begin(), todo.end(), std::size_t{0});
    const AnyKernel any = any_kernel<ThisUnit>(kernel);
    todo = InLanes<ThisUnit>::run(any, updates, todo, outcome);
    todo = Joined<ThisUnit>::run(any, updates, todo, outcome);
    InPieces::run(any, updates, todo, outcome);
  }
  return outcome;
}

}  // namespace torchreg::detail
