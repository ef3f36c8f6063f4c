#pragma once

#include <torch/library.h>

#include <cstdint>
#include <limits>
#include <map>
#include <string>

#include "catch.hpp"

namespace simulated {

// A device under LibTorch's PrivateUse1 key, whose memory is the host's: each operation is carried
// out by the CPU, counted, and its memory with it. Reading an entry on the host throws, as it would
// make the host wait for a real device.

constexpr c10::DeviceType kType = c10::DeviceType::PrivateUse1;

inline torch::Device device() { return torch::Device(kType, 0); }

/// What was asked of the device since the last reset().
struct Counts {
  int64_t doubles = 0;   ///< tensors of double that were made, which some devices lack
  int64_t launches = 0;  ///< operations that pass over memory; a foreach is one
  int64_t bytes = 0;     ///< in use
  int64_t peak = 0;      ///< of `bytes`
  int64_t room = std::numeric_limits<int64_t>::max();  ///< for `bytes`; an allocation beyond throws
  std::map<std::string, int64_t> by_name;
  bool may_read = false;
};

Counts& counts();

/// Counts from here on.
void reset();

/// Lets the host read in its life: in the test itself.
struct AllowReads {
  AllowReads() { counts().may_read = true; }
  ~AllowReads() { counts().may_read = false; }
};

inline torch::Tensor there(const torch::Tensor& x) { return x.detach().to(device()); }

inline torch::Tensor here(const torch::Tensor& x) {
  const AllowReads in_the_test;
  return x.detach().cpu();
}

}  // namespace simulated
