#pragma once

#include <torch/types.h>

#include <cstdint>
#include <utility>
#include <vector>

#include <torchreg/detail/groups/run_loops.hpp>
#include <torchreg/formula.hpp>
#include <torchreg/groupings/linked.hpp>
#include <torchreg/groupings/slices.hpp>
#include <torchreg/penalty.hpp>

namespace torchreg {

namespace detail {

/// R(w) = 0 where at most k entries of each group are not zero, else infinity;  prox: keeps the k
/// of largest w^2 / step.
struct TopKFormula {
  static constexpr const char* name = "TopK";
  static constexpr bool is_constraint = true;
  static constexpr bool survives_rounding = true;
  static constexpr bool takes_some = true, never_throws = true;
  static constexpr Memory memory = Memory::none;
  int64_t k;
  Grouping grouping;

  std::vector<Strength> strengths() const { return {{"k", static_cast<double>(k), at_least(1)}}; }

  torch::Tensor prox(const torch::Tensor& w, const torch::Tensor& step) const {
    return keep_largest_of_rows<Unit>(w, step, k);
  }
};

}  // namespace detail

/// A constraint: at most k entries of each group are not zero: TopK(2, runs(4)) is 2:4.
///
/// Keeps the k of largest w^2 / step, of equal ones those of the lower index: the nearest such
/// point in every metric. k >= 1, else an error; k of more than a group's entries changes nothing.
/// Keeps no memory; as a term of a loss it does not compile. A group with a NaN or infinite entry
/// is left as it is. Source: Blumensath, Davies 2008.
class TopK : public Penalty<detail::TopKFormula> {
 public:
  explicit TopK(int64_t k, Grouping within = whole(), Selector selector = weights())
      : Penalty({k, std::move(within)}, std::move(selector)) {}
  TopK(int64_t k, const Links& links) : TopK(k, links, links.selector()) {}
};

}  // namespace torchreg
