#pragma once

#include <ATen/ExpandUtils.h>
#include <ATen/MemoryOverlap.h>
#include <torch/types.h>

#include <string>

#include <torchreg/detail/text/text.hpp>
#include <torchreg/parameters.hpp>

namespace torchreg::detail {

/// An error for a tensor that no penalty is defined on; `who` reports it.
inline void check_floating(const std::string& who, const Parameter& parameter) {
  const auto& [path, tensor, owner] = parameter;
  TORCH_CHECK_VALUE(tensor.defined(), who, ": ", literal(path),
                    " is undefined (a layer without a bias?)");
  TORCH_CHECK_VALUE(tensor.is_floating_point(), who, ": ", literal(path), " is ",
                    tensor.scalar_type(), "; a floating-point tensor is required");
  TORCH_CHECK_VALUE(tensor.layout() == torch::kStrided, who, ": ", literal(path), " is ",
                    tensor.layout(), "; a dense tensor is required");
}

inline void check_floating(const std::string& who, const Parameters& parameters) {
  TORCH_CHECK_VALUE(!parameters.empty(), who, ": the list of tensors is empty");
  for (const Parameter& parameter : parameters) check_floating(who, parameter);
}

/// An error for a tensor that cannot be written to outside of InferenceMode, as it was made there.
inline void check_no_inference(const std::string& who, const std::string& path,
                               const torch::Tensor& tensor) {
  TORCH_CHECK_VALUE(!tensor.is_inference() || c10::InferenceMode::is_enabled(), who, ": ",
                    literal(path),
                    " was made in InferenceMode, outside of which it cannot be written to; "
                    "clone() it");
}

/// The same for tensors that will be written to.
inline void check_writable(const std::string& who, const Parameters& parameters) {
  check_floating(who, parameters);
  for (const auto& [path, tensor, owner] : parameters) {
    TORCH_CHECK_VALUE(at::has_internal_overlap(tensor) != at::MemOverlap::Yes, who, ": ",
                      literal(path), " is expanded: several entries share memory; clone() it");
    check_no_inference(who, path, tensor);
  }
}

/// An error for a tensor of steps or thresholds whose shape does not fit.
inline void check_broadcasts(const std::string& what, const torch::Tensor& values,
                             const Parameter& parameter) {
  const auto& [path, tensor, owner] = parameter;
  TORCH_CHECK_VALUE(at::is_expandable_to(values.sizes(), tensor.sizes()), what, " of shape ",
                    values.sizes(), " does not broadcast to ", literal(path), " of shape ",
                    tensor.sizes());
}

/// An error for a tensor of steps or thresholds that is negative, NaN or infinite somewhere, as far
/// as that shows without synchronizing with a device.
inline void check_strengths_in(const std::string& what, const torch::Tensor& values) {
  TORCH_CHECK_VALUE(values.defined() && values.is_floating_point(), what,
                    " must be a floating-point tensor");
  if (!values.is_cpu() || (values.isfinite() & (values >= 0)).all().item<bool>()) return;
  const double low = values.min().item<double>(), high = values.max().item<double>();
  TORCH_CHECK_VALUE(values.numel() > 1, what, " must be finite and >= 0, got ", low);
  TORCH_CHECK_VALUE(false, what, " must be finite and >= 0, got ", low, " to ", high);
}

}  // namespace torchreg::detail
