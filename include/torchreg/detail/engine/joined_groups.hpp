#pragma once

#include <torch/types.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <numeric>
#include <utility>
#include <vector>

#include <torchreg/detail/engine/in_groups.hpp>
#include <torchreg/detail/engine/joined.hpp>

namespace torchreg::detail {

/// The executor for groups of many tensors on another device, where each operation is a launch:
/// those that are alike, and whose groups are as long, are stacked and carried out as one.
template <class Unit>
class JoinedGroups {
 public:
  /// Carries out those of `problems` that are alike and small; returns the others, and those for
  /// which the formula throws: why, each alone tells.
  static std::vector<Problem> run(const AnyGroups& groups, std::vector<Problem> problems,
                                  const Updates& updates, Outcome& outcome) {
    if (!groups.takes_some || problems.size() < 2) return problems;
    std::vector<Problem> rest;
    std::map<Kind, std::vector<Problem>> alike;
    int64_t largest = 0;
    for (Problem& problem : problems) {
      const Update& update = updates[problem.parts[0].index];
      if (!may_join(groups, problem, update)) {
        rest.push_back(std::move(problem));
        continue;
      }
      Kind kind = kind_of(update);
      kind.push_back(static_cast<double>(problem.entries));
      alike[kind].push_back(std::move(problem));
      largest = std::max(largest, bytes_of(update.tensors.w, update.tensors.w.numel()));
    }
    for (const auto& [kind, all] : alike) {
      const auto& tensors = updates[all[0].parts[0].index].tensors;
      const auto has = presence_of(tensors);
      const int64_t entry = bytes_of(tensors.w, groups.kernel.arrays(has) + count_of(has));
      const int64_t room = room_beside(largest) / entry;
      const auto entries_of = [](const Problem& one) { return one.layout().rows * one.entries; };
      in_batches(all, room, entries_of, [&](const std::vector<Problem>& batch) {
        if (batch.size() >= 2 && run_batch(groups, updates, batch, outcome)) return;
        rest.insert(rest.end(), batch.begin(), batch.end());
      });
    }
    return rest;
  }

 private:
  /// Whether it is one tensor, whose groups are of one length and one weight.
  static bool may_join(const AnyGroups& groups, const Problem& problem, const Update& update) {
    const bool rests = groups.takes_steps && update.numbers.rate == 0;
    const bool is_weighted = groups.weights != nullptr && groups.weights->is_weighted();
    const bool is_recorded = torch::GradMode::is_enabled() && update.tensors.w.requires_grad();
    return !update.tensors.w.is_cpu() && update.tensors.w.numel() > 0 &&
           problem.parts.size() == 1 && problem.layout().is_regular() && !rests && !is_weighted &&
           !is_recorded && !is_lazy(update.tensors);
  }

  static bool run_batch(const AnyGroups& groups, const Updates& updates,
                        const std::vector<Problem>& batch, Outcome& outcome) {
    Operands<std::vector<torch::Tensor>> parts;
    std::vector<int64_t> rows;
    for (const Problem& problem : batch) {
      rows.push_back(problem.layout().rows);
      for_each_operand(
          [](const torch::Tensor& tensor, std::vector<torch::Tensor>& list) {
            if (tensor.defined()) list.push_back(tensor);
          },
          updates[problem.parts[0].index].tensors, parts);
    }
    Update all = updates[batch[0].parts[0].index];
    const auto has = presence_of(all.tensors), written = groups.kernel.writes(has);
    const int64_t count = std::accumulate(rows.begin(), rows.end(), int64_t{0});
    const int64_t size = batch[0].entries;
    for_each_operand(
        [&](const std::vector<torch::Tensor>& list, torch::Tensor& stacked, bool is_read) {
          if (list.empty()) return;
          if (!is_read) return stacked = torch::empty({count, size}, list[0].options()), void();
          std::vector<torch::Tensor> matrices;
          for (std::size_t k = 0; k < list.size(); ++k) {
            const bool is_of_groups = &list == &parts.zero;
            matrices.push_back(is_of_groups ? list[k] : batch[k].layout().matrix(list[k]));
          }
          stacked = torch::cat(matrices);
        },
        parts, all.tensors, groups.kernel.reads(has));
    const Problem problem{{{0, Layout(at::IntArrayRef({count, size}), {1, size})}}, size};
    Outcome of_all;
    try {
      InGroups<Unit>::run(groups, {problem}, {all}, of_all);
    } catch (const c10::Error&) {
      return false;
    }
    outcome.sums.insert(outcome.sums.end(), of_all.sums.begin(), of_all.sums.end());
    for_each_operand(
        [&](const torch::Tensor& stacked, const std::vector<torch::Tensor>& to, bool is_written) {
          if (!is_written) return;
          auto from = stacked.split_with_sizes(rows);
          for (std::size_t k = 0; k < to.size(); ++k) {
            const bool is_of_groups = &to == &parts.zero;
            if (!is_of_groups) from[k] = batch[k].layout().restored(from[k], to[k]);
          }
          copy_all(to, from);
        },
        all.tensors, parts, written);
    for (const Problem& each : batch) outcome.done(each.parts[0].index);
    return true;
  }
};

}  // namespace torchreg::detail
