#pragma once

#include <torch/types.h>

#include <torchreg/detail/formula/number.hpp>
#include <torchreg/detail/text/checks.hpp>

namespace torchreg {

/// S(w, t) = sign(w) max(|w| - t, 0), entry by entry: the prox of t|w|.
///
/// t >= 0 broadcasts to w; an error if it is negative, NaN or infinite. Entries with |w| <= t
/// become +0.0; NaN stays NaN and infinities stay infinite; t = 0 changes nothing but the sign of
/// -0.0. Half types are computed in float32 and rounded once. Differentiable. Source: Donoho 1995.
inline torch::Tensor soft_threshold(const torch::Tensor& w, const torch::Tensor& t) {
  detail::check_floating("soft_threshold", Parameters(w));
  detail::check_strengths_in("soft_threshold: t", t);
  detail::check_broadcasts("soft_threshold: t", t, {"tensor 0", w});
  const torch::Tensor x = detail::in_compute_type(w);
  return detail::shrink(x, t.dim() == 0 ? t : t.expand_as(w)).to(w.scalar_type()) + 0.0;
}

/// The same with one threshold for all entries.
inline torch::Tensor soft_threshold(const torch::Tensor& w, double t) {
  detail::check_floating("soft_threshold", Parameters(w));
  return soft_threshold(w, torch::full({}, t, torch::kDouble));
}

/// In place and without gradient; t a number or a tensor.
template <class Threshold>
torch::Tensor soft_threshold_(torch::Tensor w, const Threshold& t) {
  torch::NoGradGuard no_grad;
  detail::check_writable("soft_threshold_", Parameters(w));
  return w.copy_(soft_threshold(w, t));
}

}  // namespace torchreg
