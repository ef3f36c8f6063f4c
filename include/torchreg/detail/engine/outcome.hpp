#pragma once

#include <torch/types.h>

#include <cstddef>
#include <functional>
#include <vector>

#include <torchreg/detail/engine/update.hpp>

namespace torchreg::detail {

/// The indices of some updates in their list.
using Indices = std::vector<std::size_t>;
using Updates = std::vector<Update>;

/// What comes of a kernel: updates that are written, or a sum.
struct Outcome {
  std::function<void(std::size_t)> done = [](std::size_t) {};  ///< called for each that is written
  double sum = 0;
  std::vector<torch::Tensor> sums;  ///< 0-dim, which would have to be waited for
};

}  // namespace torchreg::detail
