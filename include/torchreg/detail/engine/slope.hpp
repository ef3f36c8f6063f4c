#pragma once

#include <torchreg/detail/engine/update.hpp>
#include <torchreg/detail/formula/faces.hpp>

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
  static constexpr int arrays = 8;
  using Sets = SetList<Set<false, false, has_data<Formula>, true>>;

  static Operands<bool> writes(const Operands<bool>& /*has*/) {
    Operands<bool> written;
    written.gradient = true;
    return written;
  }

  template <class X, class Has>
  TORCHREG_INLINE void start(const X& /*step*/, const Has& /*has*/) {}

  template <class X, class Has, class Path>
  TORCHREG_INLINE void operator()(Operands<X>& x, const Numbers& n, const Has& /*has*/,
                                  const Path& path) const {
    x.gradient = times_outer(slope_at(formula, x.w, x.data, path), n);
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

}  // namespace torchreg::detail

#include <torchreg/detail/processor/inline_end.hpp>
