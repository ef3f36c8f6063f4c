#pragma once

#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <string>

#include <torchreg/detail/engine/steps.hpp>
#include <torchreg/detail/formula/faces.hpp>
#include <torchreg/parameters.hpp>

namespace torchreg::detail {

/// The step of a prox that stands for the limit of small ones: a power of 2, so that products with
/// it are exact.
constexpr double kSmallStep = 1.0 / (1 << 30);

/// Double, where the device has it.
inline torch::ScalarType exact_type(const torch::Tensor& w) {
  return w.is_cpu() || w.is_cuda() ? torch::kDouble : compute_type(w.scalar_type());
}

inline torch::Tensor gradient_for(const std::string& who, const Parameter& parameter) {
  const torch::Tensor gradient = parameter.tensor.grad();
  TORCH_CHECK_VALUE(gradient.defined(), who, ": ", literal(parameter.path),
                    " has no gradient; call backward() of the loss alone, over all data, first");
  return gradient.detach();
}

/// What an entry of a type may be off by, relative to it.
inline double rounding_of(torch::ScalarType type) {
  if (type == torch::kHalf) return std::ldexp(1, -11);
  if (type == torch::kBFloat16) return std::ldexp(1, -8);
  return type == torch::kFloat ? std::ldexp(1, -24) : std::ldexp(1, -53);
}

/// A small step of a constraint, one for the tensor: so small that it stays in the same face of the
/// set, as far as no entry is a like fraction of the largest, so large that what is rounded is
/// small beside it: w where it is stored, unless the set survives that, and differences of it.
template <class Formula>
torch::Tensor small_step_like(const torch::Tensor& w, const torch::Tensor& gradient,
                              torch::ScalarType stored) {
  if (w.numel() == 0) return torch::full({}, kSmallStep, w.options());
  const double relative = survives_rounding<Formula>
                              ? 4 * std::sqrt(rounding_of(w.scalar_type()))
                              : std::max(1e-6, 4 * std::sqrt(rounding_of(stored)));
  const torch::Tensor ratio = relative * w.abs().max() / gradient.abs().max();
  return ratio.where((ratio > 0) & ratio.isfinite(), torch::full_like(ratio, kSmallStep));
}

/// Whether distances are those of its slope, but for zeros; else all are found by its prox.
template <class Formula>
constexpr bool is_by_slope = has_slope<Formula> && !has_other_kinks<Formula>;

/// The distance of -gradient to the subdifferential of R times its factors at each entry of w,
/// which is stored in that type. With a given step, whose 0 is of padding, that is the small one.
template <class Formula>
torch::Tensor distance_at(const Formula& formula, const Operands<torch::Tensor>& x,
                          const Numbers& n, const std::string& path, torch::ScalarType stored) {
  const auto has = presence_of(x);
  constexpr bool by_slope = is_by_slope<Formula>;
  torch::Tensor off_zero;
  if constexpr (by_slope) {
    off_zero = (x.gradient + scaled(slope_at(formula, x.w, x.data, path), x, n, has)).abs();
    if constexpr (!HasProx<Formula>::value) return off_zero;
  }
  if constexpr (HasProx<Formula>::value) {
    const torch::Tensor small = has.given  ? x.given
                                : by_slope ? number_like(x.w, kSmallStep)
                                           : small_step_like<Formula>(x.w, x.gradient, stored);
    const torch::Tensor step = scaled(small, x, n, has);
    const torch::Tensor moved = x.w - small * x.gradient;
    const torch::Tensor z = prox_at(formula, moved, step, x.data, path).where(step > 0, moved);
    torch::Tensor by_prox = ((z - x.w).abs() / small).masked_fill(small == 0, 0);
    if (!by_slope) return by_prox;
    torch::Tensor is_by_prox = x.w == 0;
    if (is_constraint<Formula>) {  // which takes what is outside far beyond a small step
      is_by_prox = is_by_prox | (by_prox > 2 * off_zero + 1e3 * x.w.abs());
    }
    return by_prox.where(is_by_prox, off_zero);
  }
}

/// Largest, sum of squares, and largest at zeros, of some entries: three doubles or floats.
template <class Formula>
torch::Tensor distances_of(const Formula& formula, const Operands<torch::Tensor>& piece,
                           const Numbers& n, const std::string& path) {
  const auto type = exact_type(piece.w);
  Operands<torch::Tensor> x;
  for_each_operand(
      [&](const torch::Tensor& from, torch::Tensor& to) {
        if (from.defined()) to = from.to(piece.w.device(), type);
      },
      piece, x);
  if (x.w.numel() == 0) return torch::zeros({3}, x.w.options());
  const torch::Tensor number =
      x.w - x.w;  // NaN where an entry is none, which a sign of 0 would hide
  const torch::Tensor distance = distance_at(formula, x, n, path, piece.w.scalar_type()) + number;
  const torch::Tensor at_zeros = distance.masked_fill(x.w != 0, 0);
  return torch::stack({distance.max(), distance.square().sum(), at_zeros.max()});
}

/// The distances of one parameter: 3 numbers in each row, of its pieces.
struct Distances {
  std::string path;
  torch::Tensor rows;
};

}  // namespace torchreg::detail
