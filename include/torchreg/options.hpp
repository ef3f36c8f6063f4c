#pragma once

#include <torch/arg.h>
#include <torch/types.h>

#include <cstdint>

namespace torchreg {

struct ProximalStepOptions {
  /// A zero leaves only when its gradient, averaged over about this many steps, says so; 0 is the
  /// textbook prox. Advice: up to an epoch's steps, and at most a tenth of the run's.
  TORCH_ARG(int64_t, memory) = 256;

  /// Every how many calls of step() the prox is taken, for all optimizer steps since.
  TORCH_ARG(int64_t, every) = 1;

 public:
  void check() const {
    TORCH_CHECK_VALUE(every_ >= 1, "ProximalStep: every must be >= 1, got ", every_);
    TORCH_CHECK_VALUE(memory_ >= 0, "ProximalStep: memory must be >= 0, got ", memory_);
  }
};

}  // namespace torchreg
