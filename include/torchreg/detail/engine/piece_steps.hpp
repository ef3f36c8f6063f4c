#pragma once

#include <torch/types.h>

#include <string>
#include <utility>

#include <torchreg/detail/engine/step.hpp>
#include <torchreg/detail/formula/faces.hpp>

namespace torchreg::detail {

/// The steps of a piece: 0-dim or of its shape. `stays` is undefined where no entry does.
struct PieceSteps {
  torch::Tensor step, inverse, stays;
};

/// The steps of entries x. An entry without any gradient stays where the penalty has no slope.
template <class Formula>
PieceSteps steps_of(const Formula& formula, const Step& step, const torch::Tensor& x,
                    const std::string& path) {
  PieceSteps steps;
  if (step.is_scalar() || step.given.defined()) {
    steps.step = step.is_scalar() ? torch::full({}, step.rate, x.options())
                                  : step.given.to(x.options()).mul(step.rate);
    steps.inverse = steps.step.reciprocal();
    return steps;
  }
  const Moments moments(step, x.options());
  const torch::Tensor &q = moments.q, &variance = moments.variance;
  const InverseStep inverse(step);
  if constexpr (has_slope<Formula>) {
    const torch::Tensor is_dead = q == 0;
    if (is_dead.is_cpu() && !is_dead.any().item<bool>()) {  // a device would have to wait
      steps.inverse = inverse.of(variance);
    } else {
      const torch::Tensor slope = slope_at(formula, x, path).to(x.scalar_type());
      steps.inverse = inverse.or_from(slope, variance, q);
      steps.stays = is_dead & (slope == 0);
    }
  } else {
    steps.inverse = inverse.or_rate(variance, q);
  }
  steps.step = steps.inverse.reciprocal();
  return steps;
}

}  // namespace torchreg::detail
