#pragma once

#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <torchreg/detail/groups/projections.hpp>
#include <torchreg/detail/groups/selection.hpp>
#include <torchreg/formula.hpp>
#include <torchreg/groupings/grouping.hpp>
#include <torchreg/penalty.hpp>

#include <torchreg/detail/processor/inline_begin.hpp>

namespace torchreg {

namespace detail {

/// R(w) = 0 where a fraction of all entries, or groups, is zero, else infinity;  prox: keeps those
/// of largest w^2 / step, of a group over its size.
struct MinSparsityFormula {
  static constexpr const char* name = "MinSparsity";
  static constexpr Domain domain = Domain::entries;
  static constexpr bool takes_lanes = true;
  static constexpr bool is_constraint = true;
  static constexpr bool survives_rounding = true;
  static constexpr Memory memory = Memory::none;
  double fraction;
  Grouping grouping;

  std::vector<Strength> strengths() const { return {{"fraction", fraction, torchreg::fraction()}}; }

  /// What |w| must reach to be kept: one number, or for each entry 0 or infinity. Does not wait for
  /// a device.
  std::vector<torch::Tensor> data(const std::vector<torch::Tensor>& w,
                                  const std::vector<torch::Tensor>& steps) const {
    torch::ScalarType type = torch::kFloat;
    for (const torch::Tensor& one : w) type = torch::promote_types(type, one.scalar_type());
    const bool is_one = is_one_step(steps);
    bool are_entries = is_one && is_by_entry();  // whose magnitudes are compared
    std::vector<torch::Tensor> scores;
    int64_t count = 0;
    for (std::size_t i = 0; i < w.size(); ++i) {
      are_entries = are_entries && w[i].scalar_type() == type;
      const torch::Tensor each = is_one ? w[i] : root_scores(w[i], steps[i]);
      scores.push_back(
          (is_by_entry() ? each : of_groups(layout(w, i), each)).to(w[0].device(), type));
      count += scores.back().numel();
    }
    const auto zeros = static_cast<int64_t>(std::ceil(fraction * static_cast<double>(count)));
    auto bounds = bounds_of_largest<Unit>(std::move(scores), count - zeros, are_entries);
    for (std::size_t i = 0; i < w.size(); ++i) {
      bounds[i] = bounds[i].to(w[i].device());
      if (is_by_entry()) continue;
      const Layout own = layout(w, i);
      const torch::Tensor rows =
          torch::constant_pad_nd(bounds[i], {0, 0, 0, own.rows - own.groups}, 0);
      bounds[i] =
          own.restored(rows.expand({own.rows, own.size}), torch::zeros_like(w[i], rows.options()));
    }
    return bounds;
  }

  template <class Number>
  TORCHREG_INLINE Number prox(const Number& w, const Number& /*step*/, const Number& bound) const {
    return w.masked_fill(w.abs() < bound, 0);
  }

 private:
  bool is_by_entry() const { return grouping.describe().empty(); }

  Layout layout(const std::vector<torch::Tensor>& w, std::size_t i) const {
    return grouping.layout(name, {c10::str("tensor ", i), w[i]});
  }

  /// Whether all entries have the same step, as far as it is known without a wait.
  static bool is_one_step(const std::vector<torch::Tensor>& steps) {
    return std::all_of(steps.begin(), steps.end(), [&](const torch::Tensor& each) {
      const torch::Tensor step = unexpanded(each), first = unexpanded(steps[0]);
      if (step.dim() > 0 || steps.size() == 1) return step.dim() == 0;
      return step.is_cpu() && first.is_cpu() && step.item<double>() == first.item<double>();
    });
  }

  static torch::Tensor of_groups(const Layout& layout, const torch::Tensor& scores) {
    const torch::Tensor matrix = layout.matrix(scores).narrow(0, 0, layout.groups);
    const torch::Tensor sizes = layout.sizes_of_rows();
    if (!sizes.defined()) {
      return root_means_of(matrix,
                           torch::full({}, static_cast<double>(layout.size), matrix.options()));
    }
    return root_means_of(matrix,
                         sizes.narrow(0, 0, layout.groups).clamp_min(1).to(matrix.scalar_type()));
  }
};

}  // namespace detail

/// A constraint: at least a fraction of all entries of the selected tensors together is zero:
/// global magnitude pruning. With a grouping, of all their groups. A tensor that takes no step, as
/// one that is frozen, is left as it is and not counted.
///
/// Keeps those of largest w^2 / step, of a group that sum over its size, so ceil(fraction n)
/// entries or more are zero after every step; of equal ones those first in the order of paths, then
/// of indices, are kept. fraction in [0, 1], else an error; mutable, for ramps:
/// `prox.penalty().formula().fraction = ...`. Keeps no memory, and does not wait for a device. As a
/// term of a loss it does not compile. NaN and infinite entries stay. Source: Han et al. 2015.
class MinSparsity : public Penalty<detail::MinSparsityFormula> {
 public:
  explicit MinSparsity(double fraction, Selector selector = weights())
      : MinSparsity(fraction, Grouping("", nullptr), std::move(selector)) {}
  MinSparsity(double fraction, Grouping grouping, Selector selector = weights())
      : Penalty({fraction, std::move(grouping)}, std::move(selector)) {
    TORCH_CHECK_VALUE(formula().grouping.links() == nullptr,
                      "MinSparsity: counts groups of each tensor, no linked ones; use TopGroups");
  }
};

}  // namespace torchreg

#include <torchreg/detail/processor/inline_end.hpp>
