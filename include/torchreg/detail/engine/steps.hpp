#pragma once

#include <torchreg/detail/engine/update.hpp>
#include <torchreg/detail/formula/faces.hpp>
#include <torchreg/detail/processor/root.hpp>

#include <torchreg/detail/processor/inline_begin.hpp>

namespace torchreg::detail {

/// The steps of some entries, in a tensor or in a register. An entry whose step is 0, or no number,
/// stays.
template <class X>
struct Steps {
  X step, inverse;        ///< where there is a second moment, the step is made from its inverse
  bool may_rest = false;  ///< whether some entries may stay
};

/// The second moment, or what stands in its place: less the square of the mean.
template <class X>
TORCHREG_INLINE X variance_of(const X& moment, const X& mean, bool is_centered) {
  return is_centered ? (moment - mean * mean).clamp_min(0) : moment;
}

/// A number for all entries.
inline torch::Tensor number_like(const torch::Tensor& x, double number) {
  return torch::scalar_tensor(number, x.options());
}
template <class X>
TORCHREG_INLINE X number_like(const X& /*x*/, double number) {
  return X(number);
}

/// A step or a slope times what the penalty is multiplied by: in registers, a number of 1 has loops
/// without it.
template <class Has>
torch::Tensor scaled(const torch::Tensor& y, const Operands<torch::Tensor>& x, const Numbers& n,
                     const Has& has) {
  const torch::Tensor z = n.strength == 1 ? y : y * n.strength;
  return has.factor ? z * x.factor : z;
}
template <class X, class Has>
TORCHREG_INLINE X scaled(const X& y, const Operands<X>& x, const Numbers& n, const Has& has) {
  return has.factor ? y * n.strength * x.factor : y;
}

/// The given steps, or one for all.
template <class X, class Has>
TORCHREG_INLINE Steps<X> plain_steps(const Operands<X>& x, const Numbers& n, const Has& has) {
  const X step = has.given ? X(x.given * n.rate) : number_like(x.w, n.rate);
  return {step, step.reciprocal(), has.given};
}

/// Whether some second moments are 0, infinite or no numbers. A device would have to wait for it.
inline bool some_are_odd(const torch::Tensor& moment) {
  if (!moment.is_cpu() || moment.numel() == 0) return true;
  const auto [least, most] = torch::aminmax(moment);
  return !(least.item<double>() > 0) || !is_finite(most.item<double>());
}
template <class X>
TORCHREG_INLINE bool some_are_odd(const X& moment) {
  return (moment == 0).any();
}

/// The root of a second moment, or the pull of the penalty's slope where that is 0. On a device,
/// where nothing asks whether the steps of a penalty with a kink are numbers, also where it is
/// none.
template <class Formula, class Has, class Path>
torch::Tensor root_or_pull(const Formula& formula, const torch::Tensor& root,
                           const Operands<torch::Tensor>& x, const Numbers& n, const Has& has,
                           const Path& path) {
  const bool asks = x.moment.is_cpu() || !has_kink<Formula>;
  if constexpr (has_constant_slope<Formula>) {  // in three launches, not six
    if (!asks && !has.factor) {
      return root.masked_fill_((x.moment > 0).logical_not_(), formula.kink() * n.strength * n.pull);
    }
  }
  const torch::Tensor slope = slope_at(formula, x.w, x.data, path);
  const torch::Tensor pull = scaled(slope.abs(), x, n, has) * n.pull;
  return asks ? pull.where(x.moment == 0, root) : root.where(x.moment > 0, pull);
}
template <class Formula, class X, class Has, class Path>
TORCHREG_INLINE X root_or_pull(const Formula& formula, const X& root, const Operands<X>& x,
                               const Numbers& n, const Has& has, const Path& path) {
  const X pull = scaled(slope_at(formula, x.w, x.data, path).abs(), x, n, has) * n.pull;
  return pull.where(x.moment == 0, root);
}

/// 1 / step and step of entries with a second moment.
///
/// Of an entry whose second moment is 0, which never had a gradient, the state does not tell the
/// scale, and rate / eps would erase it at once. It gets the step that it would have if its
/// gradients had been the penalty's slope, and stays where that is 0. Of a constraint, which holds
/// there too, it gets the plain rate that SGD would have.
template <class Formula, class X, class Has, class Path>
TORCHREG_INLINE Steps<X> adaptive_steps(const Formula& formula, const Operands<X>& x,
                                        const Numbers& n, const Has& has, const Path& path) {
  X root = root_of(variance_of(x.moment, x.mean, has.mean));
  if constexpr (!has_slope<Formula>) {
    const X inverse =
        (root + n.eps).mul_(n.inverse_scale).masked_fill(x.moment == 0, n.inverse_rate);
    return {inverse.reciprocal(), inverse, true};
  } else {
    const bool are_odd = some_are_odd(x.moment);
    if (are_odd) root = root_or_pull(formula, root, x, n, has, path);
    X inverse = (root + n.eps).mul_(n.inverse_scale);
    if constexpr (is_constraint<Formula>) {
      const auto is_still = (root == 0) & (x.moment == 0);
      if (are_odd) inverse = inverse.masked_fill(is_still, n.inverse_rate);
      return {inverse.reciprocal(), inverse, are_odd};
    }
    X step = inverse.reciprocal();
    // A penalty with a kink changes nothing where it has no slope, by any step whose products with
    // strengths are finite.
    const bool changes_nothing =
        has_kink<Formula> && !has.factor && n.eps * n.inverse_scale > 1e-18;
    if (are_odd && !changes_nothing) {
      const auto is_still = root == 0;  // not so of a centered moment, whose variance may be 0
      step.masked_fill_(has.mean ? is_still & (x.moment == 0) : is_still, 0);
    }
    return {step, inverse, are_odd};
  }
}

/// The step of each entry of w, in the type that it is computed in. An entry without any gradient
/// has the plain rate, as that of a constraint.
inline torch::Tensor step_of_each(const Operands<torch::Tensor>& state, const Numbers& n,
                                  const torch::Tensor& w) {
  const auto options = w.options().dtype(compute_type(w.scalar_type()));
  Operands<torch::Tensor> x;
  for_each_operand(
      [&](const torch::Tensor& from, torch::Tensor& to) {
        if (from.defined()) to = from.detach().to(options);
      },
      state, x);
  x.w = w.detach().to(options);
  const auto has = presence_of(x);
  struct Constraint {};
  return has.moment ? adaptive_steps(Constraint(), x, n, has, std::string()).step
                    : plain_steps(x, n, has).step.expand_as(w);
}

}  // namespace torchreg::detail

#include <torchreg/detail/processor/inline_end.hpp>
