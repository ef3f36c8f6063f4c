#pragma once

#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include <torchreg/detail/processor/simd.hpp>

#include <torchreg/detail/processor/inline_begin.hpp>

namespace torchreg::detail {

/// Several entries of a tensor of float or double, in a register: a number for formulas, with those
/// of torch::Tensor's functions that they need. As there, a double is rounded to its type first.
template <class T>
class Lanes {
  using Bits = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;
  using Vector = typename Simd<T>::Vector;
  using Mask = typename Simd<Bits>::Vector;
  static constexpr Bits kSign = std::numeric_limits<Bits>::min();

 public:
  static constexpr int64_t size = kVectorBytes / sizeof(T);

  /// In which lanes a condition holds.
  struct Where {
    Mask mask;
    TORCHREG_INLINE Where(const Mask& bits) : mask(bits) {}
    TORCHREG_INLINE Where(const Where& other) : mask(other.mask) {}
    Where& operator=(const Where&) = delete;
    TORCHREG_INLINE Where operator&(const Where& other) const { return mask & other.mask; }
    TORCHREG_INLINE Where operator|(const Where& other) const { return mask | other.mask; }
    TORCHREG_INLINE bool any() const { return Simd<Bits>::any(mask); }
  };

  // Copied by hand, so that a call that is not inlined passes it in memory: which registers pass a
  // vector depends on the processor that the caller is compiled for.
  TORCHREG_INLINE Lanes() : x_{} {}
  TORCHREG_INLINE Lanes(const Vector& x) : x_(x) {}
  TORCHREG_INLINE Lanes(const Lanes& other) : x_(other.x_) {}
  TORCHREG_INLINE Lanes& operator=(const Lanes& other) { return x_ = other.x_, *this; }
  TORCHREG_INLINE Lanes(double x) { Simd<T>::fill(x_, static_cast<T>(x)); }

  /// The first `count` entries there, at most `size`; 0 in the lanes beyond.
  TORCHREG_INLINE static Lanes load(const T* from, int64_t count) {
    if (count < size) return load_some(from, count);
    Vector x;
    std::memcpy(&x, from, sizeof x);
    return x;
  }
  TORCHREG_INLINE void store(T* to, int64_t count) const {
    if (count < size) return store_some(to, count);
    std::memcpy(to, &x_, sizeof x_);
  }

  TORCHREG_INLINE friend Lanes operator+(const Lanes& a, const Lanes& b) { return a.x_ + b.x_; }
  TORCHREG_INLINE friend Lanes operator-(const Lanes& a, const Lanes& b) { return a.x_ - b.x_; }
  TORCHREG_INLINE friend Lanes operator*(const Lanes& a, const Lanes& b) { return a.x_ * b.x_; }
  TORCHREG_INLINE friend Lanes operator/(const Lanes& a, const Lanes& b) { return a.x_ / b.x_; }
  TORCHREG_INLINE friend Where operator>(const Lanes& a, const Lanes& b) { return a.x_ > b.x_; }
  TORCHREG_INLINE friend Where operator==(const Lanes& a, const Lanes& b) { return a.x_ == b.x_; }
  TORCHREG_INLINE friend Where operator!=(const Lanes& a, const Lanes& b) { return a.x_ != b.x_; }
  TORCHREG_INLINE friend Where operator<(const Lanes& a, const Lanes& b) { return a.x_ < b.x_; }
  TORCHREG_INLINE friend Where operator<=(const Lanes& a, const Lanes& b) { return a.x_ <= b.x_; }

