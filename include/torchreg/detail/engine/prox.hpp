#pragma once

#include <torch/types.h>

#include <algorithm>
#include <limits>
#include <string>
#include <type_traits>

#include <torchreg/detail/engine/memory.hpp>
#include <torchreg/detail/engine/steps.hpp>

#include <torchreg/detail/processor/inline_begin.hpp>

namespace torchreg::detail {

/// z with 0 where a mask holds: in place where the formula promises that z is none of its own.
template <class Formula>
torch::Tensor zeroed(const torch::Tensor& z, const torch::Tensor& where) {
  if constexpr (has_kink<Formula>) return z.masked_fill_(where, 0);
  return torch::zeros({}, z.options()).where(where, z);
}
template <class Formula, class X, class Where>
TORCHREG_INLINE X zeroed(const X& z, const Where& where) {
  return z.masked_fill(where, 0);
}

/// w <- prox of step R, and its memory: the kernel of a step.
template <class Formula>
struct Prox {
  Formula formula;
  torch::ScalarType stored = torch::kFloat;  ///< what w is rounded to
  bool keeps_nonfinite = false;  ///< whether the formula does, at the scalar step of this update

  static constexpr bool takes_lanes = detail::takes_lanes<Formula>();
  static constexpr bool is_separable = detail::is_separable<Formula>;
  static constexpr bool sums = false, has_results = true, reads_gradient = false;
  static constexpr bool takes_steps = true;

  /// More of a formula that is not known, than of any of the library's.
  static int arrays(const Operands<bool>& has) {
    const bool has_each = has.moment || has.given || has.memory;
    const int of_formula = has_kink<Formula> ? 3 : 14, of_steps = has_kink<Formula> ? 6 : 8;
    return of_formula + (has_each ? of_steps : 0) + (has.factor ? 1 : 0);
  }

  // A slope by autograd is for tensors alone.
  static constexpr bool data = has_data<Formula>;
  template <bool factor>
  using SetsOf =
      std::conditional_t<HasSlope<Formula>::value || !has_slope<Formula>,
                         SetList<Set<false, false, data, factor>, Set<false, true, data, factor>,
                                 Set<true, false, data, factor>, Set<true, true, data, factor>>,
                         SetList<Set<false, false, data, factor>, Set<false, true, data, factor>>>;
  using Sets = decltype(SetsOf<false>() + SetsOf<true>());

  static Operands<bool> writes(const Operands<bool>& has) {
    Operands<bool> written;
    written.w = true;
    written.memory = has.memory;
    written.zero = has.zero;
    return written;
  }

  /// Before a loop over registers: asks whether the scalar step keeps NaN and infinities.
  template <class X, class Has>
  TORCHREG_INLINE void start(const X& step, const Has& has) {
    if (has.moment || has.data || has.factor) return;
    const X inf = kInf, nan = std::numeric_limits<double>::quiet_NaN(), none = 0;
    const X of_nan = prox_at(formula, nan, step, none, NoPath());
    keeps_nonfinite = !((of_nan == of_nan) | (prox_at(formula, inf, step, none, NoPath()) != inf) |
                        (prox_at(formula, -inf, step, none, NoPath()) != -inf))
                           .any();
  }

  /// With the result in x.w and x.memory. NaN and infinite entries stay, and those whose step is 0
  /// or no number, whatever the formula makes of them.
  template <class X, class Has, class Path>
  TORCHREG_INLINE void operator()(Operands<X>& x, const Numbers& n, const Has& has,
                                  const Path& path) const {
    const Steps<X> steps =
        has.moment ? adaptive_steps(formula, x, n, has, path) : plain_steps(x, n, has);
    const X step = scaled(steps.step, x, n, has);
    const auto moves = moves_of(x, step, steps.may_rest, n, has);
    X z = stored_as(prox_of(x, step, path), stored);
    if (has.memory) {
      auto veto = veto_of(formula, x, steps, step, n, has, path);
      z = zeroed<Formula>(z, veto.held);
      if (some_stay(moves, has)) z = z.where(moves, stored_as(x.w, stored));
      X memory = veto.averaged.masked_fill_(z != 0, kInf);
      if (may_vanish(x.w, n, has)) memory = memory.where(steps.inverse < kInf, x.memory);
      x.memory = memory;
    } else if (some_stay(moves, has)) {
      z = z.where(moves, stored_as(x.w, stored));
    }
    x.w = z;
  }

