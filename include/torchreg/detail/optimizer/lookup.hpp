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

/// Where each parameter is in an optimizer's groups.
inline std::unordered_map<const c10::TensorImpl*, GroupPosition> positions_in(
    const torch::optim::Optimizer& optimizer) {
  std::unordered_map<const c10::TensorImpl*, GroupPosition> positions;
  const auto& groups = optimizer.param_groups();
  for (GroupPosition p; p.group != groups.size(); ++p.group) {  // nvcc takes a < for a template's
    const auto& parameters = groups[p.group].params();
    for (p.index = 0; p.index != parameters.size(); ++p.index) {
      positions.emplace(parameters[p.index].unsafeGetTensorImpl(), p);
    }
  }
  return positions;
}

/// The group where the tensor is at that position; else null.
inline const torch::optim::OptimizerParamGroup* group_at(const torch::optim::Optimizer& optimizer,
                                                         const torch::Tensor& tensor,
                                                         const GroupPosition& position) {
  const auto& groups = optimizer.param_groups();
  const bool is_there = position.group < groups.size() &&
                        position.index < groups[position.group].params().size() &&
                        groups[position.group].params()[position.index].is_same(tensor);
  return is_there ? &groups[position.group] : nullptr;
}

/// The tensor's parameter group, null if it is in none; `position` is tried first and brought up to
/// date.
inline const torch::optim::OptimizerParamGroup* find_group(const torch::optim::Optimizer& optimizer,
                                                           const torch::Tensor& tensor,
                                                           GroupPosition& position) {
  if (const auto* group = group_at(optimizer, tensor, position)) return group;
  const auto positions = positions_in(optimizer);
  const auto found = positions.find(tensor.unsafeGetTensorImpl());
  if (found == positions.end()) return nullptr;
  position = found->second;
  return group_at(optimizer, tensor, position);
}

}  // namespace torchreg::detail
