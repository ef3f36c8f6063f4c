#pragma once

#include <torchreg/detail/engine/steps.hpp>

#include <torchreg/detail/processor/inline_begin.hpp>

namespace torchreg::detail {

/// The value of R at some entries, which the executors sum, and multiply with the strength: the
/// kernel of a term.
template <class Formula>
struct Value {
  Formula formula;

  static constexpr bool takes_lanes = detail::takes_lanes<Formula>();
  static constexpr bool is_separable = detail::is_separable<Formula>;
  static constexpr bool sums = true, has_results = false, reads_gradient = false;
  static constexpr bool takes_steps = false;
  static constexpr bool data = has_data<Formula>;
  using Sets = SetList<Set<false, false, data, false>, Set<false, false, data, true>>;

  static int arrays(const Operands<bool>& has) {
    return (has_kink<Formula> ? 4 : 8) + (has.factor ? 1 : 0);
  }

  static Operands<bool> writes(const Operands<bool>& /*has*/) { return {}; }

  template <class X, class Has, class Path>
  TORCHREG_INLINE X at(const Operands<X>& x, const Has& has, const Path& path) const {
    const X value = value_at(formula, x.w, x.data, path);
    return has.factor ? X(value * x.factor) : value;
  }
};

/// The same by LibTorch's operations alone, which autograd records.
template <class Formula>
struct RecordedValue : Value<Formula> {
  static constexpr bool takes_lanes = false;
};

}  // namespace torchreg::detail

#include <torchreg/detail/processor/inline_end.hpp>
