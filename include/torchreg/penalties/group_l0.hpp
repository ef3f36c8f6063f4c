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

/// R(w) = lambda sum of w_g over the groups that are not zero.
struct GroupL0Formula {
  static constexpr const char* name = "GroupL0";
  static constexpr bool takes_weights = true, takes_some = true, never_throws = true;
  static constexpr bool is_count = true;
  static constexpr Memory memory = Memory::none;
  double lambda;
  Grouping grouping;

  std::vector<Strength> strengths() const { return {{"lambda", lambda}}; }

  /// Keeps a group where sum w^2 / step > 2 lambda w_g, and one that rests.
  torch::Tensor prox(const torch::Tensor& w, const torch::Tensor& step,
                     const torch::Tensor& weights) const {
    const torch::Tensor length = norms_of((w / step.sqrt()).masked_fill(w == 0, 0));
    return w.masked_fill(length <= (2 * lambda * weights).sqrt(), 0);
  }
};

}  // namespace detail

/// The number of groups that are not zero, R(w) = lambda sum_g w_g [w_g != 0].
///
/// lambda >= 0 in units of loss; an error if negative, NaN or infinite. w_g is the root of a
/// group's entries, unless the grouping says another. Not convex; exact in every metric. Keeps no
/// memory. As a term of a loss it does not compile. A group with a NaN or infinite entry is left as
/// it is. Source: Blumensath, Davies 2008.
class GroupL0 : public Penalty<detail::GroupL0Formula> {
 public:
  explicit GroupL0(double lambda, Grouping grouping = rows(), Selector selector = weights())
      : Penalty({lambda, std::move(grouping)}, std::move(selector)) {}
  GroupL0(double lambda, const Links& links) : GroupL0(lambda, links, links.selector()) {}
  GroupL0(Penalty penalty) : Penalty(std::move(penalty)) {}  // what scaled_by() returns
};

}  // namespace torchreg
