#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
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
      : a_(arrays), in_row_(in_row), begin_(begin), count_(end - begin) {}

  /// What each is multiplied by; false where a sum of squares is no usual one.
  bool find(T* factors) const {
    constexpr int64_t kBlock = 1024;  // rows, as float has but seven digits
    std::vector<double> squares(static_cast<std::size_t>(count_));
    T* const sums = factors;
    std::fill_n(sums, count_, T(0));
    for_rows([&](const RowsOfColumns<T>& some, int64_t end) {
      run_loop(SquaresOfEachLoop<T>(some, sums), 0, count_);
      if (end % kBlock != 0 && end < a_.size) return;
      for (std::size_t g = 0; g < squares.size(); ++g) {
        squares[g] += static_cast<double>(sums[g]);
        sums[g] = 0;
      }
    });
    for (std::size_t g = 0; g < squares.size(); ++g) {
      const double weight =
          a_.weights != nullptr ? double(a_.weights[begin_ + int64_t(g)]) : a_.weight_of_groups;
      const double reach = a_.reach() * weight;
      if (!is_usual_square<T>(squares[g], reach)) return false;
      factors[g] = static_cast<T>(factor_of_norm(std::sqrt(squares[g]), reach));
    }
    return true;
  }

  void scale(const T* factors) const {
    for_rows([&](const RowsOfColumns<T>& some, int64_t /*end*/) {
      run_loop(ScaleEachLoop<T>(some, factors), 0, count_);
    });
  }

 private:
  /// act(some, end) for eight rows at once, which the sums and factors are read for once.
  template <class Act>
  void for_rows(const Act& act) const {
    constexpr int64_t kRows = 8;
    for (int64_t i = 0; i < a_.size; i += kRows) {
      const int64_t rows = std::min(kRows, a_.size - i);
      T* const first = a_.w + i * in_row_ + begin_;
      act(RowsOfColumns<T>{{first, nullptr, a_.step, a_.l1}, in_row_, rows}, i + rows);
    }
  }

  const NormArrays<T>& a_;
  int64_t in_row_, begin_, count_;
};

/// act(columns, begin) for some of the groups after the other, on LibTorch's threads.
template <class T, class Act>
void for_columns(const NormArrays<T>& arrays, int64_t groups, const Act& act) {
  constexpr int64_t kLine = 64;  // groups: threads seldom share a line of the cache
  const int64_t lines = groups / kLine / at::get_num_threads() + 1, some = lines * kLine;
  for_each_block(groups, arrays.size, some, [&](std::size_t /*k*/, int64_t begin, int64_t end) {
    act(NormColumns<T>(arrays, groups, begin, end), begin);
  });
}

/// What one step multiplies groups by that lie side by side; false where it is another case.
template <class T>
bool find_factors_of_columns(const NormArrays<T>& arrays, int64_t groups, T* factors) {
  std::atomic<bool> are_usual{true};
  for_columns(arrays, groups, [&](const NormColumns<T>& columns, int64_t begin) {
    if (!columns.find(factors + begin)) are_usual = false;
  });
  return are_usual;
}

template <class T>
void scale_columns(const NormArrays<T>& arrays, int64_t groups, const T* factors) {
  for_columns(arrays, groups, [&](const NormColumns<T>& columns, int64_t begin) {
    columns.scale(factors + begin);
  });
}

}  // namespace torchreg::detail
