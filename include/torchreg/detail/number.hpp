#pragma once

#include <torch/types.h>

#include <cmath>
#include <string>
#include <type_traits>

namespace torchreg::detail {

// The functions that formulas are written in, for float, double and torch::Tensor alike.

template <class Number, class = std::enable_if_t<std::is_arithmetic_v<Number>>>
Number abs(Number x) {
  return std::fabs(x);
}
inline torch::Tensor abs(const torch::Tensor& x) { return x.abs(); }

/// -1, 0 or 1; 0 at zero, a valid subgradient of the absolute value.
template <class Number, class = std::enable_if_t<std::is_arithmetic_v<Number>>>
Number sign(Number x) {
  return static_cast<Number>((x > 0) - (x < 0));
}
inline torch::Tensor sign(const torch::Tensor& x) { return x.sign(); }

/// S(x, t) = sign(x) max(|x| - t, 0), written so that NaN stays NaN and infinities stay infinite.
template <class Number, class = std::enable_if_t<std::is_arithmetic_v<Number>>>
Number shrink(Number x, Number t) {
  return x - (x > t ? t : x < -t ? -t : x);
}
inline torch::Tensor shrink(const torch::Tensor& x, const torch::Tensor& t) {
  return x - x.clamp(-t, t);
}

/// Half and bfloat16 are computed in float32; float and double in themselves.
inline torch::ScalarType compute_type(torch::ScalarType type) {
  return type == torch::kHalf || type == torch::kBFloat16 ? torch::kFloat : type;
}

/// An error for a strength, a step or a threshold that is negative, NaN or infinite.
inline void check_strength(const std::string& what, double value) {
  TORCH_CHECK_VALUE(std::isfinite(value) && value >= 0, what, " must be finite and >= 0, got ",
                    value);
}

}  // namespace torchreg::detail
