#pragma once

#include <torch/types.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <vector>

#include <torchreg/detail/groups/selection_loops.hpp>
#include <torchreg/detail/processor/threads.hpp>

namespace torchreg::detail {

/// The `keep` largest magnitudes of some contiguous tensors on the CPU, found block by block, on
/// LibTorch's threads.
template <class Unit, class T>
class Largest {
 public:
  Largest(const std::vector<torch::Tensor>& tensors, int64_t keep) : keep_(keep) {
    constexpr int64_t kLength = int64_t{1} << 18;
    for (std::size_t k = 0; k < tensors.size(); ++k) {
      for (int64_t i = 0; i < tensors[k].numel(); i += kLength) {
        const int64_t size = std::min(kLength, tensors[k].numel() - i);
        blocks_.push_back({tensors[k].data_ptr<T>() + i, size});
        spans_.push_back({k, i, size});
        count_ += size;
      }
    }
    find();
  }

  /// The least of them.
  T least() const { return least_; }

  /// Whether they are all that are as large as the least.
  bool are_all() const { return surplus_ == 0; }

  /// For each entry of tensors like these 0 where it is one of them, of equal ones the first, else
  /// infinity.
  void write_bounds(const std::vector<torch::Tensor>& to) const {
    constexpr T kInf = std::numeric_limits<T>::infinity();
    std::vector<T*> bounds;
    for (const Span& span : spans_) bounds.push_back(to[span.index].data_ptr<T>() + span.begin);
    for_each([&](std::size_t k) {
      const auto& [numbers, size, above, from_low, within] = blocks_[k];
      if constexpr (Unit::has_simd) {
        const BoundLoop<T> loop{numbers, bounds[k], least_};
        if (cpu_has_simd()) return void(run_loop(loop, 0, size));
      }
      for (int64_t i = 0; i < size; ++i) bounds[k][i] = magnitude(numbers[i]) < least_ ? kInf : 0;
    });
    int64_t surplus = surplus_;
    for (std::size_t k = blocks_.size(); surplus > 0 && k-- > 0;) {  // the last of equal ones
      for (int64_t i = blocks_[k].size; surplus > 0 && i-- > 0;) {
        if (magnitude(blocks_[k].numbers[i]) == least_) bounds[k][i] = kInf, --surplus;
      }
    }
  }

 private:
  struct Block {
    const T* numbers;
    int64_t size, above = 0, from_low = 0;
    std::vector<T> within{};
  };

  void for_each(const std::function<void(std::size_t)>& act) const {
    for_each_span(spans_, at::get_num_threads() == 1, act);
  }

  /// A sample tells a bracket that the least one is in, but for bad luck, and then a wider one.
  void find() {
    std::vector<T> some = sample();
    const auto size = static_cast<int64_t>(some.size());
    const int64_t rank = (keep_ - 1) * size / count_;                   // below 2^48
    const double deviation = std::sqrt(static_cast<double>(size)) / 2;  // of a rank, at most
    int64_t margin = size == count_ ? 0 : static_cast<int64_t>(3 * deviation);
    while (true) {
      const T high =
          rank < margin ? std::numeric_limits<T>::infinity() : ranked(some, rank - margin);
      const T low = rank + margin < size ? ranked(some, rank + margin) : 0;
      for_each([&](std::size_t k) { split(blocks_[k], low, high); });
      if (find_between(low)) return;
      margin = 8 * margin + 8;  // at last all: it ends, whatever other threads write
    }
  }

  /// Some of all, evenly, but at no fixed distance, as columns may differ.
  std::vector<T> sample() const {
    const int64_t distance = (count_ - 1) / kSample + 1;
    std::vector<T> some;
    int64_t begin = 0, i = 0;
    for (const Block& block : blocks_) {
      for (; i < begin + block.size; i += distance) {
        const auto random = static_cast<std::uint64_t>(i) * 0x9E3779B97F4A7C15U >> 32;
        const int64_t k = i - begin + static_cast<int64_t>(random) % distance;
        some.push_back(magnitude(block.numbers[std::min(k, block.size - 1)]));
      }
      begin += block.size;
    }
    return some;
  }

  static T ranked(std::vector<T>& all, int64_t rank) {
    std::nth_element(all.begin(), all.begin() + rank, all.end(), std::greater<T>());
    return all[static_cast<std::size_t>(rank)];
  }

  static void split(Block& block, T low, T high) {
    block.above = block.from_low = 0;
    block.within.clear();
    if constexpr (Unit::has_simd) {
      if (cpu_has_simd()) return split_in_lanes(block, low, high);
    }
    for (int64_t i = 0; i < block.size; ++i) {
      const T x = magnitude(block.numbers[i]);
      block.above += x > high ? 1 : 0;
      block.from_low += x >= low ? 1 : 0;
      if (x > low && x <= high) block.within.push_back(x);
    }
  }

