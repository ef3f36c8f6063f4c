#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include <torchreg/detail/groups/kernels_loop.hpp>
#include <torchreg/detail/groups/norm_arrays.hpp>
#include <torchreg/detail/groups/norm_row.hpp>
#include <torchreg/detail/groups/short_groups_loop.hpp>
#include <torchreg/detail/processor/threads.hpp>

namespace torchreg::detail {

/// Some rows, one after the other; appends those that are left.
template <class T>
void run_each_row(const NormArrays<T>& a, int64_t begin, int64_t end, std::vector<int64_t>& left) {
  for (int64_t row = begin; row < end; ++row) {
    const bool is_done =
        a.steps != nullptr ? NormRow<T, true>(a, row).run() : NormRow<T, false>(a, row).run();
    if (!is_done) left.push_back(row);
  }
}

/// The same by a loop over short groups; with a memory it finds their factors.
template <class T, class Loop>
void run_short_rows(const NormArrays<T>& a, const Loop& loop, int64_t begin, int64_t end,
                    std::vector<int64_t>& left) {
  for (int64_t row = begin; row < end;) {
    const int64_t unusual = run_loop(loop, row, end - row).unusual;
    row = unusual < 0 ? end : std::min(unusual + Loop::stride, end);
    if (unusual >= 0 && loop.factors == nullptr) run_each_row(a, unusual, row, left);
  }
  if (loop.factors != nullptr) run_each_row(a, begin, end, left);
}

/// The same of rows of few entries and one step, several at once.
template <class T>
void run_short_rows(const NormArrays<T>& a, T* factors, int64_t begin, int64_t end,
                    std::vector<int64_t>& left) {
  const double weight = a.weights == nullptr ? a.weight_of_groups : 1;
  const ShortGroups<T> groups({a.w, nullptr, a.step, a.l1}, a.reach() * weight, a.weights,
                              largest_square<T>, factors);
  const bool are_kernels = a.size == KernelsLoop<T>::size && a.l1 == 0;
  are_kernels ? run_short_rows(a, KernelsLoop<T>(groups), begin, end, left)
              : run_short_rows(a, ShortGroupsLoop<T>(groups, a.size), begin, end, left);
}

/// All rows, on LibTorch's threads; returns those that were left. A memory changes no factor.
template <class T>
std::vector<int64_t> run_norm_rows(NormArrays<T> arrays, int64_t rows) {
  const bool are_short = arrays.size <= ShortGroupsLoop<T>::longest && arrays.steps == nullptr &&
                         arrays.factors == nullptr;
  std::vector<T> factors;
  if (are_short && arrays.memory != nullptr) {
    factors.assign(static_cast<std::size_t>(rows), std::numeric_limits<T>::quiet_NaN());
    arrays.factors = factors.data();
  }
  T* const found = factors.empty() ? nullptr : factors.data();
  const int64_t some = rows_of_block(arrays.size);
  std::vector<std::vector<int64_t>> left(static_cast<std::size_t>(rows / some + 1));
  for_each_block(rows, arrays.size, some, [&](std::size_t k, int64_t begin, int64_t end) {
    are_short ? run_short_rows(arrays, found, begin, end, left[k])
              : run_each_row(arrays, begin, end, left[k]);
  });
  std::vector<int64_t> all;
  for (const auto& some_left : left) all.insert(all.end(), some_left.begin(), some_left.end());
  return all;
}

}  // namespace torchreg::detail
