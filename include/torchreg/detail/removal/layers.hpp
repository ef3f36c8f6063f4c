#pragma once

#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>

#include <cstdint>
#include <string>

namespace torchreg::detail {

// Layers whose units can be removed, and where their options say how many there are.

/// What a tensor's slices along a dimension are to its layer.
enum class Side { outputs, inputs };

/// f(layer) of a convolution, of whatever dimension; false where the module is none.
template <class F>
bool with_convolution(torch::nn::Module& module, const F& f) {
  if (auto* conv1d = dynamic_cast<torch::nn::Conv1dImpl*>(&module)) return f(*conv1d), true;
  if (auto* conv2d = dynamic_cast<torch::nn::Conv2dImpl*>(&module)) return f(*conv2d), true;
  if (auto* conv3d = dynamic_cast<torch::nn::Conv3dImpl*>(&module)) return f(*conv3d), true;
  return false;
}

/// The same of a batch normalization.
template <class F>
bool with_batch_norm(torch::nn::Module& module, const F& f) {
  if (auto* norm1d = dynamic_cast<torch::nn::BatchNorm1dImpl*>(&module)) return f(*norm1d), true;
  if (auto* norm2d = dynamic_cast<torch::nn::BatchNorm2dImpl*>(&module)) return f(*norm2d), true;
  if (auto* norm3d = dynamic_cast<torch::nn::BatchNorm3dImpl*>(&module)) return f(*norm3d), true;
  return false;
}

/// The option of a layer that counts its outputs or inputs; null of another module.
inline int64_t* width_of(torch::nn::Module& module, Side side) {
  const bool outputs = side == Side::outputs;
  int64_t* width = nullptr;
  if (auto* linear = dynamic_cast<torch::nn::LinearImpl*>(&module)) {
    width = &(outputs ? linear->options.out_features() : linear->options.in_features());
  }
  with_convolution(module, [&](auto& conv) {
    width = &(outputs ? conv.options.out_channels() : conv.options.in_channels());
  });
  with_batch_norm(module, [&](auto& norm) {
    if (outputs) width = &norm.options.num_features();
  });
  return width;
}

/// Into how many groups a convolution is cut; 1 of another module.
inline int64_t convolution_groups(torch::nn::Module& module) {
  int64_t groups = 1;
  with_convolution(module, [&](auto& conv) { groups = conv.options.groups(); });
  return groups;
}

}  // namespace torchreg::detail
