#pragma once

#include <torch/types.h>

#include <cstddef>
#include <unordered_map>

#include <torchreg/formula.hpp>
#include <torchreg/penalty.hpp>
#include <torchreg/support.hpp>

#include <torchreg/detail/processor/inline_begin.hpp>

namespace torchreg {

namespace detail {

/// R(w) = 0 where w is zero wherever the support is, else infinity;  prox: those entries at zero.
struct FixedSupportFormula {
  static constexpr const char* name = "FixedSupport";
  static constexpr bool takes_lanes = true;
  static constexpr bool is_constraint = true;
  static constexpr bool survives_rounding = true;
  static constexpr Memory memory = Memory::none;
  Parameters known;  ///< whose zeros are held
  std::unordered_map<const c10::TensorImpl*, torch::Tensor> masks;

  explicit FixedSupportFormula(const Support& support) : known(support.parameters()) {
    for (std::size_t i = 0; i < known.size(); ++i) {
      masks[known[i].tensor.unsafeGetTensorImpl()] = support.masks()[i];
    }
  }

  /// The mask of this tensor, which is known by its identity.
  torch::Tensor data(const Parameter& parameter) const {
    const auto mask = masks.find(parameter.tensor.unsafeGetTensorImpl());
    TORCH_CHECK_VALUE(mask != masks.end(), "FixedSupport: ", literal(parameter.path),
                      " is not in the support");
    return mask->second;
  }

  template <class Number>
  TORCHREG_INLINE Number prox(const Number& w, const Number& /*step*/, const Number& mask) const {
    return w.masked_fill(mask == 0, 0);
  }
};

}  // namespace detail

/// A constraint: the zeros of a support stay zero, all other entries train freely.
///
/// For debiasing and fine-tuning after the zeros are found: `ProximalStep refit(optimizer, model,
/// FixedSupport(support))`. Selects exactly the support's tensors; keeps no memory. Holds after
/// every optimizer, whose state moves on: a zero is put back to zero at each step. NaN stays NaN.
/// As a term of a loss it does not compile. Source: Belloni, Chernozhukov 2013 (post-lasso).
class FixedSupport : public Penalty<detail::FixedSupportFormula> {
 public:
  explicit FixedSupport(const Support& support)
      : FixedSupport(detail::FixedSupportFormula(support)) {}

 private:
  explicit FixedSupport(const detail::FixedSupportFormula& formula)
      : Penalty(formula, torchreg::where(
                             [masks = formula.masks](const Parameter& parameter) {
                               return masks.count(parameter.tensor.unsafeGetTensorImpl()) > 0;
                             },
                             "a tensor of the support")) {}
};

}  // namespace torchreg

#include <torchreg/detail/processor/inline_end.hpp>
