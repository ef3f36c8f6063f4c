#pragma once

#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <torchreg/formula.hpp>
#include <torchreg/penalty.hpp>

#include <torchreg/detail/processor/inline_begin.hpp>

namespace torchreg {

namespace detail {

/// R(w) = 0 where w >= 0, else infinity;  prox: max(w, 0).
struct NonNegativeFormula {
  static constexpr const char* name = "NonNegative";
  static constexpr bool takes_lanes = true;
  static constexpr bool is_constraint = true;
  static constexpr bool survives_rounding = true;
  static constexpr Memory memory = Memory::none;

  template <class Number>
  TORCHREG_INLINE Number prox(const Number& w, const Number& /*step*/) const {
    return w.clamp_min(0);
  }
};

template <class Formula>
using SaysGrows = std::bool_constant<Formula::grows_with_each>;

/// Whether it is even and grows with each |w|, as most do.
template <class Formula>
constexpr bool grows_with_each = [] {
  if constexpr (Has<SaysGrows, Formula>::value) return Formula::grows_with_each;
  return true;
}();

/// A formula that finds its data from all tensors as if they were not negative.
template <class Formula, bool has_data = has_data_of_all<Formula>>
struct DataOfPositive : Formula {
  explicit DataOfPositive(Formula formula) : Formula(std::move(formula)) {}
};
template <class Formula>
struct DataOfPositive<Formula, true> : Formula {
  explicit DataOfPositive(Formula formula) : Formula(std::move(formula)) {}

  using Tensors = std::vector<torch::Tensor>;

  Tensors data(const Tensors& w, const Tensors& steps) const {
    Tensors positive;
    for (const torch::Tensor& one : w) positive.push_back(one.clamp_min(0));
    return Formula::data(positive, steps);
  }
};

/// A penalty on entries that are not negative: its prox of max(w, 0), and all else of the
/// penalty's.
///
/// That is the prox of the sum for one that is even and grows with each |w|, in every metric.
template <class Formula>
struct NonNegativeOf : DataOfPositive<Formula> {
  static_assert(grows_with_each<Formula>,
                "NonNegative takes a penalty that is even and grows with each |w|, as Nuclear, "
                "Rank, Box and Simplex do not; Box(0, high) and Simplex have no negative entries");
  inline static const std::string name = c10::str("NonNegative ", name_of<Formula>());
  static constexpr bool is_constraint = true;

  explicit NonNegativeOf(Formula formula) : DataOfPositive<Formula>(std::move(formula)) {}

  void norms() const = delete;  // it is more than they say

  template <class Number, class... More>
  TORCHREG_INLINE Number prox(const Number& w, const Number& step, const More&... more) const {
    return Formula::prox(Number(w.clamp_min(0)), step, more...);
  }
};

}  // namespace detail

/// A constraint: w >= 0 for each entry, alone or on top of a penalty: NonNegative(L1(1e-3)).
///
/// Alone it keeps no memory; with a penalty (L1, ElasticNet, GroupLasso and others that grow with
/// each |w|) it has that penalty's strengths, selector, factors and memory, and `formula()` is the
/// penalty's. Nuclear, Rank, Box and Simplex, which do not, do not compile. As a term of a loss it
/// does not either. NaN and infinite entries stay.
template <class Formula = detail::NonNegativeFormula>
class NonNegative : public Penalty<Formula> {
 public:
  explicit NonNegative(Selector selector = weights()) : Penalty<Formula>({}, std::move(selector)) {}
};

template <class Inner>
class NonNegative<detail::NonNegativeOf<Inner>> : public Penalty<detail::NonNegativeOf<Inner>> {
  using Formula = detail::NonNegativeOf<Inner>;

 public:
  NonNegative(const Penalty<Inner>& penalty)
      : Penalty<Formula>(Formula(penalty.formula()), penalty.selector(), penalty.factors()) {}
};

NonNegative()->NonNegative<detail::NonNegativeFormula>;
NonNegative(Selector)->NonNegative<detail::NonNegativeFormula>;
template <class Inner>
NonNegative(const Penalty<Inner>&) -> NonNegative<detail::NonNegativeOf<Inner>>;

}  // namespace torchreg

#include <torchreg/detail/processor/inline_end.hpp>
