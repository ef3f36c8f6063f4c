#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include <torchreg/detail/formula/number.hpp>
#include <torchreg/detail/groups/norm_arrays.hpp>
#include <torchreg/detail/groups/norm_loops.hpp>

namespace torchreg::detail {

/// The prox of l1 |w| + t ||w|| of a row, and its memory, in registers. Rows whose squares are no
/// numbers of their type, or no usual ones, are left to LibTorch's operations.
template <class T, bool each>
class NormRow {
 public:
  NormRow(const NormArrays<T>& arrays, int64_t row)
      : a_(arrays),
        row_(row),
        t_(std::min(
            a_.group * (a_.weights != nullptr ? double(a_.weights[row]) : a_.weight_of_groups),
            double(std::numeric_limits<T>::max()))),
        entries_{a_.w, a_.steps, a_.step, a_.l1} {}

  /// False where nothing was written.
  bool run() {
    double squares = 0;
    if constexpr (each) {
      find_bounds();
      squares = bounds_.squares;
      if (!is_usual_square<T>(bounds_.dual, t_)) return false;
      if (squares == 0 && a_.l1 == 0 && !is_zero()) return false;
    } else {
      squares = squares_of(entries_);
    }
    const bool is_usual = is_usual_square<T>(squares, each ? 1 : a_.step * t_);
    if (!is_usual && !has_known_factor()) return false;
    const double factor = each ? 1 : factor_of(squares);
    if (a_.memory == nullptr) return prox(factor), true;
    GroupEntries<T, each> plain = entries_;
    plain.l1 = 0;
    const T state = a_.zero[row_];
    // An entry at rest keeps its group, and all do without a penalty.
    const bool may_fall = bounds_.fixed == 0 && (t_ > 0 || a_.l1 > 0);
    bool to_zero = false;
    if (state > 0) {
      to_zero = std::sqrt(total_of(HeldLoop<T, each>(entries_, a_.memory, a_.newest))) <= t_;
      to_zero = to_zero && may_fall;
    } else if (state == 0 && may_fall) {
      GroupEntries<T, each> last = plain;
      last.w = a_.memory;
      const double norm = std::sqrt(squares_of(last));
      const double pull = norm > 0 ? t_ / norm : 0;
      to_zero = std::sqrt(fallen(a_.newest, pull, false)) <= t_;
      if (to_zero) fallen(a_.newest, pull, true);
    }
    const bool is_textbook = may_fall && !to_zero && !(state > 0);
    if (is_textbook && (squares == 0 || (each ? is_short() : factor == 0))) {
      to_zero = true;
      remember_gradient();
    }
    if (to_zero && !each) {
      std::fill_n(a_.w + begin(), a_.size, T(0));
    } else if (to_zero) {
      to_zero_where_moves();
    } else {
      prox(factor);
    }
    const bool now_zero = is_zero();
    if (!now_zero) std::copy_n(a_.w + begin(), a_.size, a_.memory + begin());
    a_.zero[row_] = now_zero ? T(1) : T(0);
    return true;
  }

 private:
  int64_t begin() const { return row_ * a_.size; }

  /// take(the loop at its end) in blocks, as float has but seven digits.
  template <class Loop, class Take>
  void run_blocks(const Loop& loop, const Take& take) const {
    constexpr int64_t kBlock = 4096;
    for (int64_t i = 0; i < a_.size; i += kBlock) {
      take(run_loop(loop, begin() + i, std::min(kBlock, a_.size - i)));
    }
  }

  template <class Loop>
  double total_of(const Loop& loop) const {
    double total = 0;
    run_blocks(loop, [&](const Loop& end) { total += end.total(); });
    return total;
  }

  void find_bounds() {
    run_blocks(BoundsLoop<T>(entries_), [this](const BoundsLoop<T>& end) {
      bounds_.dual += end.dual.sum();
      bounds_.fixed += end.fixed.sum();
      bounds_.squares += end.squares.sum();
      for (int64_t i = 0; i < Lanes<T>::size; ++i) {
        bounds_.least = std::min(bounds_.least, end.least.at(i));
        bounds_.most = std::max(bounds_.most, end.most.at(i));
      }
    });
  }

