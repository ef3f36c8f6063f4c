#pragma once

#include <utility>
#include <vector>

#include <torchreg/detail/processor/root.hpp>
#include <torchreg/formula.hpp>
#include <torchreg/penalty.hpp>

#include <torchreg/detail/processor/inline_begin.hpp>

namespace torchreg {

namespace detail {

/// R(w) = lambda times the number of entries that are not zero.
struct L0Formula {
  static constexpr const char* name = "L0";
  static constexpr bool takes_lanes = true;
  static constexpr bool is_count = true;
  static constexpr Memory memory = Memory::none;
  double lambda;

  std::vector<Strength> strengths() const { return {{"lambda", lambda}}; }

  template <class Number>
  TORCHREG_INLINE Number prox(const Number& w, const Number& step) const {
    return w.masked_fill(w.abs() <= detail::root_of(2 * lambda * step), 0);
  }
};

}  // namespace detail

/// The number of entries that are not zero, R(w) = lambda |{i: w_i != 0}|.
///
/// lambda >= 0 in units of loss; an error if negative, NaN or infinite. Not convex. The prox keeps
/// what is larger than sqrt(2 step lambda) and zeroes the rest. Its zeros have no memory, as noise
/// is what lets them return. As a term of a loss it does not compile. NaN stays NaN.
/// Source: Blumensath, Davies 2008.
class L0 : public Penalty<detail::L0Formula> {
 public:
  explicit L0(double lambda, Selector selector = weights())
      : Penalty({lambda}, std::move(selector)) {}
  L0(Penalty penalty) : Penalty(std::move(penalty)) {}  // what scaled_by() returns
};

}  // namespace torchreg

#include <torchreg/detail/processor/inline_end.hpp>
