#pragma once

#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include <cstdint>
#include <string>

#include <torchreg/detail/formula/declared.hpp>
#include <torchreg/detail/text/text.hpp>

#include <torchreg/detail/processor/inline_begin.hpp>

namespace torchreg::detail {

// The faces of a formula, with the data that it may have: at registers, and at a tensor or a piece
// of one, where a result of another shape would broadcast and count or overwrite entries in
// silence.

/// Stands for the path of registers, which can have no other shape.
struct NoPath {};

template <class Formula, class Number>
TORCHREG_INLINE Number value_at(const Formula& formula, const Number& w, const Number& data,
                                NoPath) {
  if constexpr (has_data<Formula>)
    return formula.value(w, data);
  else
    return formula.value(w);
}
template <class Formula, class Number>
TORCHREG_INLINE Number slope_at(const Formula& formula, const Number& w, const Number& data,
                                NoPath) {
  if constexpr (!HasSlope<Formula>::value)
    return w;  // in no loop
  else if constexpr (has_data<Formula>)
    return formula.slope(w, data);
  else
    return formula.slope(w);
}
template <class Formula, class Number>
TORCHREG_INLINE Number prox_at(const Formula& formula, const Number& w, const Number& step,
                               const Number& data, NoPath) {
  if constexpr (has_data<Formula>)
    return formula.prox(w, step, data);
  else
    return formula.prox(w, step);
}

/// How often some tensors were written, as far as LibTorch counts it.
template <class... Of>
int64_t writes_to(const Of&... tensors) {
  int64_t sum = 0;
  ((sum += tensors.defined() && !tensors.is_inference() ? tensors._version() : 0), ...);
  return sum;
}

template <class Formula>
void check_unwritten(const char* face, bool are_as_before, const std::string& path) {
  TORCH_CHECK_VALUE(are_as_before, name_of<Formula>(), ": ", face, " wrote to its arguments for ",
                    literal(path), ", which may have changed: return a new tensor, as w.mul(a) ",
                    "does and w.mul_(a) does not");
}

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
torch::Tensor value_at(const Formula& formula, const torch::Tensor& w, const torch::Tensor& data,
                       const std::string& path) {
  const int64_t writes = writes_to(w, data);
  torch::Tensor value;
  if constexpr (has_data<Formula>)
    value = formula.value(w, data);
  else
    value = formula.value(w);
  check_unwritten<Formula>("value", writes == writes_to(w, data), path);
  if constexpr (is_separable<Formula>) check_shape<Formula>("value", value, w, path);
  return value;
}

template <class Formula>
torch::Tensor prox_at(const Formula& formula, const torch::Tensor& w, const torch::Tensor& step,
                      const torch::Tensor& data, const std::string& path) {
  const int64_t writes = writes_to(w, step, data);
  torch::Tensor z;
  if constexpr (has_data<Formula>)
    z = formula.prox(w, step, data);
  else
    z = formula.prox(w, step);
  check_unwritten<Formula>("prox", writes == writes_to(w, step, data), path);
  check_shape<Formula>("prox", z, w, path);
  return z.to(w.scalar_type());
}

template <class Formula>
torch::Tensor slope_at(const Formula& formula, const torch::Tensor& w, const torch::Tensor& data,
                       const std::string& path) {
  torch::Tensor slope;
  if constexpr (HasSlope<Formula>::value) {
    const int64_t writes = writes_to(w, data);
    if constexpr (has_data<Formula>)
      slope = formula.slope(w, data);
    else
      slope = formula.slope(w);
    check_unwritten<Formula>("slope", writes == writes_to(w, data), path);
    check_shape<Formula>("slope", slope, w, path);
  } else {
    const c10::InferenceMode recorded(false);
    const torch::AutoGradMode with_graph(true);
    const torch::Tensor x = w.detach().clone().requires_grad_();
    const torch::Tensor value = value_at(formula, x, data, path).sum();
    if (value.requires_grad()) {
      slope = torch::autograd::grad({value}, {x}, {}, {}, false, /*allow_unused=*/true)[0];
    }
    if (!slope.defined()) slope = torch::zeros_like(w);
  }
  return slope.to(w.scalar_type());
}

}  // namespace torchreg::detail

#include <torchreg/detail/processor/inline_end.hpp>
