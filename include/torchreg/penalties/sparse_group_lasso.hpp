#pragma once

#include <torch/types.h>

#include <utility>
#include <vector>

#include <torchreg/detail/groups/norms.hpp>
#include <torchreg/formula.hpp>
#include <torchreg/groupings/linked.hpp>
#include <torchreg/groupings/slices.hpp>
#include <torchreg/penalty.hpp>

namespace torchreg {

namespace detail {

/// R(w) = l1 sum |w| + group sum_g w_g ||w_g||,  prox: that of L1, then that of the groups.
struct SparseGroupLassoFormula {
  static constexpr const char* name = "SparseGroupLasso";
  static constexpr bool takes_weights = true, takes_some = true, never_throws = true;
  double l1;
  double group;
  Grouping grouping;

  std::vector<Strength> strengths() const { return {{"l1", l1}, {"group", group}}; }

  bool makes_zeros() const { return l1 > 0 || group > 0; }

  NormStrengths norms() const { return {l1, group}; }

  torch::Tensor value(const torch::Tensor& w, const torch::Tensor& weights) const {
    return group * weights * norms_of(w) + l1 * sums_of(w.abs());
  }

  torch::Tensor slope(const torch::Tensor& w, const torch::Tensor& weights) const {
    return group * weights * directions_of(w) + l1 * w.sign();
  }

  torch::Tensor prox(const torch::Tensor& w, const torch::Tensor& step,
                     const torch::Tensor& weights) const {
    return shrink_groups(detail::shrink(w, l1 * step), step, group * weights);
  }
};

}  // namespace detail

/// The sparse group lasso, R(w) = l1 sum |w| + group sum_g w_g ||w_g||: whole groups become zero,
/// and entries within the others.
///
/// l1, group >= 0, in units of loss per unit of w; an error if negative, NaN or infinite. w_g is
/// the root of a group's entries, unless the grouping says another; entries in no group have their
/// L1. The term's slope is 0 at zeros. The prox is exact for one step, and in the metric of a step
/// per entry. A group with a NaN or infinite entry is left as it is. Source: Simon et al. 2013.
class SparseGroupLasso : public Penalty<detail::SparseGroupLassoFormula> {
 public:
  SparseGroupLasso(double l1, double group, Grouping grouping = rows(),
                   Selector selector = weights())
      : Penalty({l1, group, std::move(grouping)}, std::move(selector)) {}
  SparseGroupLasso(double l1, double group, const Links& links)
      : SparseGroupLasso(l1, group, links, links.selector()) {}
  SparseGroupLasso(Penalty penalty) : Penalty(std::move(penalty)) {}  // what scaled_by() returns

  /// l1 = alpha lambda, group = (1 - alpha) lambda, as in R's SGL; more arguments as above. An
  /// error if alpha is outside [0, 1].
  template <class... More>
  static SparseGroupLasso from_alpha(double lambda, double alpha, More... more) {
    detail::check_strength("SparseGroupLasso: lambda", lambda);
    TORCH_CHECK_VALUE(alpha >= 0 && alpha <= 1, "SparseGroupLasso: alpha must be in [0, 1], got ",
                      alpha);
    return SparseGroupLasso(alpha * lambda, (1 - alpha) * lambda, std::move(more)...);
  }
};

}  // namespace torchreg
