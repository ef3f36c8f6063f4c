#pragma once

#include <torch/types.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
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
  static constexpr Memory memory = Memory::none;
  double fraction;
  Grouping grouping;

  std::vector<Strength> strengths() const { return {{"fraction", fraction, torchreg::fraction()}}; }

  /// For each tensor 1 where an entry is kept. Does not wait for a device.
  std::vector<torch::Tensor> data(const std::vector<torch::Tensor>& w,
                                  const std::vector<torch::Tensor>& steps) const {
    const double inf = std::numeric_limits<double>::infinity();
    std::vector<torch::Tensor> scores, marks;
    std::vector<int64_t> sizes;
    torch::ScalarType type = torch::kFloat;
    for (const torch::Tensor& one : w) type = torch::promote_types(type, one.scalar_type());
    for (std::size_t i = 0; i < w.size(); ++i) {
      const torch::Tensor step = unexpanded(steps[i]);  // of several tensors, each its own
      const torch::Tensor each = step.dim() > 0  ? root_scores(w[i], step)
                                 : w.size() == 1 ? w[i].abs()
                                                 : w[i].abs() / step.sqrt();
      const torch::Tensor score = is_by_entry() ? each : of_groups(layout(w[i]), each);
      scores.push_back(
          score.masked_fill(score != score, inf).reshape({-1}).to(w[0].device(), type));
      sizes.push_back(scores.back().numel());
    }
    const torch::Tensor all = scores.size() == 1 ? scores[0] : torch::cat(scores);
    const auto count = static_cast<double>(all.numel());
    const auto zeros = static_cast<int64_t>(std::ceil(fraction * count));
    const auto kept = marks_of_largest(all, all.numel() - zeros).split_with_sizes(sizes);
    for (std::size_t i = 0; i < w.size(); ++i) {
      const torch::Tensor mark = kept[i].to(w[i].device());
      if (is_by_entry()) {
        marks.push_back(mark.view(w[i].sizes()));
        continue;
      }
      const Layout own = layout(w[i]);
      const torch::Tensor rows = torch::constant_pad_nd(mark, {0, own.rows - own.groups}, 1);
      marks.push_back(own.restored(rows.unsqueeze(1).expand({own.rows, own.size}),
                                   torch::ones_like(w[i], mark.options())));
    }
    return marks;
  }

  template <class Number>
  TORCHREG_INLINE Number prox(const Number& w, const Number& /*step*/, const Number& mark) const {
    return w.masked_fill(mark == 0, 0);
  }

 private:
  bool is_by_entry() const { return grouping.describe().empty(); }

  Layout layout(const torch::Tensor& w) const { return grouping.layout(name, {"a tensor", w}); }

  static torch::Tensor of_groups(const Layout& layout, const torch::Tensor& scores) {
    const torch::Tensor norms = norms_of(layout.matrix(scores)).narrow(0, 0, layout.groups);
    const torch::Tensor sizes = layout.sizes_of_rows();
    if (!sizes.defined()) return norms / std::sqrt(static_cast<double>(layout.size));
    return norms / sizes.narrow(0, 0, layout.groups).clamp_min(1).sqrt();
  }
};

}  // namespace detail

/// A constraint: at least a fraction of all entries of the selected tensors together is zero:
/// global magnitude pruning. With a grouping, of all their groups.
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
      : Penalty({fraction, std::move(grouping)}, std::move(selector)) {}
};

}  // namespace torchreg

#include <torchreg/detail/processor/inline_end.hpp>
