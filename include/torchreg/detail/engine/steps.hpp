#pragma once

#include <torchreg/detail/engine/update.hpp>
#include <torchreg/detail/formula/faces.hpp>

#include <torchreg/detail/processor/inline_begin.hpp>

namespace torchreg::detail {

/// The steps of some entries, in a tensor or in a register.
template <class X>
struct Steps {
  X step, inverse;  ///< 1 / inverse, and not the other way round, where there is a second moment
  X probe;          ///< > 0 where an entry takes its step
  bool may_rest = false;  ///< whether it may be 0, or no number, somewhere
};

/// The second moment, or what stands in its place: less the square of the mean.
template <class X>
TORCHREG_INLINE X variance_of(const X& moment, const X& mean, bool is_centered) {
  return is_centered ? (moment - mean * mean).clamp_min(0) : moment;
}

/// A number for all entries.
inline torch::Tensor number_like(const torch::Tensor& x, double number) {
  return torch::full({}, number, x.options());
}
template <class X>
TORCHREG_INLINE X number_like(const X& /*x*/, double number) {
  return X(number);
}

/// The given steps, or one for all.
template <class X, class Has>
TORCHREG_INLINE Steps<X> plain_steps(const Operands<X>& x, const Numbers& n, const Has& has) {
  const X step = has.given ? X(x.given * n.rate) : number_like(x.w, n.rate);
  return {step, step.reciprocal(), step, has.given};
}

/// Whether some second moments are 0 or no numbers. A device would have to wait for the answer.
inline bool any_is_dead(const torch::Tensor& moment) {
  return !moment.is_cpu() || moment.numel() == 0 || !(moment.min().item<double>() > 0);
}
template <class X>
TORCHREG_INLINE bool any_is_dead(const X& moment) {
  return (moment == 0).any();
}

/// 1 / step and step of entries with a second moment.
///
/// Of an entry whose second moment is 0, which never had a gradient, the state does not tell the
/// scale, and rate / eps would erase it at once. It gets the step that it would have if its
/// gradients had been the penalty's slope, and stays where that is 0. Of a constraint, which has no
/// slope, it gets the plain rate that SGD would have.
template <class Formula, class X, class Has, class Path>
TORCHREG_INLINE Steps<X> adaptive_steps(const Formula& formula, const Operands<X>& x,
                                        const Numbers& n, const Has& has, const Path& path) {
  X root = variance_of(x.moment, x.mean, has.mean).sqrt();
  X probe = has.mean ? x.moment : root;
  if constexpr (!has_slope<Formula>) {
    const X inverse =
        (root + n.eps).mul_(n.inverse_scale).masked_fill(x.moment == 0, n.inverse_rate);
    return {inverse.reciprocal(), inverse, inverse, true};
  } else {
    const bool some_are_dead = any_is_dead(x.moment);
    if (some_are_dead) {
      const X pull = slope_at(formula, x.w, x.data, path).abs() * n.pull;
      const auto is_dead = x.moment == 0;
      root = pull.where(is_dead, root);
      probe = has.mean ? pull.where(is_dead, probe) : root;
    }
    X inverse = (root + n.eps).mul_(n.inverse_scale);
    if (some_are_dead && n.eps == 0) inverse = inverse.masked_fill(inverse == 0, n.inverse_rate);
    return {inverse.reciprocal(), inverse, probe, some_are_dead};
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
