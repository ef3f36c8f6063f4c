#pragma once

#include <torch/types.h>

#include <utility>
#include <vector>

#include <torchreg/detail/formula/singular_values.hpp>
#include <torchreg/formula.hpp>
#include <torchreg/penalty.hpp>

namespace torchreg {

namespace detail {

/// R(w) = lambda sum of the singular values,  prox of step R: each smaller by step lambda, >= 0.
struct NuclearFormula {
  static constexpr const char* name = "Nuclear";
  static constexpr bool grows_with_each = false;
  static constexpr Domain domain = Domain::tensor;
  static constexpr const char* instead = "use SGD with momentum";
  static constexpr bool has_other_kinks = true;
  double lambda;

  std::vector<Strength> strengths() const { return {{"lambda", lambda}}; }

  torch::Tensor value(const torch::Tensor& w) const { return lambda * SingularValues(w).values; }

  /// U V^T of the singular values that are not 0, to rounding.
  torch::Tensor slope(const torch::Tensor& w) const {
    if (w.numel() == 0) return torch::zeros_like(w);
    const SingularValues s(w.detach());
    const double epsilon = w.scalar_type() == torch::kDouble ? 1e-14 : 1e-6;
    const torch::Tensor is_there = s.values > epsilon * s.values.max();
    const torch::Tensor directions = s.with(is_there.to(w.scalar_type()), w);
    const bool is_recorded = torch::GradMode::is_enabled() && w.requires_grad();
    return lambda * (is_recorded ? directions + s.turn_of(w, is_there) : directions);
  }

  torch::Tensor prox(const torch::Tensor& w, const torch::Tensor& step) const {
    if (w.numel() == 0 || lambda == 0) return w;
    const SingularValues s(w);
    return s.with((s.values - lambda * step).clamp_min(0), w);
  }
};

}  // namespace detail

/// The nuclear norm, R(w) = lambda times the sum of the singular values: matrices of low rank.
///
/// A tensor of more dimensions counts as a matrix, flattened behind dim 0. lambda >= 0, in units of
/// loss per unit of w; an error if negative, NaN or infinite. The prox is exact for one step; for a
/// step per entry there is none, and a ProximalStep after an adaptive optimizer is refused. Takes a
/// singular value decomposition at each call, half types in float32. Keeps no memory. A tensor with
/// a NaN or infinite entry is left as it is. Source: Cai, Candès, Shen 2010.
class Nuclear : public Penalty<detail::NuclearFormula> {
 public:
  explicit Nuclear(double lambda, Selector selector = weights())
      : Penalty(detail::NuclearFormula{lambda}, std::move(selector)) {}
  Nuclear(Penalty penalty) : Penalty(std::move(penalty)) {}  // what scaled_by() returns
};

}  // namespace torchreg
