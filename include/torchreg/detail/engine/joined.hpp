#pragma once

#include <torch/types.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <numeric>
#include <tuple>
#include <vector>

#include <torchreg/detail/engine/in_lanes.hpp>
#include <torchreg/detail/engine/in_pieces.hpp>

namespace torchreg::detail {

/// Copies each tensor of `from` to that of `to`, in one launch.
inline void copy_all(at::TensorList to, at::TensorList from) {
#if __has_include(<ATen/ops/_foreach_copy.h>)
  at::_foreach_copy_(to, from);
#else
  at::_foreach_zero_(to);
  at::_foreach_add_(to, from);
#endif
}

using Kind = std::vector<double>;

/// What the updates that may be joined agree in: all but the entries of their tensors.
inline Kind kind_of(const Update& update) {
  Kind kind;
  for_each_operand(
      [&](const torch::Tensor& tensor) {
        if (!tensor.defined()) return kind.insert(kind.end(), 3, -1), void();
        kind.push_back(static_cast<double>(tensor.scalar_type()));
        kind.push_back(static_cast<double>(tensor.device().type()));
        kind.push_back(tensor.device().index());
      },
      update.tensors);
  std::apply([&](const auto&... number) { (kind.push_back(number), ...); }, update.numbers.tied());
  return kind;
}

/// run(batch) for batches of the items, in their order, each of no more entries than there is room.
template <class Item, class EntriesOf, class Run>
void in_batches(const std::vector<Item>& items, int64_t room, const EntriesOf& entries_of,
                const Run& run) {
  std::vector<Item> batch;
  int64_t entries = 0;
  for (const Item& item : items) {
    const int64_t more = entries_of(item);
    if (!batch.empty() && entries + more > room) {
      run(batch);
      batch.clear();
      entries = 0;
    }
    batch.push_back(item);
    entries += more;
  }
  if (!batch.empty()) run(batch);
}

/// The executor for many tensors: those that are alike are joined and carried out as one, as an
/// operation of LibTorch's costs as much as thousands of entries do, and a launch on a device more.
template <class Unit>
class Joined {
 public:
  /// Carries out those of `todo` that are alike and small; returns the others, and those for which
  /// the formula throws: why, each alone tells.
  static Indices run(const AnyKernel& kernel, const Updates& updates, const Indices& todo,
                     Outcome& outcome) {
    if (!kernel.is_separable || todo.size() < 2) return todo;
    Indices rest;
    int64_t largest = 0;
    for (const std::size_t i : todo) {
      const torch::Tensor& w = updates[i].tensors.w;
      largest = std::max(largest, bytes_of(w, w.numel()));
    }
    for (const auto& [kind, alike] : by_kind(updates, todo)) {
      const auto& tensors = updates[alike[0]].tensors;
      const torch::Tensor& first = tensors.w;
      const auto has = presence_of(tensors);
      const int64_t entry = bytes_of(first, kernel.arrays(has) + count_of(has));
      const int64_t room = first.is_cpu() ? kPiece : room_beside(largest) / entry;
      const int64_t small = first.is_cpu() ? kPiece / 4 : room;
      const auto entries_of = [&](std::size_t i) { return updates[i].tensors.w.numel(); };
      Indices fitting;
      for (const std::size_t i : alike) {
        const bool fits = entries_of(i) <= small && !is_lazy(updates[i].tensors);
        (fits ? fitting : rest).push_back(i);
      }
      in_batches(fitting, room, entries_of, [&](const Indices& batch) {
        if (batch.size() >= 2 && run_batch(kernel, updates, batch, outcome)) return;
        rest.insert(rest.end(), batch.begin(), batch.end());
      });
    }
    std::sort(rest.begin(), rest.end());
    return rest;
  }

 private:
  static std::map<Kind, Indices> by_kind(const Updates& updates, const Indices& todo) {
    std::map<Kind, Indices> groups;
    for (const std::size_t i : todo) groups[kind_of(updates[i])].push_back(i);
    return groups;
  }

  static bool run_batch(const AnyKernel& kernel, const Updates& updates, const Indices& batch,
                        Outcome& outcome) {
    Operands<std::vector<torch::Tensor>> parts;  // as vectors, where that needs no copy
    std::vector<int64_t> sizes;
    const bool is_recorded = torch::GradMode::is_enabled();  // whose backward would copy
    for (const std::size_t i : batch) {
      const bool has_order = !is_recorded && are_dense_alike(updates[i].tensors);
      sizes.push_back(updates[i].tensors.w.numel());
      for_each_operand(
          [&](const torch::Tensor& tensor, std::vector<torch::Tensor>& list) {
            if (tensor.defined()) list.push_back(has_order ? as_vector(tensor) : tensor);
          },
          updates[i].tensors, parts);
    }
    Update all = updates[batch[0]];
    const auto has = presence_of(all.tensors), written = kernel.writes(has);
    const int64_t entries = std::accumulate(sizes.begin(), sizes.end(), int64_t{0});
    for_each_operand(
        [&](const std::vector<torch::Tensor>& list, torch::Tensor& joined, bool is_read) {
          if (list.empty()) return;
          if (!is_read) return joined = torch::empty({entries}, list[0].options()), void();
          std::vector<torch::Tensor> flat;
          for (const torch::Tensor& tensor : list) {
            flat.push_back(tensor.dim() == 1 ? tensor : tensor.reshape({-1}));
          }
          joined = torch::cat(flat);
        },
        parts, all.tensors, kernel.reads(has));
    Outcome of_all;
    try {
      const Updates one{all};
      InPieces::run(kernel, one, InLanes<Unit>::run(kernel, one, {0}, of_all), of_all);
    } catch (const c10::Error&) {
      return false;
    }
    outcome.sum += of_all.sum;
    outcome.sums.insert(outcome.sums.end(), of_all.sums.begin(), of_all.sums.end());
    for_each_operand(
        [&](const torch::Tensor& joined, const std::vector<torch::Tensor>& to, bool is_written) {
          if (!is_written) return;
          auto from = joined.split_with_sizes(sizes);
          for (std::size_t k = 0; k < to.size(); ++k) {
            if (to[k].dim() != 1) from[k] = from[k].view(to[k].sizes());
          }
          copy_all(to, from);
        },
        all.tensors, parts, written);
    for (const std::size_t i : batch) outcome.done(i);
    return true;
  }
};

}  // namespace torchreg::detail
