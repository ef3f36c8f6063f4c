#pragma once

#include <torch/types.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <numeric>
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
  constexpr std::size_t kBins = 1 << 12, kWays = 4;
  // Several counts, as a number would wait for the one before where both are of the same bin.
  std::vector<std::array<int64_t, kWays>> counts(kBins);
  for (const torch::Tensor& tensor : tensors) {
    const Magnitudes<T> all(tensor);
    for (int64_t i = 0; i < all.count(); ++i) {
      ++counts[all[i] >> kShift][static_cast<std::size_t>(i) % kWays];
    }
  }
  const auto count_of = [&](std::size_t bin) {
    return std::accumulate(counts[bin].begin(), counts[bin].end(), int64_t{0});
  };
  std::size_t leading = kBins - 1;
  int64_t left = keep;  // of those with these leading bits
  for (; leading > 0 && count_of(leading) < left; --leading) left -= count_of(leading);
  std::vector<Bits> candidates;
  candidates.reserve(static_cast<std::size_t>(count_of(leading)));
  for (const torch::Tensor& tensor : tensors) {
    const Magnitudes<T> all(tensor);
    for (int64_t i = 0; i < all.count(); ++i) {
      if (all[i] >> kShift == leading) candidates.push_back(all[i]);
    }
  }
  const auto nth = candidates.begin() + (left - 1);
  std::nth_element(candidates.begin(), nth, candidates.end(), std::greater<Bits>());
  const Bits least = *nth;
  const auto are_above = [&](Bits bits) { return bits > least; };
  left -= std::count_if(candidates.begin(), nth, are_above);
  int64_t surplus = std::count(candidates.begin(), candidates.end(), least) - left;

  std::vector<torch::Tensor> marks;
  for (const torch::Tensor& tensor : tensors) {
    const Magnitudes<T> all(tensor);
    marks.push_back(torch::empty_like(tensor));
    T* mark = marks.back().template data_ptr<T>();
    for (int64_t i = 0; i < all.count(); ++i) mark[i] = all[i] < least ? T(0) : T(1);
  }
  for (std::size_t k = tensors.size(); surplus > 0 && k-- > 0;) {  // the last of equal ones
    const Magnitudes<T> all(tensors[k]);
    T* mark = marks[k].template data_ptr<T>();
    for (int64_t i = all.count(); surplus > 0 && i-- > 0;) {
      if (all[i] == least) mark[i] = 0, --surplus;
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
