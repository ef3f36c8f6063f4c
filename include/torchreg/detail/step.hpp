#pragma once

#include <torch/types.h>

#include <cmath>

#include <torchreg/detail/number.hpp>

namespace torchreg::detail {

/// How far an optimizer moves each entry per unit of a constant gradient: `rate` for all entries,
/// or, with a second moment q, factor rate / (sqrt(q / correction) + eps) per entry.
struct Step {
  double rate = 0;
  double factor = 1;      ///< what momentum adds up to by now (RMSprop)
  double correction = 1;  ///< of the second moment's bias (Adam)
  double eps = 0;
  torch::Tensor second_moment;  ///< q; undefined: one step for all entries
  torch::Tensor mean;           ///< of the gradient: q - mean^2 in place of q (centered RMSprop)
  torch::Tensor given;          ///< by a user's step_size(); rate is then a factor to it

  bool is_scalar() const { return !second_moment.defined() && !given.defined(); }
};

/// 1 / step of an entry: (sqrt(q) + eps) / scale, with the correction of q's bias in scale and eps.
struct InverseStep {
  double inverse_scale, eps, inverse_rate;

  explicit InverseStep(const Step& step)
      : inverse_scale(1 / (step.factor * step.rate * std::sqrt(step.correction))),
        eps(step.eps * std::sqrt(step.correction)),
        inverse_rate(1 / step.rate) {}

  /// An entry whose q is 0 never had a gradient, and gets the plain rate that SGD would have; rate
  /// / eps would erase it at once. `variance` is q, or what stands in its place.
  template <class Number>
  [[gnu::always_inline]] Number operator()(const Number& q, const Number& variance) const {
    return ((variance.sqrt() + eps) * inverse_scale).masked_fill(q == 0, inverse_rate);
  }
};

/// The step as a tensor of the compute type of `like`: of its shape, or 0-dim if the step is one
/// for all entries. The step's own tensors are of its shape.
inline torch::Tensor evaluate(const Step& step, const torch::Tensor& like) {
  const auto options = like.options().dtype(compute_type(like.scalar_type()));
  if (step.given.defined()) return step.given.to(options).mul(step.rate);
  if (step.is_scalar()) return torch::full({}, step.rate, options);
  const torch::Tensor q = step.second_moment.to(options);
  if (!step.mean.defined()) return InverseStep(step)(q, q).reciprocal_();
  const torch::Tensor mean = step.mean.to(options);
  return InverseStep(step)(q, (q - mean * mean).clamp_min_(0)).reciprocal_();
}

}  // namespace torchreg::detail
