#pragma once

#include <ATen/ExpandUtils.h>
#include <torch/types.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <torchreg/groupings/grouping.hpp>

namespace torchreg {

namespace detail {

/// Groups by an index of their numbers, for tensors of any shape that it broadcasts to.
class IndexedGroups {
 public:
  explicit IndexedGroups(const torch::Tensor& index)
      : index_(index.detach().to(torch::kCPU).clone()) {
    least_ = index_.numel() == 0 ? 0 : index_.min().item<int64_t>();
    groups_ = index_.numel() == 0 ? 0 : index_.max().item<int64_t>() + 1;
  }

  /// Waits for no device; the same layout is not made twice.
  Layout layout(at::IntArrayRef sizes, torch::Device device) {
    if (!at::is_expandable_to(index_.sizes(), sizes)) {
      throw Grouping::Misfit{"the index does not broadcast"};
    }
    if (least_ < -1) throw Grouping::Misfit{"group numbers must be -1 to G-1"};
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto key = std::make_pair(sizes.vec(), device.str());
    const auto found = known_.find(key);
    if (found != known_.end()) return found->second;
    return known_.emplace(key, layout_of(index_.expand(sizes).contiguous(), device)).first->second;
  }

 private:
  /// Entries in no group lie in rows of their own, as long as the longest group.
  Layout layout_of(const torch::Tensor& index, torch::Device device) const {
    const int64_t entries = index.numel();
    const int64_t* group_of = index.data_ptr<int64_t>();
    std::vector<std::vector<int64_t>> members(static_cast<std::size_t>(groups_));
    std::vector<int64_t> others;
    for (int64_t i = 0; i < entries; ++i) {
      (group_of[i] < 0 ? others : members[static_cast<std::size_t>(group_of[i])]).push_back(i);
    }
    std::size_t longest = 1;
    for (const auto& group : members) longest = std::max(longest, group.size());
    const auto size = static_cast<int64_t>(longest);
    const int64_t more = (static_cast<int64_t>(others.size()) + size - 1) / size;
    torch::Tensor positions = torch::full({groups_ + more, size}, entries, torch::kLong);
    int64_t* row = positions.data_ptr<int64_t>();
    for (const auto& group : members) {
      std::copy(group.begin(), group.end(), row);
      row += size;
    }
    std::copy(others.begin(), others.end(), row);
    return Layout(positions.to(device), entries, groups_);
  }

  torch::Tensor index_;
  int64_t least_ = 0, groups_ = 0;
  std::mutex mutex_;
  std::map<std::pair<std::vector<int64_t>, std::string>, Layout> known_;
};

}  // namespace detail

/// Groups by number: an int64 tensor that broadcasts to the parameter, 0 to G-1, the largest number
/// plus 1. An entry of -1 is in no group, and the penalty of groups leaves it alone. A number that
/// no entry has is an empty group.
inline Grouping by(const torch::Tensor& index) {
  TORCH_CHECK_VALUE(index.defined() && index.scalar_type() == torch::kLong,
                    "by: the index must be an int64 tensor");
  const auto groups = std::make_shared<detail::IndexedGroups>(index);
  return Grouping("by(index)", [groups](at::IntArrayRef sizes, torch::Device device) {
    return groups->layout(sizes, device);
  });
}

}  // namespace torchreg
