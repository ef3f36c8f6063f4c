#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <torchreg/detail/groups/norm_arrays.hpp>
#include <torchreg/detail/groups/norm_loops.hpp>
#include <torchreg/detail/processor/threads.hpp>

namespace torchreg::detail {

/// Some of the groups that lie side by side in rows of so many: row i of the array has entry i of
/// each.
template <class T>
class NormColumns {
 public:
  NormColumns(const NormArrays<T>& arrays, int64_t in_row, int64_t begin, int64_t end)
      : a_(arrays),
        in_row_(in_row),
        begin_(begin),
        count_(end - begin),
        row_{a_.w + begin, nullptr, a_.step, a_.l1} {}

  /// What each is multiplied by; false where a sum of squares is no usual one.
  bool find(T* factors) const {
    constexpr int64_t kBlock = 1024;  // rows, as float has but seven digits
    std::vector<double> squares(static_cast<std::size_t>(count_));
    T* const sums = factors;
    std::fill_n(sums, count_, T(0));
    auto row = row_;
    for (int64_t i = 0; i < a_.size; ++i, row.w += in_row_) {
      run_loop(SquaresOfEachLoop<T>(row, sums), 0, count_);
      if ((i + 1) % kBlock != 0 && i + 1 < a_.size) continue;
      for (std::size_t g = 0; g < squares.size(); ++g) {
        squares[g] += static_cast<double>(sums[g]);
        sums[g] = 0;
      }
    }
    for (std::size_t g = 0; g < squares.size(); ++g) {
      const double weight =
          a_.weights != nullptr ? double(a_.weights[begin_ + int64_t(g)]) : a_.weight_of_groups;
      const double reach = a_.step * a_.group * weight;
      if (!is_usual_square<T>(squares[g], reach)) return false;
      factors[g] = static_cast<T>(factor_of_norm(std::sqrt(squares[g]), reach));
    }
    return true;
  }

  void scale(const T* factors) const {
    auto row = row_;
    for (int64_t i = 0; i < a_.size; ++i, row.w += in_row_) {
      run_loop(ScaleEachLoop<T>(row, factors), 0, count_);
    }
  }

 private:
  const NormArrays<T>& a_;
  int64_t in_row_, begin_, count_;
  GroupEntries<T, false> row_;
};

/// One step, without a memory, of groups that lie side by side, by two passes in the order of
/// memory. False where nothing was written.
template <class T>
bool run_norm_columns(const NormArrays<T>& arrays, int64_t groups) {
  constexpr int64_t kLine = 64;  // groups: threads seldom share a line of the cache
  const int64_t lines = groups / kLine / at::get_num_threads() + 1, some = lines * kLine;
  std::vector<T> factors(static_cast<std::size_t>(groups));
  std::vector<char> are_usual(static_cast<std::size_t>(groups / some + 1), 1);
  for_each_block(groups, arrays.size, some, [&](std::size_t k, int64_t begin, int64_t end) {
    are_usual[k] = NormColumns<T>(arrays, groups, begin, end).find(factors.data() + begin) ? 1 : 0;
  });
  if (std::count(are_usual.begin(), are_usual.end(), 0) > 0) return false;
  for_each_block(groups, arrays.size, some, [&](std::size_t /*k*/, int64_t begin, int64_t end) {
    NormColumns<T>(arrays, groups, begin, end).scale(factors.data() + begin);
  });
  return true;
}

}  // namespace torchreg::detail
