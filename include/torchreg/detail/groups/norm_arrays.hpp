#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include <torchreg/detail/formula/number.hpp>

namespace torchreg::detail {

/// A matrix with a group in each row, as arrays: what a step of l1 |w| + t ||w|| reads and writes.
template <class T>
struct NormArrays {
  T *w, *memory, *zero;  ///< the last two may be null
  const T* steps;        ///< null: `step` for all
  const T* weights;      ///< of the groups; null: `weight_of_groups`
  const T* factors;      ///< what one step multiplies groups by; null, or NaN: not known
  double step, weight_of_groups;
  double l1, group;  ///< the strengths
  double newest;     ///< the weight of the newest gradient
  int64_t size;      ///< of a row

  /// By how much one step makes the norm of a group of weight 1 smaller; a number, as a weight may
  /// be 0.
  double reach() const { return std::min(step * group, double(std::numeric_limits<T>::max())); }
};

/// The largest sum of squares of T that is a norm's, and the inverse of the least: beyond, it may
/// have lost what over- or underflowed.
template <class T>
constexpr double largest_square = sizeof(T) == 4 ? 1e30 : 1e280;

/// Whether a sum of squares tells the norm of a group, which is to become smaller by `reach`: 0 may
/// be a zero group's, or of one that becomes zero, or stays.
template <class T>
bool is_usual_square(double squares, double reach) {
  if (squares == 0) return reach == 0 || reach * reach > 1 / largest_square<T>;
  return is_finite(squares) && squares < largest_square<T> && squares > 1 / largest_square<T>;
}

/// What a group is multiplied by, so that its norm becomes smaller by `reach`, or 0.
inline double factor_of_norm(double norm, double reach) {
  return reach == 0 ? 1 : norm <= reach ? 0 : (norm - reach) / norm;
}

}  // namespace torchreg::detail
