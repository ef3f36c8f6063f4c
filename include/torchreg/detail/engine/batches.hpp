#pragma once

#include <torch/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <torchreg/detail/engine/prox.hpp>

namespace torchreg::detail {

/// A tensor and the step it takes.
struct Update {
  torch::Tensor w;
  Step step;
  Memory memory;
  const std::string* path;
};

/// Whether two updates differ in their tensors' entries alone.
inline bool are_alike(const Update& a, const Update& b) {
  const auto options_agree = [](const torch::Tensor& x, const torch::Tensor& y) {
    return x.defined() == y.defined() &&
           (!x.defined() || (x.scalar_type() == y.scalar_type() && x.device() == y.device()));
  };
  return a.step.rate == b.step.rate && a.step.factor == b.step.factor &&
         a.step.correction == b.step.correction && a.step.eps == b.step.eps &&
         a.step.share == b.step.share && a.step.gradient_scale == b.step.gradient_scale &&
         a.memory.weight == b.memory.weight && options_agree(a.w, b.w) &&
         options_agree(a.memory.m, b.memory.m) && options_agree(a.step.mean, b.step.mean) &&
         options_agree(a.step.second_moment, b.step.second_moment);
}

/// Steps tensors that are alike as one: an operation of LibTorch's costs as much as thousands of
/// entries do. False, with nothing written, where the formula throws: for which, each alone tells.
template <class Formula>
bool prox_together(const Formula& formula, const ProxTraits& traits, at::ArrayRef<Update> updates) {
  const auto joined = [&](const auto& part_of) {
    if (!part_of(updates[0]).defined()) return torch::Tensor();
    std::vector<torch::Tensor> parts;
    for (const Update& update : updates) parts.push_back(part_of(update).reshape({-1}));
    return torch::cat(parts);
  };
  std::vector<int64_t> sizes;
  for (const Update& update : updates) sizes.push_back(update.w.numel());
  const auto split = [&](const torch::Tensor& all, const auto& part_of) {
    const auto parts = all.split_with_sizes(sizes);
    for (std::size_t i = 0; i < parts.size(); ++i) {
      part_of(updates[i]).copy_(parts[i].view(updates[i].w.sizes()));
    }
  };
  const auto w = [](const Update& update) { return update.w; };
  const auto m = [](const Update& update) { return update.memory.m; };
  Update all = updates[0];
  all.w = joined(w);
  all.memory.m = joined(m);
  all.step.second_moment = joined([](const Update& u) { return u.step.second_moment; });
  all.step.mean = joined([](const Update& u) { return u.step.mean; });
  try {
    prox_(formula, traits, all.w, all.step, all.memory, *all.path);
  } catch (const c10::Error&) {
    return false;
  }
  split(all.w, w);
  if (all.memory.m.defined()) split(all.memory.m, m);
  return true;
}

/// prox_ for each update, small ones together where they do not go through the processor's lanes
/// anyway; done(i) after update i is written.
template <class Formula>
void prox_all(const Formula& formula, const ProxTraits& traits, const std::vector<Update>& updates,
              const std::function<void(std::size_t)>& done) {
  const auto may_join = [](const Update& update) {
    return IsSeparable<Formula>::value && !update.step.given.defined() &&
           !goes_in_lanes<Formula>(update.w, update.step, update.memory);
  };
  for (std::size_t begin = 0, end = 0; begin < updates.size(); begin = end) {
    const Update& first = updates[begin];
    int64_t entries = first.w.numel();
    end = begin + 1;
    if (may_join(first)) {
      while (end < updates.size() && are_alike(first, updates[end]) && may_join(updates[end]) &&
             entries + updates[end].w.numel() <= piece_size(first.w)) {
        entries += updates[end++].w.numel();
      }
    }
    const bool together =
        end - begin > 1 &&
        prox_together(formula, traits, at::ArrayRef<Update>(updates).slice(begin, end - begin));
    for (std::size_t i = begin; i < end; ++i) {
      const auto& [w, step, memory, path] = updates[i];
      if (!together) prox_(formula, traits, w, step, memory, *path);
      done(i);
    }
  }
}

}  // namespace torchreg::detail
