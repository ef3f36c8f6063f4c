#pragma once

#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <limits>
#include <utility>
#include <vector>

#include <torchreg/detail/engine/bind.hpp>
#include <torchreg/detail/engine/prox.hpp>
#include <torchreg/detail/engine/run.hpp>

namespace torchreg::detail {

/// Whether a tensor that does not step is part of others' groups.
template <class Formula>
bool is_linked([[maybe_unused]] const Formula& formula) {
  if constexpr (is_grouped<Formula>) return formula.grouping.links() != nullptr;
  return false;
}

/// w <- prox of step R and its memory for each update, in place and without gradient; done(i) after
/// update i is written. A step of 0, in the tensor's type, is the identity and leaves the memory.
/// The updates are used up.
template <class Formula>
void prox_all(
    const Formula& formula, Updates& updates,
    const std::function<void(std::size_t)>& done = [](std::size_t) {}) {
  Indices moving, resting;
  moving.reserve(updates.size());
  std::vector<torch::Tensor> rested;
  for (std::size_t i = 0; i < updates.size(); ++i) {
    Update& update = updates[i];
    Numbers& n = update.numbers;
    const double largest = largest_of(update.tensors.w.scalar_type());
    const bool is_scalar = !update.tensors.moment.defined() && !update.tensors.given.defined();
    const bool rests = n.rate == 0 || (is_scalar && n.rate < 1 / largest);
    if (rests && is_linked(formula)) n.rate = 0;
    if (rests && !is_linked(formula)) {
      torch::Tensor& w = update.tensors.w;
      is_lazy(update.tensors) ? void(w.add_(0.0)) : rested.push_back(w);
      resting.push_back(i);
      continue;
    }
    if (is_scalar) {
      n.rate = std::min(n.rate, largest);
      n.strength = std::min({n.strength, largest, largest / n.rate});
    } else {
      // So that the product with a step is finite, unless that is beyond the root too.
      n.strength = std::min(n.strength, std::sqrt(largest));
    }
    if (moving.size() < i) updates[moving.size()] = std::move(update);
    moving.push_back(i);
  }
  updates.resize(moving.size());
  if (!rested.empty()) at::_foreach_add_(rested, 0.0);  // so that there is no -0.0
  std::for_each(resting.begin(), resting.end(), done);
  if (moving.empty()) return;
  bind_all(formula, updates, /*with_steps=*/true);
  Outcome outcome;
  outcome.done = [&](std::size_t i) { done(moving[i]); };
  run(Prox<Formula>{formula}, updates, std::move(outcome));
}

}  // namespace torchreg::detail
