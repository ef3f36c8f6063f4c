#pragma once

#include <torch/types.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

namespace torchreg::detail {

/// The `keep` largest of some numbers >= 0 on the CPU, of equal ones the first: marks[i] is 1 or 0.
///
/// The bits of such numbers are ordered as they are, so the least one to be kept is found digit by
/// digit, with a count of each digit's values and a pass over the numbers for each digit.
template <class T, class Bits>
void mark_largest(const T* numbers, int64_t count, int64_t keep, T* marks) {
  constexpr int kDigit = 11;
  const auto bits_of = [&](int64_t i) {
    Bits bits;
    std::memcpy(&bits, numbers + i, sizeof bits);
    return bits;
  };
  Bits found = 0, mask = 0;
  int64_t left = keep;  // of the numbers whose leading digits are those found
  for (int shift = (8 * static_cast<int>(sizeof(Bits)) - 1) / kDigit * kDigit; shift >= 0;
       shift -= kDigit) {
    std::array<int64_t, std::size_t{1} << kDigit> histogram{};
    for (int64_t i = 0; i < count; ++i) {
      const Bits bits = bits_of(i);
      if ((bits & mask) == found) ++histogram[(bits >> shift) & (histogram.size() - 1)];
    }
    std::size_t digit = histogram.size() - 1;
    for (; digit > 0 && histogram[digit] < left; --digit) left -= histogram[digit];
    found |= static_cast<Bits>(digit) << shift;
    mask |= static_cast<Bits>(histogram.size() - 1) << shift;
  }
  for (int64_t i = 0; i < count; ++i) {
    const Bits bits = bits_of(i);
    const bool is_kept = bits > found || (bits == found && left-- > 0);
    marks[i] = is_kept ? 1 : 0;
  }
}

/// 1 for the `keep` largest of a flat tensor of numbers >= 0, of equal ones the first, else 0.
inline torch::Tensor marks_of_largest(const torch::Tensor& scores, int64_t keep) {
  torch::Tensor marks = torch::zeros_like(scores);
  if (keep <= 0) return marks;
  if (keep >= scores.numel()) return marks.fill_(1);
  if (!scores.is_cpu()) {  // without a wait
    const auto order = std::get<1>(torch::sort(scores, /*stable=*/true, 0, /*descending=*/true));
    return marks.index_fill_(0, order.narrow(0, 0, keep), 1);
  }
  if (scores.scalar_type() == torch::kDouble) {
    mark_largest<double, std::uint64_t>(scores.data_ptr<double>(), scores.numel(), keep,
                                        marks.data_ptr<double>());
  } else {
    mark_largest<float, std::uint32_t>(scores.data_ptr<float>(), scores.numel(), keep,
                                       marks.data_ptr<float>());
  }
  return marks;
}

}  // namespace torchreg::detail
