#pragma once

#include <cstdint>
#include <string>

#include <torchreg/selectors/selector.hpp>

namespace torchreg {

/// Selects tensors of exactly `dimensions` dimensions.
inline Selector dim(int64_t dimensions) {
  return Selector([=](const Parameter& p) { return p.tensor.dim() == dimensions; },
                  c10::str("dim(", dimensions, ")"));
}

/// Selects tensors of `dimensions` dimensions or more.
inline Selector dim_at_least(int64_t dimensions) {
  return Selector([=](const Parameter& p) { return p.tensor.dim() >= dimensions; },
                  c10::str("dim_at_least(", dimensions, ")"));
}

}  // namespace torchreg
