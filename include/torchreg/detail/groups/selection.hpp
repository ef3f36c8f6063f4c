#pragma once

#include <torch/types.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <type_traits>
#include <vector>

namespace torchreg::detail {

/// A number without its sign, as bits: they are ordered as magnitudes are, and a NaN is the
/// largest.
template <class T>
class Magnitudes {
 public:
  using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;

  explicit Magnitudes(const torch::Tensor& numbers)
      : numbers_(numbers.data_ptr<T>()), count_(numbers.numel()) {}

  int64_t count() const { return count_; }

  Bits operator[](int64_t i) const {
    Bits bits;
    std::memcpy(&bits, numbers_ + i, sizeof bits);
    return bits & (~Bits{0} >> 1);
  }

 private:
  const T* numbers_;
  int64_t count_;
};

/// 1 for the `keep` largest magnitudes of some contiguous tensors on the CPU, of equal ones the
/// first, else 0.
///
/// The least one to be kept is found among those that have its leading bits, which a count of all
/// leading bits tells.
template <class T>
std::vector<torch::Tensor> mark_largest(const std::vector<torch::Tensor>& tensors, int64_t keep) {
  using Bits = typename Magnitudes<T>::Bits;
  constexpr int kShift = 8 * sizeof(Bits) - 1 - 12;
  using Histogram = std::array<int64_t, 1 << 12>;
  Histogram even{}, odd{};  // the next number does not wait for a count of the same
  for (const torch::Tensor& tensor : tensors) {
    const Magnitudes<T> all(tensor);
    int64_t i = 0;
    for (; i + 1 < all.count(); i += 2) ++even[all[i] >> kShift], ++odd[all[i + 1] >> kShift];
    if (i < all.count()) ++even[all[i] >> kShift];
  }
  std::size_t leading = even.size() - 1;
  int64_t left = keep;  // of those with these leading bits
  for (; leading > 0 && even[leading] + odd[leading] < left; --leading) {
    left -= even[leading] + odd[leading];
  }
  std::vector<Bits> candidates;
  candidates.reserve(static_cast<std::size_t>(even[leading] + odd[leading]));
  for (const torch::Tensor& tensor : tensors) {
    const Magnitudes<T> all(tensor);
    for (int64_t i = 0; i < all.count(); ++i) {
      if (all[i] >> kShift == leading) candidates.push_back(all[i]);
    }
  }
  const auto nth = candidates.begin() + (left - 1);
  std::nth_element(candidates.begin(), nth, candidates.end(), std::greater<Bits>());
  const Bits least = *nth;
  left -= std::count_if(candidates.begin(), nth, [&](Bits bits) { return bits > least; });

  std::vector<torch::Tensor> marks;
  for (const torch::Tensor& tensor : tensors) {
    const Magnitudes<T> all(tensor);
    marks.push_back(torch::empty_like(tensor));
    T* mark = marks.back().template data_ptr<T>();
    for (int64_t i = 0; i < all.count(); ++i) {
      const bool is_kept = all[i] > least || (all[i] == least && left-- > 0);
      mark[i] = is_kept ? T(1) : T(0);
    }
  }
  return marks;
}

/// 1 for the `keep` largest magnitudes of some tensors of one type and device, of equal ones the
/// first, NaN before all, else 0. Does not wait for a device.
inline std::vector<torch::Tensor> marks_of_largest(std::vector<torch::Tensor> tensors,
                                                   int64_t keep) {
  int64_t count = 0;
  for (torch::Tensor& tensor : tensors) {
    tensor = tensor.contiguous();
    count += tensor.numel();
  }
  std::vector<torch::Tensor> marks;
  if (keep <= 0 || keep >= count) {
    for (const torch::Tensor& tensor : tensors) {
      marks.push_back(torch::full_like(tensor, keep <= 0 ? 0 : 1));
    }
    return marks;
  }
  if (tensors[0].is_cpu()) {
    return tensors[0].scalar_type() == torch::kDouble ? mark_largest<double>(tensors, keep)
                                                      : mark_largest<float>(tensors, keep);
  }
  std::vector<torch::Tensor> flat;
  std::vector<int64_t> sizes;
  for (const torch::Tensor& tensor : tensors) {
    flat.push_back(tensor.reshape({-1}).abs());
    sizes.push_back(tensor.numel());
  }
  const torch::Tensor all = torch::cat(flat);
  const torch::Tensor numbers =
      all.masked_fill(all != all, std::numeric_limits<double>::infinity());
  const auto order = std::get<1>(torch::sort(numbers, /*stable=*/true, 0, /*descending=*/true));
  const torch::Tensor mark = torch::zeros_like(all).index_fill_(0, order.narrow(0, 0, keep), 1);
  const auto parts = mark.split_with_sizes(sizes);
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    marks.push_back(parts[i].view(tensors[i].sizes()));
  }
  return marks;
}

}  // namespace torchreg::detail
