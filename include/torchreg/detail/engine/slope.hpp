#pragma once

#include <torchreg/detail/engine/value.hpp>

#include <torchreg/detail/processor/inline_begin.hpp>

namespace torchreg::detail {

/// gradient <- slope of R, times the weight: the kernel of a term's backward.
template <class Formula>
struct Slope {
  Formula formula;
  const torch::Tensor* outer = nullptr;  ///< in place of the weight, on a device
  torch::ScalarType stored = torch::kFloat;

  static constexpr bool takes_lanes = detail::takes_lanes<Formula>() && HasSlope<Formula>::value;
  static constexpr bool is_separable = detail::is_separable<Formula>;
  static constexpr bool sums = false, has_results = true, reads_gradient = false;
  static constexpr bool takes_steps = false;
  static constexpr bool data = has_data<Formula>;
  using Sets = SetList<Set<false, false, data, false, true>, Set<false, false, data, true, true>>;

  static int arrays(const Operands<bool>& has) {
    return (has_kink<Formula> ? 4 : 7) + (has.factor ? 1 : 0);
  }

  static Operands<bool> writes(const Operands<bool>& /*has*/) {
    Operands<bool> written;
    written.gradient = true;
    return written;
  }

  template <class X, class Has>
  TORCHREG_INLINE void start(const X& /*step*/, const Has& /*has*/) {}

  template <class X, class Has, class Path>
  TORCHREG_INLINE void operator()(Operands<X>& x, const Numbers& n, const Has& has,
                                  const Path& path) const {
    x.gradient = times_outer(scaled(slope_at(formula, x.w, x.data, path), x, n, has), n);
  }

 private:
  torch::Tensor times_outer(const torch::Tensor& slope, const Numbers& n) const {
    return outer != nullptr ? slope * *outer : slope * n.weight;
  }
  template <class X>
  TORCHREG_INLINE X times_outer(const X& slope, const Numbers& n) const {
    return slope * n.weight;
  }
};

/// gradient <- gradient + slope of R, and the value of R: the kernel of add_gradient_(). Rounded
/// twice in half types, as LibTorch accumulates a gradient.
template <class Formula>
struct AddSlope : Value<Formula> {
  using Value<Formula>::formula;
  torch::ScalarType stored = torch::kFloat;

  static constexpr bool takes_lanes = Slope<Formula>::takes_lanes;
  static constexpr bool has_results = true, reads_gradient = true;
  using Sets = typename Slope<Formula>::Sets;

  static int arrays(const Operands<bool>& has) { return Slope<Formula>::arrays(has) + 1; }

  static Operands<bool> writes(const Operands<bool>& has) { return Slope<Formula>::writes(has); }

  template <class X, class Has>
  TORCHREG_INLINE void start(const X& /*step*/, const Has& /*has*/) {}

  template <class X, class Has, class Path>
  TORCHREG_INLINE void operator()(Operands<X>& x, const Numbers& n, const Has& has,
                                  const Path& path) const {
    const X slope = scaled(slope_at(formula, x.w, x.data, path), x, n, has);
    x.gradient = x.gradient + as_stored(slope, stored);
  }
};

}  // namespace torchreg::detail

#include <torchreg/detail/processor/inline_end.hpp>
