#pragma once

#include <ATen/Parallel.h>
#include <ATen/TensorIterator.h>
#include <torch/types.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

namespace torchreg::detail {

/// Corresponding parts of flat tensors that lie alike. Their length is fixed, so that sums over
/// them have the same bits with any number of threads.
struct Span {
  std::size_t index;  ///< of the tensor in its list
  int64_t begin;
  int64_t size;
};

/// Appends the spans of a tensor.
inline void append_spans(std::vector<Span>& spans, std::size_t index, const torch::Tensor& tensor) {
  constexpr int64_t kLength = int64_t{1} << 16;
  for (int64_t begin = 0; begin < tensor.numel(); begin += kLength) {
    spans.push_back({index, begin, std::min(kLength, tensor.numel() - begin)});
  }
}

/// act(k) for each span k, one after the other or on LibTorch's threads where that pays.
/// at::parallel_for would be serial where the user compiles without OpenMP; the loop of a
/// TensorIterator is run by LibTorch's code.
inline void for_each_span(const std::vector<Span>& spans, bool in_turn,
                          const std::function<void(std::size_t)>& act) {
  const auto count = static_cast<int64_t>(spans.size());
  int64_t entries = 0;
  for (const Span& span : spans) entries += span.size;
  if (count < 2 || entries <= at::internal::GRAIN_SIZE || in_turn) {
    for (std::size_t k = 0; k < spans.size(); ++k) act(k);
    return;
  }
  const auto loop = [&](char** data, const int64_t* strides, int64_t size, int64_t /*rows*/) {
    for (int64_t i = 0; i < size; ++i) {
      act(static_cast<std::size_t>(*reinterpret_cast<int64_t*>(data[0] + i * strides[0])));
    }
  };
  const int64_t grain = std::max<int64_t>(1, count * at::internal::GRAIN_SIZE / entries);
  torch::Tensor numbers = torch::arange(count, torch::kLong);
  at::TensorIterator::nullary_op(numbers).for_each(loop, grain);
}

/// How many rows of so many entries make a block of those that a cache holds; many short ones are
/// a multiple of the strides of loops over rows.
inline int64_t rows_of_block(int64_t entries) {
  constexpr int64_t kStride = 64;
  const int64_t rows = std::max<int64_t>(1, 16384 / std::max<int64_t>(entries, 1));
  return rows < kStride ? rows : rows - rows % kStride;
}

/// act(k, begin, end) for the k-th block of `some` rows, of so many entries each, likewise.
template <class Act>
void for_each_block(int64_t rows, int64_t entries, int64_t some, const Act& act) {
  std::vector<Span> blocks;
  for (int64_t row = 0; row < rows; row += some) {
    blocks.push_back({0, row, std::min(some, rows - row) * entries});
  }
  for_each_span(blocks, at::get_num_threads() == 1, [&](std::size_t k) {
    act(k, blocks[k].begin, std::min(blocks[k].begin + some, rows));
  });
}

}  // namespace torchreg::detail
