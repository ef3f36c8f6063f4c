#pragma once

#include <torch/types.h>

#include <utility>
#include <vector>

#include <torchreg/detail/groups/projections.hpp>
#include <torchreg/formula.hpp>
#include <torchreg/groupings/linked.hpp>
#include <torchreg/groupings/slices.hpp>
#include <torchreg/penalty.hpp>

namespace torchreg {

namespace detail {

/// R(w) = 0 where w >= 0 and sum w = radius in each group, else infinity;  prox: the nearest such.
struct SimplexFormula {
  static constexpr const char* name = "Simplex";
  static constexpr bool grows_with_each = false;
  static constexpr bool is_constraint = true;
  static constexpr bool takes_some = true, never_throws = true;
  static constexpr bool rests_in_padding = true;
  static constexpr Memory memory = Memory::none;
  double radius;
  Grouping grouping;

  std::vector<Strength> strengths() const { return {{"radius", radius}}; }

  torch::Tensor prox(const torch::Tensor& w, const torch::Tensor& step) const {
    return onto_simplex(w, step, radius);
  }
};

}  // namespace detail

/// A constraint: the entries of each group are >= 0, and their sum is `radius`.
///
/// radius >= 0 in units of w; an error if negative, NaN or infinite; 0 holds all at zero. Exact for
/// one step, which does not matter, and in the metric of a step per entry. A group that is there
/// but for the rounding of float or double stays, with its zeros; in half types, which round a sum
/// more, it may move by that. Keeps no memory; as a term of a loss it does not compile. A group
/// with a NaN or infinite entry is left as it is. Source: Duchi, Shalev-Shwartz, Singer, Chandra
/// 2008.
class Simplex : public Penalty<detail::SimplexFormula> {
 public:
  explicit Simplex(double radius, Grouping grouping = rows(), Selector selector = weights())
      : Penalty({radius, std::move(grouping)}, std::move(selector)) {}
  Simplex(double radius, const Links& links) : Simplex(radius, links, links.selector()) {}
};

}  // namespace torchreg
