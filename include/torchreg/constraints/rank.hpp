#pragma once

#include <torch/types.h>

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include <torchreg/detail/formula/singular_values.hpp>
#include <torchreg/formula.hpp>
#include <torchreg/penalty.hpp>

namespace torchreg {

namespace detail {

/// R(w) = 0 where the rank is at most k, else infinity;  prox: keeps the k largest singular values.
struct RankFormula {
  static constexpr const char* name = "Rank";
  static constexpr bool grows_with_each = false;
  static constexpr Domain domain = Domain::tensor;
  static constexpr bool is_constraint = true;
  static constexpr const char* instead = "use SGD with momentum";
  int64_t k;

  std::vector<Strength> strengths() const { return {{"k", static_cast<double>(k), at_least(1)}}; }

  torch::Tensor prox(const torch::Tensor& w, const torch::Tensor& /*step*/) const {
    if (w.numel() == 0) return w;
    const SingularValues s(w);
    const int64_t count = s.values.numel();
    torch::Tensor kept = s.values.clone();
    kept.narrow(0, std::min(k, count), std::max<int64_t>(count - k, 0)).zero_();
    return s.with(kept, w);
  }
};

}  // namespace detail

/// A constraint: the rank of each matrix is at most k.
///
/// A tensor of more dimensions counts as a matrix, flattened behind dim 0. k >= 1, else an error.
/// The nearest such matrix, by truncating the singular value decomposition, for one step; for a
/// step per entry there is none in closed form, and a ProximalStep after an adaptive optimizer is
/// refused. Keeps no memory; as a term of a loss it does not compile. A tensor with a NaN or
/// infinite entry is left as it is. Source: Eckart, Young 1936.
class Rank : public Penalty<detail::RankFormula> {
 public:
  explicit Rank(int64_t k, Selector selector = weights())
      : Penalty(detail::RankFormula{k}, std::move(selector)) {}
};

}  // namespace torchreg
