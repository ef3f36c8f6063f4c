#pragma once

#include <torch/types.h>

#include <cstdint>
#include <utility>
#include <vector>

#include <torchreg/detail/groups/projections.hpp>
#include <torchreg/formula.hpp>
#include <torchreg/groupings/linked.hpp>
#include <torchreg/groupings/slices.hpp>
#include <torchreg/penalty.hpp>

namespace torchreg {

namespace detail {

/// R(w) = 0 where at most k groups are not zero, else infinity;  prox: keeps the k of largest
/// sum w^2 / step.
struct TopGroupsFormula {
  static constexpr const char* name = "TopGroups";
  static constexpr bool is_constraint = true;
  static constexpr bool survives_rounding = true;
  static constexpr Memory memory = Memory::none;
  int64_t k;
  Grouping grouping;

  std::vector<Strength> strengths() const { return {{"k", static_cast<double>(k), at_least(1)}}; }

  torch::Tensor prox(const torch::Tensor& w, const torch::Tensor& step) const {
    const torch::Tensor scores = root_means_of(root_scores(w, step), torch::ones({}, w.options()));
    return w.masked_fill(largest_of_rows(scores.t(), k).t().logical_not(), 0);
  }
};

}  // namespace detail

/// A constraint: at most k groups of each tensor are not zero.
///
/// Keeps the k of largest sum of w^2 / step, of equal ones those of the lower number: the nearest
/// such point in every metric. k >= 1, else an error. Keeps no memory; as a term of a loss it does
/// not compile. A group with a NaN or infinite entry is left as it is, and counts as zero. Source:
/// Blumensath, Davies 2008.
class TopGroups : public Penalty<detail::TopGroupsFormula> {
 public:
  explicit TopGroups(int64_t k, Grouping grouping, Selector selector = weights())
      : Penalty({k, std::move(grouping)}, std::move(selector)) {}
  TopGroups(int64_t k, const Links& links) : TopGroups(k, links, links.selector()) {}
};

}  // namespace torchreg
