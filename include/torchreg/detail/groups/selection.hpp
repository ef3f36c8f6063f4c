#pragma once

#include <torch/types.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <mutex>
#include <type_traits>
#include <vector>

#include <torchreg/detail/processor/threads.hpp>

namespace torchreg::detail {

/// Numbers without their signs, as bits: they are ordered as magnitudes are, and a NaN is the
/// largest.
template <class T>
class Magnitudes {
 public:
  using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;

  Magnitudes(const T* numbers, int64_t count) : numbers_(numbers), count_(count) {}

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

/// Finds the `keep` largest magnitudes of some contiguous tensors on the CPU, block by block, on
/// LibTorch's threads.
template <class T>
class Largest {
  using Bits = typename Magnitudes<T>::Bits;

 public:
  Largest(const std::vector<torch::Tensor>& tensors, int64_t keep) : keep_(keep) {
    constexpr int64_t kLength = int64_t{1} << 18;
    for (const torch::Tensor& tensor : tensors) {
      marks_.push_back(torch::empty_like(tensor));
      const T* const numbers = tensor.data_ptr<T>();
      T* const mark = marks_.back().template data_ptr<T>();
      for (int64_t i = 0; i < tensor.numel(); i += kLength) {
        const int64_t size = std::min(kLength, tensor.numel() - i);
        blocks_.push_back({Magnitudes<T>(numbers + i, size), mark + i, {}});
        spans_.push_back({0, 0, size});
      }
    }
  }

  /// 1 for those that are kept, of equal ones the first, else 0.
  std::vector<torch::Tensor> marks() {
    find_least();
    int64_t surplus = count_least() - left_;
    for_each([this](Block& block) {
      for (int64_t i = 0; i < block.all.count(); ++i) {
        block.mark[i] = block.all[i] < least_ ? T(0) : T(1);
      }
    });
    for (std::size_t k = blocks_.size(); surplus > 0 && k-- > 0;) {  // the last of equal ones
      for (int64_t i = blocks_[k].all.count(); surplus > 0 && i-- > 0;) {
        if (blocks_[k].all[i] == least_) blocks_[k].mark[i] = 0, --surplus;
      }
    }
    return marks_;
  }

 private:
  static constexpr int kShift = 8 * sizeof(Bits) - 1 - 12;
  static constexpr std::size_t kBins = 1 << 12, kWays = 2;

  struct Block {
    Magnitudes<T> all;
    T* mark;
    std::vector<Bits> candidates;
  };

  template <class Act>
  void for_each(const Act& act) {
    for_each_span(spans_, at::get_num_threads() == 1, [&](std::size_t k) { act(blocks_[k]); });
  }

  /// The least one to be kept, among those that have its leading bits, which a count of all leading
  /// bits tells; and how many are left for those.
  void find_least() {
    std::vector<int64_t> counts(kBins);
    std::mutex adding;
    for_each([&](Block& block) {
      // Two counts, as a number would wait for the one before where both are of the same bin.
      std::vector<std::array<std::uint32_t, kWays>> own(kBins);
      for (int64_t i = 0; i < block.all.count(); ++i) {
        ++own[block.all[i] >> kShift][static_cast<std::size_t>(i) % kWays];
      }
      const std::lock_guard<std::mutex> lock(adding);
      for (std::size_t bin = 0; bin < kBins; ++bin) counts[bin] += own[bin][0] + own[bin][1];
    });
    std::size_t leading = kBins - 1;
    left_ = keep_;
    for (; leading > 0 && counts[leading] < left_; --leading) left_ -= counts[leading];
    for_each([&](Block& block) {
      std::array<Bits, 1024> some;  // written without a branch, which would often be mispredicted
      for (int64_t i = 0; i < block.all.count();) {
        const int64_t end = std::min<int64_t>(i + 1024, block.all.count());
        std::size_t found = 0;
        for (; i < end; ++i) {
          some[found] = block.all[i];
          found += some[found] >> kShift == leading ? 1 : 0;
        }
        block.candidates.insert(block.candidates.end(), some.begin(), some.begin() + found);
      }
    });
    for (Block& block : blocks_) {
      candidates_.insert(candidates_.end(), block.candidates.begin(), block.candidates.end());
    }
    const auto nth = candidates_.begin() + (left_ - 1);
    std::nth_element(candidates_.begin(), nth, candidates_.end(), std::greater<Bits>());
    least_ = *nth;
    left_ -= std::count_if(candidates_.begin(), nth, [this](Bits bits) { return bits > least_; });
  }

  int64_t count_least() const { return std::count(candidates_.begin(), candidates_.end(), least_); }

  int64_t keep_, left_ = 0;
  Bits least_ = 0;
  std::vector<torch::Tensor> marks_;
  std::vector<Block> blocks_;
  std::vector<Span> spans_;
  std::vector<Bits> candidates_;
};

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
    return tensors[0].scalar_type() == torch::kDouble ? Largest<double>(tensors, keep).marks()
                                                      : Largest<float>(tensors, keep).marks();
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
