#pragma once

#include <torch/optim/optimizer.h>

#include <cstddef>
#include <sstream>
#include <string>
#include <type_traits>
#include <unordered_map>
#include <utility>

namespace torchreg::detail {

/// The optimizer's key for a tensor's state: text in LibTorch 1.13, the address in later versions.
using StateKey =
    typename std::decay_t<decltype(std::declval<torch::optim::Optimizer&>().state())>::key_type;

template <class Key = StateKey>
Key state_key(const torch::Tensor& tensor) {
  if constexpr (std::is_same_v<Key, std::string>) {
    std::ostringstream address;
    address << tensor.unsafeGetTensorImpl();
    return address.str();
  } else {
    return tensor.unsafeGetTensorImpl();
  }
}

inline const torch::optim::OptimizerParamState* find_state(const torch::optim::Optimizer& optimizer,
                                                           const StateKey& key) {
  const auto state = optimizer.state().find(key);
  return state == optimizer.state().end() ? nullptr : state->second.get();
}

/// Where in an optimizer's groups a tensor was found last.
struct GroupPosition {
  std::size_t group = 0;
  std::size_t index = 0;
};

/// Finds the parameter groups of tensors in an optimizer.
class Groups {
 public:
  explicit Groups(const torch::optim::Optimizer& optimizer) : optimizer_(&optimizer) {}

  /// The tensor's group, null if it is in none; `position` is tried first and brought up to date.
  const torch::optim::OptimizerParamGroup* find(const torch::Tensor& tensor,
                                                GroupPosition& position) {
    if (const auto* group = at(position, tensor)) return group;
    for (const bool is_stale : {false, true}) {
      if (is_stale) look();
      const auto found = positions_.find(tensor.unsafeGetTensorImpl());
      if (found == positions_.end()) continue;
      position = found->second;
      if (const auto* group = at(position, tensor)) return group;
    }
    return nullptr;
  }

 private:
  /// Where all parameters are, as one alone would take as long.
  void look() {
    positions_.clear();
    const auto& groups = optimizer_->param_groups();
    for (GroupPosition p; p.group != groups.size(); ++p.group) {  // nvcc takes a < for a template's
      const auto& parameters = groups[p.group].params();
      for (p.index = 0; p.index != parameters.size(); ++p.index) {
        positions_.emplace(parameters[p.index].unsafeGetTensorImpl(), p);
      }
    }
  }

  /// The group where the tensor is at that position; else null.
  const torch::optim::OptimizerParamGroup* at(const GroupPosition& position,
                                              const torch::Tensor& tensor) const {
    const auto& groups = optimizer_->param_groups();
    const bool is_there = position.group < groups.size() &&
                          position.index < groups[position.group].params().size() &&
                          groups[position.group].params()[position.index].is_same(tensor);
    return is_there ? &groups[position.group] : nullptr;
  }

  const torch::optim::Optimizer* optimizer_;
  std::unordered_map<const c10::TensorImpl*, GroupPosition> positions_;
};

}  // namespace torchreg::detail
