#pragma once

#include <cstdint>

#include <torchreg/detail/formula/number.hpp>
#include <torchreg/detail/processor/lanes.hpp>

#include <torchreg/detail/processor/inline_begin.hpp>

namespace torchreg::detail {

// Passes over one group, which lies in memory without gaps, in registers: what the prox and the
// memory of l1 sum |w| + t ||w|| need of its entries. x is S(w, s l1). An entry whose step s is 0
// rests, as do the lanes beyond the end.

/// The entries of a group, and their steps: one for all, or of each.
template <class T, bool each>
struct GroupEntries {
  using Number = Lanes<T>;
  using Where = typename Number::Where;
  static constexpr int64_t stride = Number::size;
  T* w;
  const T* steps;
  double step;
  double l1;

  TORCHREG_INLINE void start() {}
  TORCHREG_INLINE Number step_at(int64_t i, int64_t count) const {
    if constexpr (each) return Number::load(steps + i, count);
    return Number(step);
  }
  TORCHREG_INLINE Number shrunk(const Number& of, const Number& s) const {
    return l1 == 0 ? of : shrink(of, Number(s * l1));
  }
  TORCHREG_INLINE static Number where_moves(const Number& x, const Number& s) {
    return each ? x.where(s > 0, Number(0)) : x;
  }
};

/// sum x^2, in four sums, as one addition waits for the other
template <class T, bool each>
struct SquaresLoop : GroupEntries<T, each> {
  using Number = Lanes<T>;
  static constexpr int64_t stride = 4 * Number::size;
  Number sum{}, second{}, third{}, fourth{};

  explicit SquaresLoop(const GroupEntries<T, each>& entries) : GroupEntries<T, each>(entries) {}

  TORCHREG_INLINE void operator()(int64_t i, int64_t count) {
    add(sum, i, count);
    add(second, i + Number::size, count - Number::size);
    add(third, i + 2 * Number::size, count - 2 * Number::size);
    add(fourth, i + 3 * Number::size, count - 3 * Number::size);
  }

  TORCHREG_INLINE void add(Number& to, int64_t i, int64_t count) const {
    if (count <= 0) return;
    const Number x = this->shrunk(Number::load(this->w + i, count), this->step_at(i, count));
    to = to + x * x;
  }

  TORCHREG_INLINE double total() const { return ((sum + second) + (third + fourth)).sum(); }
};

/// Some rows of an array whose columns are groups: an entry of each, and their next entries.
template <class T>
struct RowsOfColumns : GroupEntries<T, false> {
  using Number = Lanes<T>;
  int64_t in_row;
  int64_t rows;

  TORCHREG_INLINE T* entries(int64_t row, int64_t column) const {
    return this->w + row * in_row + column;
  }
  TORCHREG_INLINE Number x(int64_t row, int64_t column, int64_t count) const {
    return this->shrunk(Number::load(entries(row, column), count), Number(this->step));
  }
};

/// sums <- sums + x^2 of each group
template <class T>
struct SquaresOfEachLoop : RowsOfColumns<T> {
  using Number = Lanes<T>;
  T* sums;

  SquaresOfEachLoop(const RowsOfColumns<T>& some, T* of) : RowsOfColumns<T>(some), sums(of) {}

  TORCHREG_INLINE void operator()(int64_t i, int64_t count) {
    Number sum = Number::load(sums + i, count);
    for (int64_t row = 0; row < this->rows; ++row) {
      const Number x = this->x(row, i, count);
      sum = sum + x * x;
    }
    sum.store(sums + i, count);
  }
};

/// w <- x times the factor of its group
template <class T>
struct ScaleEachLoop : RowsOfColumns<T> {
  using Number = Lanes<T>;
  const T* factors;

  ScaleEachLoop(const RowsOfColumns<T>& some, const T* by) : RowsOfColumns<T>(some), factors(by) {}

  TORCHREG_INLINE void operator()(int64_t i, int64_t count) {
    const Number factor = Number::load(factors + i, count);
    for (int64_t row = 0; row < this->rows; ++row) {
      (this->x(row, i, count) * factor + 0).store(this->entries(row, i), count);
    }
  }
};

/// w <- x times a factor
template <class T>
struct ScaleLoop : GroupEntries<T, false> {
  using Number = Lanes<T>;
  double factor;

  ScaleLoop(const GroupEntries<T, false>& entries, double by)
      : GroupEntries<T, false>(entries), factor(by) {}

  TORCHREG_INLINE void operator()(int64_t i, int64_t count) {
    const Number x = this->shrunk(Number::load(this->w + i, count), Number(this->step));
    (x * factor + 0).store(this->w + i, count);
  }
};

/// What bounds the root theta: sums of (x / s)^2 of those that move, of w^2 of those that rest, of
/// all x^2; the least and largest step.
template <class T>
struct BoundsLoop : GroupEntries<T, true> {
  using Number = Lanes<T>;
  Number dual{}, fixed{}, squares{}, least{}, most{};

