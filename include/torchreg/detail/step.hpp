#pragma once

#include <torch/types.h>

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

/// The same with pieces of the step's tensors: as a tensor of the piece's shape and of the compute
/// type of `like`, or 0-dim if the step is one for all entries.
///
/// An entry whose q is 0 never had a gradient, and gets the plain rate that SGD would have; rate /
/// eps would erase it at once.
inline torch::Tensor evaluate(const Step& step, const torch::Tensor& like) {
  const auto options = like.options().dtype(compute_type(like.scalar_type()));
  if (step.given.defined()) return step.given.to(options).mul(step.rate);
  if (step.is_scalar()) {  // double, where it does not promote the piece
    return torch::full({}, step.rate, like.dim() == 0 ? options : options.dtype(torch::kDouble));
  }
  const torch::Tensor q = step.second_moment.to(options);
  torch::Tensor root = q.div(step.correction);
  if (step.mean.defined()) {
    const torch::Tensor mean = step.mean.to(options);
    root.addcmul_(mean, mean, -1).clamp_min_(0);
  }
  root.sqrt_().add_(step.eps).reciprocal_().mul_(step.rate * step.factor);
  return root.masked_fill_(q == 0, step.rate);
}

}  // namespace torchreg::detail
