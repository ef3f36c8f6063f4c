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

/// R(w) = lambda sum_g w_g ||w_g||,  prox of step R: each group shorter by step lambda w_g.
struct GroupLassoFormula {
  static constexpr const char* name = "GroupLasso";
  static constexpr bool takes_weights = true, takes_some = true, never_throws = true;
  double lambda;
  Grouping grouping;

  std::vector<Strength> strengths() const { return {{"lambda", lambda}}; }

  bool makes_zeros() const { return lambda > 0; }

  NormStrengths norms() const { return {0, lambda}; }

  torch::Tensor value(const torch::Tensor& w, const torch::Tensor& weights) const {
    return lambda * weights * norms_of(w);
  }

  torch::Tensor slope(const torch::Tensor& w, const torch::Tensor& weights) const {
    return lambda * weights * directions_of(w);
  }

  torch::Tensor prox(const torch::Tensor& w, const torch::Tensor& step,
                     const torch::Tensor& weights) const {
    return shrink_groups(w, step, lambda * weights);
  }
};

}  // namespace detail

/// The group lasso, R(w) = lambda sum_g w_g ||w_g||: whole groups become zero, and none within.
///
/// lambda >= 0, in units of loss per unit of w; an error if negative, NaN or infinite. w_g is the
/// root of a group's entries, unless the grouping says another. The term's slope at a zero group is
/// 0. The prox is exact for one step, and in the metric of a step per entry, without a wait for the
/// device. A group with a NaN or infinite entry is left as it is. Source: Yuan, Lin 2006.
class GroupLasso : public Penalty<detail::GroupLassoFormula> {
 public:
  explicit GroupLasso(double lambda, Grouping grouping = rows(), Selector selector = weights())
      : Penalty({lambda, std::move(grouping)}, std::move(selector)) {}
  GroupLasso(double lambda, const Links& links) : GroupLasso(lambda, links, links.selector()) {}
  GroupLasso(Penalty penalty) : Penalty(std::move(penalty)) {}  // what scaled_by() returns
};

}  // namespace torchreg