  TORCHREG_INLINE Lanes operator-() const { return -x_; }
  TORCHREG_INLINE Lanes reciprocal() const { return 1 / *this; }
  TORCHREG_INLINE Lanes abs() const { return Vector(Mask(x_) & ~kSign); }
  TORCHREG_INLINE Lanes sign() const {
    return Lanes(0).masked_fill(*this > 0, 1).masked_fill(-*this > 0, -1);
  }
  TORCHREG_INLINE Where isfinite() const {
    return Lanes(std::numeric_limits<double>::infinity()) > abs();
  }
  TORCHREG_INLINE Lanes clamp(const Lanes& low, const Lanes& high) const {
    const Lanes raised = low.where(low > *this, *this);
    return high.where(raised > high, raised);
  }
  TORCHREG_INLINE Lanes clamp_min(const Lanes& low) const { return low.where(low > *this, *this); }
  TORCHREG_INLINE Lanes lerp(const Lanes& end, const Lanes& weight) const {
    return *this +
           (end - *this) * weight;  // ATen's other formula beyond 0.5 costs a fifth of a step
  }
  TORCHREG_INLINE Lanes& mul_(const Lanes& factor) { return *this = *this * factor; }
  TORCHREG_INLINE Lanes where(const Where& condition, const Lanes& otherwise) const {
    return condition.mask ? x_ : otherwise.x_;
  }
  TORCHREG_INLINE Lanes masked_fill(const Where& condition, double x) const {
    return Lanes(x).where(condition, *this);
  }
  TORCHREG_INLINE Lanes& masked_fill_(const Where& condition, double x) {
    return *this = masked_fill(condition, x);
  }
  TORCHREG_INLINE Lanes sqrt() const {
    Lanes root = *this;
    Simd<T>::sqrt(root.x_);
    return root;
  }

  TORCHREG_INLINE double at(int64_t lane) const { return static_cast<double>(x_[lane]); }

  /// 0 in the lanes beyond `count`.
  TORCHREG_INLINE Lanes first(int64_t count) const {
    Lanes kept = *this;
    for (int64_t i = count; i < size; ++i) kept.x_[i] = 0;
    return kept;
  }
  TORCHREG_INLINE double sum() const {
    double sum = 0;
    for (int64_t i = 0; i < size; ++i) sum += static_cast<double>(x_[i]);
    return sum;
  }

  /// Within each four lanes: those from the one `by` on, and then from the first.
  template <int by>
  TORCHREG_INLINE Lanes rotated() const {
    Lanes rotated;
    Simd<T>::template rotate_fours<by>(x_, rotated.x_);
    return rotated;
  }

  /// from[0], from[1], from[distance], from[distance + 1] and so on, with reads between them, but
  /// none beyond the last: two lanes are those of the load that begins as many entries before them.
  template <int64_t distance, int64_t count = size>
  TORCHREG_INLINE static Lanes pairs(const T* from) {
    if constexpr (count == 2) {
      return load(from, size);
    } else {
      const Lanes a = pairs<distance, count / 2>(from),
                  b = pairs<distance, count / 2>(from + count / 4 * (distance - 2));
      Lanes both;
      Simd<T>::template blend<count / 2>(a.x_, b.x_, both.x_, typename Simd<T>::Places());
      return both;
    }
  }

  /// Each lane `times` times: the k-th register of these, one after the other.
  template <int times, int k>
  TORCHREG_INLINE Lanes spread() const {
    Lanes spread;
    Simd<T>::template spread<times, k * size>(x_, spread.x_, typename Simd<T>::Places());
    return spread;
  }

  /// The sum of the k-th of so many registers in lane k, each as of(k) from some k on.
  template <int64_t count = size, class Of>
  TORCHREG_INLINE static Lanes sums(const Of& of, int64_t k = 0) {
    if constexpr (count == 1) {
      return of(k);
    } else {
      const Lanes a = sums<count / 2>(of, k), b = sums<count / 2>(of, k + count / 2);
      Lanes sum;
      if constexpr (count == size && kVectorBytes == 32) {
        Simd<T>::add_halves(a.x_, b.x_, sum.x_);
      } else {
        Simd<T>::add_neighbours(a.x_, b.x_, sum.x_);
      }
      return sum;
    }
  }

 private:
  TORCHREG_NOINLINE static Lanes load_some(const T* from, int64_t count) {
    Vector x = {};
    for (int64_t i = 0; i < count; ++i) x[i] = from[i];
    return x;
  }
  TORCHREG_NOINLINE void store_some(T* to, int64_t count) const {
    for (int64_t i = 0; i < count; ++i) to[i] = x_[i];
  }

  Vector x_;
};

}  // namespace torchreg::detail

#include <torchreg/detail/processor/inline_end.hpp>
