#pragma once

#include <torch/types.h>

#include <utility>
#include <vector>

#include <torchreg/detail/groups/of_norms.hpp>
#include <torchreg/formula.hpp>
#include <torchreg/groupings/linked.hpp>
#include <torchreg/groupings/slices.hpp>
#include <torchreg/penalties/scad.hpp>
#include <torchreg/penalty.hpp>

namespace torchreg {

namespace detail {

/// R(w) = sum_g SCAD of ||w_g|| with lambda w_g in place of lambda.
struct GroupSCADFormula {
  static constexpr const char* name = "GroupSCAD";
  static constexpr bool takes_weights = true, takes_some = true, never_throws = true;
  static constexpr const char* instead = "use GroupLasso, or SGD with momentum";
  double lambda;
  double a;
  Grouping grouping;

  std::vector<Strength> strengths() const { return {{"lambda", lambda}, {"a", a, above(2)}}; }

  bool makes_zeros() const { return lambda > 0; }

  torch::Tensor value(const torch::Tensor& w, const torch::Tensor& weights) const {
    return value_of_norms(of_numbers(), w, lambda * weights);
  }

  torch::Tensor slope(const torch::Tensor& w, const torch::Tensor& weights) const {
    return slope_of_norms(of_numbers(), w, lambda * weights);
  }

  torch::Tensor prox(const torch::Tensor& w, const torch::Tensor& step,
                     const torch::Tensor& weights) const {
    return prox_of_norms(of_numbers(), w, step, lambda * weights);
  }

 private:
  SCADFormula of_numbers() const { return {1, a}; }
};

}  // namespace detail

/// The group SCAD, R(w) = sum_g p(||w_g||), p that of SCAD with lambda w_g: whole groups become
/// zero, and large ones have no bias.
///
/// lambda >= 0 and a > 2 as in SCAD; an error if not, or infinite. w_g is the root of a group's
/// entries, unless the grouping says another. Not convex. The term's slope at a zero group is 0.
/// The prox is exact for one step a group; for a step per entry there is no closed form, and a
/// ProximalStep after an adaptive optimizer is refused. A group with a NaN or infinite entry is
/// left as it is. Source: Breheny, Huang 2015.
class GroupSCAD : public Penalty<detail::GroupSCADFormula> {
 public:
  explicit GroupSCAD(double lambda, double a = 3.7, Grouping grouping = rows(),
                     Selector selector = weights())
      : Penalty(detail::GroupSCADFormula{lambda, a, std::move(grouping)}, std::move(selector)) {}
  GroupSCAD(double lambda, double a, const Links& links)
      : GroupSCAD(lambda, a, links, links.selector()) {}
  GroupSCAD(Penalty penalty) : Penalty(std::move(penalty)) {}  // what scaled_by() returns
};

}  // namespace torchreg