  double squares_of(const GroupEntries<T, each>& entries) const {
    return total_of(SquaresLoop<T, each>(entries));
  }

  double fallen(double newest, double pull, bool writes) const {
    return total_of(FallenLoop<T, each>(entries_, a_.memory, newest, pull, writes));
  }

  /// memory <- w / s, where nothing is remembered.
  void remember_gradient() const {
    total_of(FallenLoop<T, each>(entries_, a_.memory, 1, 0, /*writes=*/true));
  }

  bool is_zero() const {
    return std::all_of(a_.w + begin(), a_.w + begin() + a_.size, [](T x) { return x == 0; });
  }

  void to_zero_where_moves() const {
    for (int64_t i = begin(); i < begin() + a_.size; ++i) {
      a_.w[i] = a_.steps[i] > 0 ? T(0) : a_.w[i] + T(0);
    }
  }

  /// What one step multiplies the entries by, which L1 has shrunk to these squares.
  double factor_of(double squares) const {
    if (has_known_factor()) return double(a_.factors[row_]);
    return factor_of_norm(std::sqrt(squares), a_.step * t_);
  }
  bool has_known_factor() const {
    return a_.factors != nullptr && !is_nan(double(a_.factors[row_]));
  }

  void prox([[maybe_unused]] double factor) {
    if constexpr (each) {
      prox_in_metric();
    } else {
      run_loop(ScaleLoop<T>(entries_, factor), begin(), a_.size);
    }
  }

  /// Whether those that move are shorter than the penalty takes, in the metric of their steps.
  bool is_short() const { return t_ > 0 && std::sqrt(bounds_.dual) <= t_; }

  /// As shrink_norms_in_metric(), until the root is found.
  void prox_in_metric() {
    const double dual = std::sqrt(bounds_.dual), fixed = std::sqrt(bounds_.fixed);
    const double norm = std::sqrt(bounds_.squares);
    if (t_ == 0) return scale_in_metric(1, 0);
    if (is_short() && fixed == 0) return to_zero_where_moves();
    const double by_dual = std::max(dual - t_, 0.0);
    double low = std::max({norm - rounded(bounds_.most * t_), fixed, by_dual * bounds_.least});
    double high = fixed > 0 ? norm : std::min(norm, by_dual * bounds_.most);
    const double enough = sizeof(T) == 4 ? 1e-5 : 1e-8;  // its square is below rounding
    for (int k = 0; k < 12; ++k) {
      // The lower bound may be exact: only where it is far off, the middle is better.
      const double theta = k < 3 && high > 2 * low ? std::sqrt(low) * std::sqrt(high) : low;
      double phi = 0, slope = 0;
      run_blocks(NewtonLoop<T>(entries_, theta, t_),
                 [&](const NewtonLoop<T>& end) { phi += end.phi.sum(), slope += end.slope.sum(); });
      if (!(slope > 0)) break;
      if (phi < 1) high = std::min(high, theta);
      const double next = theta + phi * (std::sqrt(phi) - 1) / slope;
      const bool is_found = std::abs(next - theta) <= enough * next;
      low = std::max(low, next);
      if (is_found) break;
    }
    scale_in_metric(low, t_);
  }

  void scale_in_metric(double theta, double t) const {
    run_loop(MetricLoop<T>(entries_, theta, t), begin(), a_.size);
  }

  const NormArrays<T>& a_;
  int64_t row_;
  double t_;
  GroupEntries<T, each> entries_;

  /// Of x / s of the entries that move, of those at rest, and of all x: sums of squares; and the
  /// least and the largest step.
  struct Bounds {
    double dual = 0, fixed = 0, squares = 0, least = 1e30, most = 0;
  } bounds_;
};

}  // namespace torchreg::detail