  static void split_in_lanes(Block& block, T low, T high) {
    constexpr int64_t kLength = 1024;
    std::array<T, kLength + 1> found;
    for (int64_t i = 0; i < block.size; i += kLength) {
      const int64_t size = std::min(kLength, block.size - i);
      const auto loop = run_loop(BracketLoop<T>{block.numbers, low, high, found.data()}, i, size);
      block.above += static_cast<int64_t>(loop.above.sum());
      block.from_low += low == 0 ? size : static_cast<int64_t>(loop.from_low.sum());
      block.within.insert(block.within.end(), found.data(), loop.end);
    }
  }

  /// Whether the least one is in the bracket that the blocks were split by.
  bool find_between(T low) {
    int64_t above = 0, from_low = 0;
    std::vector<T> within;
    for (Block& block : blocks_) {
      above += block.above;
      from_low += block.from_low;
      within.insert(within.end(), block.within.begin(), block.within.end());
    }
    if (keep_ <= above || keep_ > from_low) return false;
    const auto rank = keep_ - above - 1, inside = static_cast<int64_t>(within.size());
    least_ = rank < inside ? ranked(within, rank) : low;
    const auto is_kept = [this](T x) { return x >= least_; };
    surplus_ = rank < inside ? std::count_if(within.begin() + rank + 1, within.end(), is_kept)
                             : from_low - keep_;
    return true;
  }

  static constexpr int64_t kSample = 1 << 16;

  int64_t keep_, count_ = 0, surplus_ = 0;
  T least_ = 0;
  std::vector<Block> blocks_;
  std::vector<Span> spans_;
};

/// For each entry of some tensors of one device 0 where it is one of the `keep` largest, of equal
/// ones the first, NaN before all, else infinity. Does not wait for the device.
inline std::vector<torch::Tensor> bounds_by_order(const std::vector<torch::Tensor>& tensors,
                                                  int64_t keep) {
  constexpr double kInf = std::numeric_limits<double>::infinity();
  std::vector<torch::Tensor> flat;
  std::vector<int64_t> sizes;
  for (const torch::Tensor& tensor : tensors) {
    flat.push_back(tensor.reshape({-1}).abs());
    sizes.push_back(tensor.numel());
  }
  const torch::Tensor all = torch::cat(flat);
  const torch::Tensor known = all.masked_fill(all != all, kInf);
  const auto order = std::get<1>(torch::sort(known, /*stable=*/true, 0, /*descending=*/true));
  const torch::Tensor bound =
      torch::full_like(all, kInf).index_fill_(0, order.narrow(0, 0, keep), 0);
  auto bounds = bound.split_with_sizes(sizes);
  for (std::size_t i = 0; i < tensors.size(); ++i) bounds[i] = bounds[i].view(tensors[i].sizes());
  return bounds;
}

/// What magnitudes must reach to be one of the `keep` largest of some tensors of one type and
/// device: one number for each tensor, where `as_numbers` and no tie is cut, or bounds of each
/// entry.
template <class Unit>
std::vector<torch::Tensor> bounds_of_largest(std::vector<torch::Tensor> tensors, int64_t keep,
                                             bool as_numbers) {
  int64_t count = 0;
  for (torch::Tensor& tensor : tensors) {
    tensor = tensor.contiguous();
    count += tensor.numel();
  }
  const auto all_at = [&](double bound) {
    std::vector<torch::Tensor> bounds;
    for (const torch::Tensor& tensor : tensors) {
      const auto sizes = as_numbers ? torch::IntArrayRef() : tensor.sizes();
      bounds.push_back(torch::full(sizes, bound, tensor.options()));
    }
    return bounds;
  };
  const auto on_cpu = [&](auto zero) {
    const Largest<Unit, decltype(zero)> largest(tensors, keep);
    if (as_numbers && largest.are_all()) return all_at(static_cast<double>(largest.least()));
    std::vector<torch::Tensor> bounds;
    for (const torch::Tensor& tensor : tensors) bounds.push_back(torch::empty_like(tensor));
    largest.write_bounds(bounds);
    return bounds;
  };
  if (keep <= 0) return all_at(std::numeric_limits<double>::infinity());
  if (keep >= count) return all_at(0);
  if (!tensors[0].is_cpu()) return bounds_by_order(tensors, keep);
  return tensors[0].scalar_type() == torch::kDouble ? on_cpu(0.0) : on_cpu(0.0F);
}

}  // namespace torchreg::detail