  explicit BoundsLoop(const GroupEntries<T, true>& entries) : GroupEntries<T, true>(entries) {}

  TORCHREG_INLINE void start() { least = 1e30; }

  TORCHREG_INLINE void operator()(int64_t i, int64_t count) {
    const Number s = this->step_at(i, count);
    const Number x = this->shrunk(Number::load(this->w + i, count), s);
    const Number ratio = this->where_moves(x / s, s), moving = this->where_moves(x, s);
    dual = dual + ratio * ratio;
    squares = squares + x * x;
    fixed = fixed + (x - moving) * (x - moving);
    const Number finite = s.where(s > 0, Number(1e30));
    least = finite.where(finite < least, least);
    most = s.where(s > most, most);
  }
};

/// phi = sum (x / (theta + s t))^2, and the same over theta + s t once more.
template <class T>
struct NewtonLoop : GroupEntries<T, true> {
  using Number = Lanes<T>;
  double theta, t;
  Number phi{}, slope{};

  NewtonLoop(const GroupEntries<T, true>& entries, double at, double of)
      : GroupEntries<T, true>(entries), theta(at), t(of) {}

  TORCHREG_INLINE void operator()(int64_t i, int64_t count) {
    const Number s = this->step_at(i, count);
    const Number x = this->shrunk(Number::load(this->w + i, count), s);
    const Number inverse = (theta + s * t).reciprocal(), q = x * inverse, square = q * q;
    phi = phi + square;
    slope = slope + square * inverse;
  }
};

/// w <- theta x / (theta + s t)
template <class T>
struct MetricLoop : GroupEntries<T, true> {
  using Number = Lanes<T>;
  double theta, t;

  MetricLoop(const GroupEntries<T, true>& entries, double at, double of)
      : GroupEntries<T, true>(entries), theta(at), t(of) {}

  TORCHREG_INLINE void operator()(int64_t i, int64_t count) {
    const Number s = this->step_at(i, count);
    const Number x = this->shrunk(Number::load(this->w + i, count), s);
    (x * (theta / (theta + s * t)) + 0).store(this->w + i, count);
  }
};

/// Of a group at zero: m <- m + (w / s - m) weight; sum S(m, l1)^2 tells whether it is held.
template <class T, bool each>
struct HeldLoop : GroupEntries<T, each> {
  using Number = Lanes<T>;
  T* memory;
  double weight;
  Number sum{};

  HeldLoop(const GroupEntries<T, each>& entries, T* of, double newest)
      : GroupEntries<T, each>(entries), memory(of), weight(newest) {}

  TORCHREG_INLINE void operator()(int64_t i, int64_t count) {
    const Number s = this->step_at(i, count), m = Number::load(memory + i, count);
    const Number moved = m + (Number::load(this->w + i, count) / s - m) * weight;
    const Number averaged = each ? moved.where(s > 0, m) : moved;
    averaged.store(memory + i, count);
    const Number x = this->where_moves(shrink(averaged, Number(this->l1)), s);
    sum = sum + x * x;
  }

  double total() const { return sum.sum(); }
};

/// Of a live group whose entries were v: u = y / S, where y is w without the penalty's part of the
/// step S = s / weight; sum S(u, l1)^2 tells whether it falls to zero. With `writes`, the memory is
/// u, or the gradient w / s where the weight is 1.
template <class T, bool each>
struct FallenLoop : GroupEntries<T, each> {
  using Number = Lanes<T>;
  T* memory;
  double weight, pull;  ///< t / ||v||
  bool writes;
  Number sum{};

  FallenLoop(const GroupEntries<T, each>& entries, T* of, double newest, double of_norm,
             bool is_result)
      : GroupEntries<T, each>(entries),
        memory(of),
        weight(newest),
        pull(of_norm),
        writes(is_result) {}

  TORCHREG_INLINE void operator()(int64_t i, int64_t count) {
    const Number s = this->step_at(i, count), v = Number::load(memory + i, count);
    const Number g = Number::load(this->w + i, count) / s;
    const Number r = v.sign() * this->l1 + v * pull;
    const Number u = this->where_moves(weight == 1 ? g : g * weight + r * (1 - weight), s);
    if (writes) u.store(memory + i, count);
    const Number x = shrink(u, Number(this->l1));
    sum = sum + x * x;
  }

  double total() const { return sum.sum(); }
};

}  // namespace torchreg::detail

#include <torchreg/detail/processor/inline_end.hpp>
