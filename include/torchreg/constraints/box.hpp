#pragma once

#include <utility>
#include <vector>

#include <torchreg/formula.hpp>
#include <torchreg/penalty.hpp>

#include <torchreg/detail/processor/inline_begin.hpp>

namespace torchreg {

namespace detail {

/// R(w) = 0 where low <= w <= high, else infinity;  prox: the nearest such number.
struct BoxFormula {
  static constexpr const char* name = "Box";
  static constexpr bool grows_with_each = false;
  static constexpr bool takes_lanes = true;
  static constexpr bool is_constraint = true;
  static constexpr Memory memory = Memory::none;
  double low;
  double high;

  std::vector<Strength> strengths() const {
    return {{"low", low, any_number()}, {"high", high, any_number()}};
  }

  void check() const {
    TORCH_CHECK_VALUE(low <= high, name, ": low must be <= high, got ", low, " and ", high);
  }

  template <class Number>
  TORCHREG_INLINE Number prox(const Number& w, const Number& /*step*/) const {
    return w.clamp(low, high);
  }
};

}  // namespace detail

/// A constraint: low <= w <= high for each entry.
///
/// Either may be infinite; an error if low > high, or one is NaN. The same in every metric; keeps
/// no memory. As a term of a loss it does not compile. NaN and infinite entries stay.
class Box : public Penalty<detail::BoxFormula> {
 public:
  Box(double low, double high, Selector selector = weights())
      : Penalty({low, high}, std::move(selector)) {}
};

}  // namespace torchreg

#include <torchreg/detail/processor/inline_end.hpp>
