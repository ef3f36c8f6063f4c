#pragma once

#include <torch/types.h>

#include <string>

#include <torchreg/detail/engine/any_groups.hpp>
#include <torchreg/detail/engine/steps.hpp>

namespace torchreg::detail {

/// The step of some groups, which are the rows of matrices: finite, and 0 of entries that rest.
struct GroupStep {
  Steps<torch::Tensor> steps;  ///< 0-dim, or of each entry
  double strength = 1;         ///< of the penalty
  double weight = 1;           ///< of the newest gradient in the memory
  torch::Tensor factors;       ///< what one step multiplies them by, a column; undefined: unknown
  torch::Tensor in_no_group;   ///< a column: rows of entries in no group; undefined where none is
  torch::ScalarType stored = torch::kFloat;  ///< what w is rounded to
};

/// w <- prox of step R, group by group, and the memory of groups.
///
/// A group at zero stays there while the prox of its averaged gradient is zero; another goes there
/// where the step that its memory is long would take it: w is what the optimizer left, y the same
/// without the penalty's part of N steps. Each result is zero or the textbook prox's value.
struct GroupProx {
  const AnyGroups& groups;
  const std::string& path;

  void operator()(Operands<torch::Tensor>& x, const GroupStep& by) const {
    const torch::Tensor& step = by.steps.step;
    const torch::Tensor moves = moves_of(x.w, step, by);
    const torch::Tensor w =
        moves.defined() ? x.w.masked_fill(x.w.isfinite().logical_not(), 0) : x.w;
    const torch::Tensor textbook = as_stored(prox(w, step, by, x), by.stored);
    torch::Tensor z = as_moved(textbook, moves, x.w);
    if (x.zero.defined()) z = remembered(x, by, w, z, moves);
    x.w = z;
  }

 private:
  /// The result under the memory, which moves on.
  torch::Tensor remembered(Operands<torch::Tensor>& x, const GroupStep& by, const torch::Tensor& w,
                           torch::Tensor z, const torch::Tensor& moves) const {
    const torch::Tensor& step = by.steps.step;
    const torch::Tensor inverse =
        torch::nan_to_num(by.steps.inverse.masked_fill(step == 0, 0), 0, 0, 0);
    const torch::Tensor was_zero = x.zero > 0, was_live = x.zero == 0;
    const torch::Tensor gradient = w * inverse;
    const torch::Tensor mean = x.memory.masked_fill(was_zero.logical_not(), 0);
    const torch::Tensor averaged = mean + (gradient - mean) * by.weight;
    torch::Tensor held = is_zero(prox(step * averaged, step, by, x)) & was_zero;
    if (moves.defined()) held = held & (moves | (w == 0)).all(1, true);  // not beside what rests

    const torch::Tensor last = x.memory.masked_fill(was_live.logical_not(), 0);
    const torch::Tensor slope = groups.slope(groups.formula, last, x.data, path) * by.strength;
    const torch::Tensor far = step / by.weight;
    const torch::Tensor y = w + (far - step) * slope;
    const torch::Tensor fallen = is_zero(prox(y, far, by, x)) & was_live;

    torch::Tensor to_zero = held | fallen;
    if (by.in_no_group.defined()) to_zero = to_zero & by.in_no_group.logical_not();
    z = as_moved(z.masked_fill(to_zero, 0), moves, x.w);
    const torch::Tensor now_zero = is_zero(z);
    const torch::Tensor newest = (y * inverse * by.weight).where(fallen, gradient);
    torch::Tensor memory = averaged.where(was_zero, newest).where(now_zero, z);
    torch::Tensor zero = now_zero.to(x.zero.scalar_type());
    if (moves.defined()) {
      memory = memory.where(moves | now_zero.logical_not(), mean);
      zero = zero.masked_fill(x.w.isfinite().all(1, true).logical_not(), -1);
    }
    x.memory = memory;
    x.zero = zero;
    return z;
  }

  torch::Tensor prox(const torch::Tensor& w, const torch::Tensor& step, const GroupStep& by,
                     const Operands<torch::Tensor>& x) const {
    const torch::Tensor scaled = by.strength == 1 ? step : step * by.strength;
    return groups.prox(groups.formula, w, scaled, x.data, path);
  }

  static torch::Tensor is_zero(const torch::Tensor& z) { return (z == 0).all(1, true); }

  /// Which entries take the step: those of groups that are finite, where it is not 0. Undefined:
  /// all.
  static torch::Tensor moves_of(const torch::Tensor& w, const torch::Tensor& step,
                                const GroupStep& by) {
    const bool is_finite = w.is_cpu() && detail::is_finite(w.sum().item<double>());
    if (is_finite && !by.steps.may_rest) return {};
    const torch::Tensor are_finite = w.isfinite();
    torch::Tensor of_group = are_finite.all(1, true);
    if (by.in_no_group.defined()) of_group = of_group.logical_or(are_finite & by.in_no_group);
    return of_group & (step > 0);
  }

  static torch::Tensor as_moved(const torch::Tensor& z, const torch::Tensor& moves,
                                const torch::Tensor& w) {
    return moves.defined() ? z.where(moves, w) : z;
  }
};

}  // namespace torchreg::detail
