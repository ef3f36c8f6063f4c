#pragma once

#include <torch/optim/optimizer.h>
#include <torch/types.h>

#include <functional>
#include <type_traits>
#include <utility>

namespace torchreg::detail {

namespace adl {

void step_size();  // hides torchreg::step_size, so that only a user's overload can be found

template <class Optimizer>
using Result =
    decltype(step_size(std::declval<const Optimizer&>(), std::declval<const torch::Tensor&>()));

template <class Optimizer>
torch::Tensor call(const Optimizer& optimizer, const torch::Tensor& tensor) {
  if constexpr (std::is_convertible_v<Result<Optimizer>, double>) {
    return torch::full({}, static_cast<double>(step_size(optimizer, tensor)), torch::kDouble);
  } else {
    return step_size(optimizer, tensor);
  }
}

}  // namespace adl

template <class Optimizer, class = void>
struct HasUsersStepSize : std::false_type {};
template <class Optimizer>
struct HasUsersStepSize<Optimizer, std::void_t<adl::Result<Optimizer>>> : std::true_type {};

/// The overload of step_size() for this class of optimizer in the class's own namespace, if any.
template <class Optimizer>
std::function<torch::Tensor(const torch::Tensor&)> users_step_size(const Optimizer& optimizer) {
  static_assert(std::is_base_of_v<torch::optim::Optimizer, Optimizer>,
                "ProximalStep takes a torch::optim::Optimizer by reference");
  if constexpr (HasUsersStepSize<Optimizer>::value) {
    return [&optimizer](const torch::Tensor& tensor) { return adl::call(optimizer, tensor); };
  } else {
    return nullptr;
  }
}

}  // namespace torchreg::detail
