#pragma once

#include <torchreg/detail/engine/update.hpp>
#include <torchreg/detail/formula/faces.hpp>

#include <torchreg/detail/processor/inline_begin.hpp>

namespace torchreg::detail {

/// The value of R at some entries, which the executors sum: the kernel of a term.
template <class Formula>
struct Value {
  Formula formula;

  static constexpr bool takes_lanes = detail::takes_lanes<Formula>();
  static constexpr bool is_separable = detail::is_separable<Formula>;
  static constexpr int arrays = 6;
  using Sets = SetList<Set<false, false, has_data<Formula>>>;

  static Operands<bool> writes(const Operands<bool>& /*has*/) { return {}; }

  template <class X, class Path>
  TORCHREG_INLINE X at(const Operands<X>& x, const Path& path) const {
    return value_at(formula, x.w, x.data, path);
  }
};

/// The same by LibTorch's operations alone, which autograd records.
template <class Formula>
struct RecordedValue : Value<Formula> {
  static constexpr bool takes_lanes = false;
};

/// Whether a kernel sums values instead of writing tensors.
template <class Kernel>
constexpr bool is_sum = false;
template <class Formula>
constexpr bool is_sum<Value<Formula>> = true;
template <class Formula>
constexpr bool is_sum<RecordedValue<Formula>> = true;

}  // namespace torchreg::detail

#include <torchreg/detail/processor/inline_end.hpp>
