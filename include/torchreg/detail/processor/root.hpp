#pragma once

#include <ATen/Parallel.h>
#include <torch/types.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include <torchreg/detail/processor/lanes.hpp>
#include <torchreg/detail/processor/threads.hpp>

#include <torchreg/detail/processor/inline_begin.hpp>

namespace torchreg::detail {

/// Takes the root of each entry of an array, in place.
template <class T>
struct RootLoop {
  static constexpr int64_t stride = Lanes<T>::size;
  T* entries;

  TORCHREG_INLINE void start() {}
  TORCHREG_INLINE void operator()(int64_t i, int64_t count) const {
    Lanes<T>::load(entries + i, count).sqrt().store(entries + i, count);
  }
};

template <class T>
torch::Tensor root_in_lanes(const torch::Tensor& x) {
  torch::Tensor root = x.clone();
  const RootLoop<T> loop{root.data_ptr<T>()};
  std::vector<Span> spans;
  append_spans(spans, 0, root);
  for_each_span(spans, at::get_num_threads() == 1,
                [&](std::size_t k) { run_loop(loop, spans[k].begin, spans[k].size); });
  return root;
}

template <class Unit>
torch::Tensor root_of_tensor(const torch::Tensor& x) {
  if constexpr (Unit::has_simd) {
    const auto type = x.scalar_type();
    const bool is_case = cpu_has_simd() && x.is_cpu() && !x.requires_grad();
    if (is_case && type == torch::kFloat) return root_in_lanes<float>(x);
    if (is_case && type == torch::kDouble) return root_in_lanes<double>(x);
  }
  return x.sqrt();
}

/// The root, rounded to the nearest number: of an array on the CPU as of registers, where
/// LibTorch's is MKL's, which on processors of some makes is off by a bit. Where a derivative is
/// asked for it is LibTorch's.
inline torch::Tensor root_of(const torch::Tensor& x) { return root_of_tensor<Unit>(x); }
template <class X>
TORCHREG_INLINE X root_of(const X& x) {
  return x.sqrt();
}

}  // namespace torchreg::detail

#include <torchreg/detail/processor/inline_end.hpp>
