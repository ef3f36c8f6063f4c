#pragma once

#include <torch/types.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include <torchreg/detail/engine/pieces.hpp>
#include <torchreg/detail/formula/faces.hpp>
#include <torchreg/detail/processor/threads.hpp>

namespace torchreg::detail {

/// The dtype of a term: what the tensors promote to, float32 for half types.
inline torch::ScalarType term_type(at::TensorList tensors) {
  torch::ScalarType type = compute_type(tensors[0].scalar_type());
  for (const torch::Tensor& tensor : tensors) {
    type = torch::promote_types(type, compute_type(tensor.scalar_type()));
  }
  return type;
}

/// The sum of `known` and of 0-dim tensors in their order, in double, as a 0-dim tensor of the
/// term's type and of the first tensor's device.
inline torch::Tensor total(double known, std::vector<torch::Tensor> sums, at::TensorList tensors) {
  const auto options = tensors[0].options().dtype(term_type(tensors)).requires_grad(false);
  const auto in_double = options.dtype(torch::kDouble);  // where full() takes any number
  if (sums.empty()) return torch::full({}, known, in_double).to(options);
  for (torch::Tensor& sum : sums) sum = sum.to(in_double);
  return (torch::stack(sums).sum() + known).to(options);
}

/// Sums a formula's values over an array of float or double.
template <class Formula, class T>
struct ValueLoop {
  using Number = Lanes<T>;
  static constexpr int64_t stride = 4 * Number::size;
  Formula formula;
  const T* w;
  Number a = 0, b = 0, c = 0, d = 0;  // four sums: one would wait for its last addition

  void operator()(int64_t i, int64_t count) {
    a = a + value(i, count);
    b = b + value(i + Number::size, count - Number::size);
    c = c + value(i + 2 * Number::size, count - 2 * Number::size);
    d = d + value(i + 3 * Number::size, count - 3 * Number::size);
  }

  Number value(int64_t i, int64_t count) const {
    return formula.value(Number::load(w + i, count)).first(count);
  }
};

/// The sum of the values of a span, added up in blocks, as float has but seven digits.
template <class T, class Formula>
double sum_in_lanes(const Formula& formula, const torch::Tensor& w, const Span& span) {
  constexpr int64_t kBlock = 4096;
  double sum = 0;
  for (int64_t i = 0; i < span.size; i += kBlock) {
    const ValueLoop<Formula, T> start{formula, w.data_ptr<T>()};
    const auto end = run_loop(start, span.begin + i, std::min(kBlock, span.size - i));
    sum += ((end.a + end.b) + (end.c + end.d)).sum();
  }
  return sum;
}

template <class Formula>
torch::Tensor term_value(const Formula& formula, at::TensorList tensors,
                         const std::vector<std::string>& paths) {
  std::vector<Span> spans;
  std::vector<torch::Tensor> sums;
  const auto add_sum = [&](const torch::Tensor& w, const std::string& path) {
    sums.push_back(value_at(formula, in_compute_type(w), path).sum());
  };
  std::vector<std::size_t> few;  // tensors of few entries, of one kind
  int64_t entries_of_few = 0;
  const auto sum_few = [&] {  // as one: an operation costs as much as thousands of entries
    bool together = few.size() > 1;
    std::vector<torch::Tensor> parts;
    for (const std::size_t i : few) parts.push_back(tensors[i].reshape({-1}));
    try {
      if (together) add_sum(torch::cat(parts), paths[few[0]]);
    } catch (const c10::Error&) {
      together = false;  // which of them is the reason, each alone tells
    }
    for (const std::size_t i : few) {
      if (!together) add_sum(tensors[i], paths[i]);
    }
    few.clear();
    entries_of_few = 0;
  };
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const torch::Tensor& w = tensors[i];
    if (fit_lanes<Formula>(std::array{w})) {
      append_spans(spans, i, w);
    } else if (IsSeparable<Formula>::value && 4 * w.numel() <= piece_size(w)) {
      const bool fits = few.empty() || (tensors[few[0]].scalar_type() == w.scalar_type() &&
                                        tensors[few[0]].device() == w.device());
      if (!fits || entries_of_few + w.numel() > piece_size(w)) sum_few();
      few.push_back(i);
      entries_of_few += w.numel();
    } else {
      for_each_piece<Formula>(std::array{w}, piece_size(w),
                              [&](const auto& piece) { add_sum(piece[0], paths[i]); });
    }
  }
  sum_few();
  std::vector<double> sums_of_spans(spans.size());
  if constexpr (kHasSimd && TakesLanes<Formula>::value) {
    for_each_span(spans, [&](std::size_t k) {
      const torch::Tensor& w = tensors[spans[k].index];
      sums_of_spans[k] = w.scalar_type() == torch::kFloat
                             ? sum_in_lanes<float>(formula, w, spans[k])
                             : sum_in_lanes<double>(formula, w, spans[k]);
    });
  }
  return total(std::accumulate(sums_of_spans.begin(), sums_of_spans.end(), 0.0), sums, tensors);
}

}  // namespace torchreg::detail
