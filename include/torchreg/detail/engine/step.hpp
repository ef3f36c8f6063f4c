#pragma once

#include <torch/types.h>

#include <cmath>

#include <torchreg/detail/formula/number.hpp>

namespace torchreg::detail {

/// How far an optimizer moves each entry per unit of a constant gradient: `rate` for all entries,
/// or, with a second moment q, factor rate / (sqrt(q / correction) + eps) per entry.
struct Step {
  double rate = 0;
  double factor = 1;      ///< what momentum adds up to by now (RMSprop)
  double correction = 1;  ///< of the second moment's bias (Adam)
  double eps = 0;
  double share = 0;             ///< q / g^2, had all gradients of an entry been g
  double gradient_scale = 1;    ///< what the loss's gradients were multiplied by, in the mean
  torch::Tensor second_moment;  ///< q; undefined: one step for all entries
  torch::Tensor mean;           ///< of the gradient: q - mean^2 in place of q (centered RMSprop)
  torch::Tensor given;          ///< by a user's step_size(); rate is then a factor to it

  bool is_scalar() const { return !second_moment.defined() && !given.defined(); }
};

/// 1 / step of an entry: (sqrt(q) + eps) / scale, with the correction of q's bias in scale and eps.
/// `variance` is q, or what stands in its place.
///
/// Of an entry whose q is 0, which never had a gradient, the state does not tell the scale, and
/// rate / eps would erase it at once.
struct InverseStep {
  double inverse_scale, eps, inverse_rate, root_of_share;

  explicit InverseStep(const Step& step)
      : inverse_scale(1 / (step.factor * step.rate * std::sqrt(step.correction))),
        eps(step.eps * std::sqrt(step.correction)),
        inverse_rate(1 / step.rate),
        root_of_share(step.gradient_scale * std::sqrt(step.share)) {}

  template <class Number>
  [[gnu::always_inline]] Number of(const Number& variance) const {
    return (variance.sqrt() + eps) * inverse_scale;
  }

  /// Such an entry gets the plain rate that SGD would have.
  template <class Number>
  [[gnu::always_inline]] Number or_rate(const Number& variance, const Number& q) const {
    return of(variance).masked_fill(q == 0, inverse_rate);
  }

  /// Such an entry gets the step that it would have if its gradients had been the penalty's slope.
  /// Where there is none it stays, and gets the plain rate.
  template <class Number>
  [[gnu::always_inline]] Number or_from(const Number& slope, const Number& variance,
                                        const Number& q) const {
    const Number root = variance.sqrt().where(q != 0, slope.abs() * root_of_share);
    return ((root + eps) * inverse_scale).masked_fill((q == 0) & (slope == 0), inverse_rate);
  }
};

/// q of the compute type of `like`, and what stands in its place.
struct Moments {
  torch::Tensor q, variance;

  Moments(const Step& step, const torch::TensorOptions& options)
      : q(step.second_moment.to(options)), variance(q) {
    if (!step.mean.defined()) return;
    const torch::Tensor mean = step.mean.to(options);
    variance = (q - mean * mean).clamp_min_(0);
  }
};

/// The options of a step for entries of `like`, in whose compute type it is.
inline torch::TensorOptions step_options(const torch::Tensor& like) {
  return like.options().dtype(compute_type(like.scalar_type()));
}

}  // namespace torchreg::detail
