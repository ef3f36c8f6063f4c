#pragma once

#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include <string>

#include <torchreg/detail/formula/traits.hpp>
#include <torchreg/detail/text/text.hpp>

namespace torchreg::detail {

// The faces of a formula at a tensor, or at a piece of one: of the compute type, and of w's shape.
// A result of another shape would broadcast, and count or overwrite entries in silence.

template <class Formula>
void check_shape(const char* face, const torch::Tensor& result, const torch::Tensor& w,
                 const std::string& path) {
  TORCH_CHECK_VALUE(result.defined(), name_of<Formula>(), ": ", face, " returned nothing for ",
                    literal(path));
  TORCH_CHECK_VALUE(result.sizes() == w.sizes(), name_of<Formula>(), ": ", face, " returned ",
                    result.sizes(), " for ", literal(path), " of shape ", w.sizes());
}

/// The value of each entry; a formula of whole tensors may sum some of them itself.
template <class Formula>
torch::Tensor value_at(const Formula& formula, const torch::Tensor& w, const std::string& path) {
  torch::Tensor value = formula.value(w);
  if constexpr (IsSeparable<Formula>::value) check_shape<Formula>("value", value, w, path);
  return value;
}

template <class Formula>
torch::Tensor prox_at(const Formula& formula, const torch::Tensor& w, const torch::Tensor& step,
                      const std::string& path) {
  torch::Tensor z = formula.prox(w, step);
  check_shape<Formula>("prox", z, w, path);
  return z;
}

/// Whether a penalty has a slope, be it by autograd. A constraint, which is a prox alone, has none.
template <class Formula>
constexpr bool has_slope = HasSlope<Formula>::value || HasValue<Formula>::value;

template <class Formula>
torch::Tensor slope_at(const Formula& formula, const torch::Tensor& w, const std::string& path) {
  if constexpr (HasSlope<Formula>::value) {
    torch::Tensor slope = formula.slope(w);
    check_shape<Formula>("slope", slope, w, path);
    return slope;
  } else {
    const c10::InferenceMode recorded(false);
    const torch::AutoGradMode with_graph(true);
    const torch::Tensor x = w.detach().clone().requires_grad_();
    const torch::Tensor value = value_at(formula, x, path).sum();
    if (!value.requires_grad()) return torch::zeros_like(w);
    const auto slopes = torch::autograd::grad({value}, {x}, {}, {}, false, /*allow_unused=*/true);
    return slopes[0].defined() ? slopes[0] : torch::zeros_like(w);
  }
}

}  // namespace torchreg::detail
