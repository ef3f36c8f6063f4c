#pragma once

#include <torch/types.h>

#include <functional>
#include <limits>
#include <utility>
#include <vector>

#include <torchreg/detail/groups/norms.hpp>
#include <torchreg/formula.hpp>
#include <torchreg/groupings/slices.hpp>
#include <torchreg/penalty.hpp>

namespace torchreg {

/// The sum of a tensor over all processes, of the same shape. It may be written in place.
using SumOverShards = std::function<torch::Tensor(torch::Tensor)>;

namespace detail {

/// The group lasso where each process has some entries of each group.
struct ShardedGroupLassoFormula {
  static constexpr const char* name = "ShardedGroupLasso";
  static constexpr bool takes_weights = true;
  double lambda;
  SumOverShards sum;
  Grouping grouping;

  std::vector<Strength> strengths() const { return {{"lambda", lambda}}; }

  bool makes_zeros() const { return lambda > 0; }

  torch::Tensor value(const torch::Tensor& w, const torch::Tensor& weights) const {
    const auto all = totals({w.square()}, weights);
    return (lambda * all[0] * all[1].sqrt()).to(w.scalar_type());
  }

  torch::Tensor slope(const torch::Tensor& w, const torch::Tensor& weights) const {
    const auto all = totals({w.square()}, weights);
    const torch::Tensor norms = all[1].sqrt();
    return (lambda * all[0] * w / norms.masked_fill(norms == 0, 1)).to(w.scalar_type());
  }

  torch::Tensor prox(const torch::Tensor& w, const torch::Tensor& step,
                     const torch::Tensor& weights) const {
    const torch::Tensor x = w.to(torch::kDouble), s = step.to(torch::kDouble);
    return (step.dim() == 0 ? in_one_step(x, s, weights) : in_metric(x, s, weights))
        .to(w.scalar_type());
  }

 private:
  /// The groups' weights, then the sums of the rows of each matrix: columns of doubles, over all
  /// processes in one call.
  std::vector<torch::Tensor> totals(const std::vector<torch::Tensor>& matrices,
                                    const torch::Tensor& weights) const {
    const auto options = matrices[0].options().dtype(torch::kDouble);
    std::vector<torch::Tensor> columns{
        weights.to(options).square().expand({matrices[0].size(0), 1})};
    for (const auto& matrix : matrices) columns.push_back(sums_of(matrix.detach().to(options)));
    auto all = sum(torch::cat(columns, 1)).split(1, 1);
    all[0] = all[0].sqrt();
    return all;
  }

  torch::Tensor in_one_step(const torch::Tensor& w, const torch::Tensor& step,
                            const torch::Tensor& weights) const {
    const auto all = totals({w.square()}, weights);
    const torch::Tensor norms = all[1].sqrt(), reach = lambda * step * all[0];
    return w * ((norms - reach).clamp_min(0) / norms.masked_fill(norms == 0, 1));
  }

  /// As shrink_norms_in_metric(), with bounds that sums give: the largest step is at most the sum
  /// of the shards' largest, and so is the inverse of the smallest.
  torch::Tensor in_metric(const torch::Tensor& w, const torch::Tensor& step,
                          const torch::Tensor& weights) const {
    const double inf = std::numeric_limits<double>::infinity();
    const torch::Tensor rests = (step <= 0) | (w == 0);
    const torch::Tensor slowest = (1 / step.masked_fill(rests, inf)).amax(1, true);
    const auto all = totals({w.square(), (w / step).masked_fill(rests, 0).square(),
                             w.masked_fill(rests.logical_not(), 0).square(),
                             step.masked_fill(rests, 0).amax(1, true), slowest},
                            weights);
    const torch::Tensor t = lambda * all[0], norms = all[1].sqrt(), dual = all[2].sqrt();
    const torch::Tensor fixed = all[3].sqrt(), by_dual = (dual - t).clamp_min(0);
    const torch::Tensor least = (by_dual / all[5]).masked_fill(by_dual == 0, 0);
    const torch::Tensor low = torch::maximum(torch::maximum(norms - all[4] * t, fixed), least);
    const torch::Tensor high =
        torch::minimum(norms, (by_dual * all[4]).masked_fill(fixed > 0, inf));
    const torch::Tensor reach = step * t;
    const auto sums = [this](const torch::Tensor& x, const torch::Tensor& y) {
      const auto both = sum(torch::cat({sums_of(x), sums_of(y)}, 1)).split(1, 1);
      return std::pair(both[0], both[1]);
    };
    const torch::Tensor theta = norms_in_metric(w, reach, low, high, sums);
    return shrunk_to(theta, w, reach, t, (dual <= t) & (fixed == 0));
  }
};

}  // namespace detail

/// The group lasso where each process has some entries of each group: R(w) = lambda sum_g w_g
/// ||w_g|| of the whole groups.
///
/// sum adds a tensor of doubles up over all processes (c10d's allreduce); it is called in the same
/// order with the same shapes in each: once by the term, once by its gradient and by a step of one
/// size (4 times with a memory), 14 times in the metric of a step per entry (41 times). All
/// processes have the same groups, and entries in each. w_g is the root of a group's entries in all
/// processes; what weighted() says is to be divided by the root of the number of processes. The
/// term's value is R of the whole in each process, its gradient that of the own entries, its second
/// derivatives see the own entries alone. lambda as in GroupLasso, as is the result: the same
/// groups are zero.
class ShardedGroupLasso : public Penalty<detail::ShardedGroupLassoFormula> {
 public:
  ShardedGroupLasso(double lambda, SumOverShards sum, Grouping grouping = rows(),
                    Selector selector = weights())
      : Penalty({lambda, std::move(sum), std::move(grouping)}, std::move(selector)) {}
  ShardedGroupLasso(Penalty penalty) : Penalty(std::move(penalty)) {}  // what scaled_by() returns
};

}  // namespace torchreg
