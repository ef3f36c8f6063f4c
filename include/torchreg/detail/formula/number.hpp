#pragma once

#include <torch/types.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>

#include <torchreg/detail/processor/inline_begin.hpp>

namespace torchreg::detail {

/// S(x, t) = sign(x) max(|x| - t, 0), written so that NaN stays NaN and infinities stay infinite.
template <class Number>
TORCHREG_INLINE Number shrink(const Number& x, const Number& t) {
  return x - x.clamp(-t, t);
}
inline torch::Tensor shrink(const torch::Tensor& x, const torch::Tensor& t) {
  if (t.dim() > 0) return x - x.clamp(-t, t);
  return x - torch::minimum(torch::maximum(x, -t), t);  // clamp() is slow where t is 0-dim
}

/// Half and bfloat16 are computed in float32; float and double in themselves.
inline torch::ScalarType compute_type(torch::ScalarType type) {
  return type == torch::kHalf || type == torch::kBFloat16 ? torch::kFloat : type;
}

/// The largest number of the type that it is computed in.
inline double largest_of(torch::ScalarType type) {
  return type == torch::kDouble ? std::numeric_limits<double>::max()
                                : static_cast<double>(std::numeric_limits<float>::max());
}

inline torch::Tensor in_compute_type(const torch::Tensor& tensor) {
  return tensor.to(compute_type(tensor.scalar_type()));
}

/// z in the type that it is stored in: the same where that is z's own.
inline torch::Tensor stored_as(const torch::Tensor& z, torch::ScalarType type) {
  return z.to(type);
}
template <class X>
TORCHREG_INLINE X stored_as(const X& z, torch::ScalarType /*of the register*/) {
  return z;
}

/// Rounds z as w's type will, so that what becomes 0 there is a zero here.
inline torch::Tensor as_stored(const torch::Tensor& z, torch::ScalarType type) {
  return z.to(type).to(z.scalar_type());
}
template <class X>
TORCHREG_INLINE X as_stored(const X& z, torch::ScalarType /*of the register*/) {
  return z;
}

/// to <- z, rounded once and without -0.0.
inline void store(torch::Tensor to, const torch::Tensor& z) {
  if (to.scalar_type() != z.scalar_type()) return void(to.copy_(z + 0.0));
  const auto on_host = to.options().device(torch::kCPU).requires_grad(false);
  torch::add_out(to, z, torch::scalar_tensor(0, on_host));  // a number makes a temporary
}

/// Whether a tensor is one number, expanded to all entries.
inline bool is_expanded(const torch::Tensor& tensor) {
  const auto strides = tensor.strides();
  return tensor.numel() > 0 &&
         std::all_of(strides.begin(), strides.end(), [](int64_t stride) { return stride == 0; });
}

/// That number, 0-dim; else the tensor.
inline torch::Tensor unexpanded(const torch::Tensor& tensor) {
  return is_expanded(tensor) ? tensor.as_strided({}, {}) : tensor;
}

/// Tells autograd that an array is written, which it does not see.
inline void note_write(const torch::Tensor& tensor) {
  if (!tensor.is_inference()) tensor.unsafeGetTensorImpl()->bump_version();
}

/// Read from its bits, as to a compiler with -ffast-math every number is finite.
inline bool is_finite(double value) {
  std::uint64_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return (bits >> 52 & 0x7ff) != 0x7ff;
}

inline bool is_nan(double value) {
  std::uint64_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return (bits & ~(std::uint64_t{1} << 63)) > std::uint64_t{0x7ff} << 52;
}

/// The number, rounded here: a product is not contracted with a sum that it is added to, whatever
/// processor the user compiles for.
inline double rounded(double value) {
  volatile double result = value;
  return result;
}

/// An error for a strength, a step or a threshold that is negative, NaN or infinite.
inline void check_strength(const std::string& what, double value) {
  TORCH_CHECK_VALUE(is_finite(value) && value >= 0, what, " must be finite and >= 0, got ", value);
}

}  // namespace torchreg::detail

#include <torchreg/detail/processor/inline_end.hpp>