 private:
  /// A tensor that a formula takes whole is left as it is where one of its entries is not finite.
  template <class X, class Path>
  TORCHREG_INLINE X prox_of(const Operands<X>& x, const X& step, const Path& path) const {
    if constexpr (domain_of<Formula>() == Domain::tensor) {
      const torch::Tensor is_finite = x.w.isfinite().all();
      const torch::Tensor w = x.w.masked_fill(is_finite.logical_not(), 0);
      return prox_at(formula, w, step, x.data, path).where(is_finite, x.w);
    } else {
      return prox_at(formula, x.w, step, x.data, path);
    }
  }

  /// Whether a step may be 0 in the tensor's type. In registers the question costs more than it
  /// saves.
  template <class Has>
  static bool may_vanish(const torch::Tensor& /*w*/, const Numbers& n, const Has& has) {
    return has.given || (has.moment && !(n.inverse_scale < 1e20));
  }
  template <class X, class Has>
  TORCHREG_INLINE static bool may_vanish(const X& /*w*/, const Numbers& /*n*/, const Has& has) {
    return has.moment;
  }

  /// Which entries take the step. Undefined: all.
  template <class Has>
  torch::Tensor moves_of(const Operands<torch::Tensor>& x, const torch::Tensor& step, bool may_rest,
                         const Numbers& n, const Has& has) const {
    const bool vanishes = may_vanish(x.w, n, has) || has.factor || !(n.strength > 1e-20);
    if (!vanishes && !(may_rest && x.w.is_cpu()) && keeps_all(n, has)) return {};
    const bool all_are_finite = x.w.is_cpu() && detail::is_finite(x.w.sum().item<double>());
    if (all_are_finite && !may_rest && !vanishes) return {};
    return step > x.w - x.w;  // which is NaN of an infinite entry
  }
  template <class X, class Has>
  TORCHREG_INLINE auto moves_of(const Operands<X>& x, const X& step, bool /*may_rest*/,
                                const Numbers& /*n*/, const Has& /*has*/) const {
    return step > x.w - x.w;
  }

  /// Whether the prox itself keeps NaN and infinities: no strength is 0, and every step times those
  /// is far below the largest float. A variance may be infinity less infinity.
  template <class Has>
  bool keeps_all([[maybe_unused]] const Numbers& n, [[maybe_unused]] const Has& has) const {
    if constexpr (has_kink<Formula>) {
      constexpr double kMost = 1e30;
      double least = formula.kink(), most = std::max(least, 1.0);
      for_each_strength(formula, [&](const std::string& /*name*/, double value, const Range&) {
        least = std::min(least, value);
        most = std::max(most, value);
      });
      const double longest = has.moment ? 1 / (n.eps * n.inverse_scale) : n.rate;
      return !has.mean && least > 0 && n.strength * most < kMost && longest < kMost &&
             longest * n.strength * most < kMost;
    }
    return false;
  }

  template <class Has>
  bool some_stay(const torch::Tensor& moves, const Has& /*has*/) const {
    return moves.defined();
  }
  template <class Where, class Has>
  TORCHREG_INLINE bool some_stay(const Where& /*moves*/, const Has& has) const {
    return has.moment || !keeps_nonfinite;
  }

  static constexpr double kInf = std::numeric_limits<double>::infinity();
};

}  // namespace torchreg::detail

#include <torchreg/detail/processor/inline_end.hpp>
