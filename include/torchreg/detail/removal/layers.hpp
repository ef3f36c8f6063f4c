#pragma once

#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>

#include <cstdint>
#include <typeinfo>

namespace torchreg::detail {

// Layers whose units can be removed, and where their options say how many there are. What is
// derived from one is none: its forward may do other things.

/// Whether a module is of one of these types.
template <class... Types>
bool is_one_of(const torch::nn::Module& module) {
  return ((typeid(module) == typeid(Types)) || ...);
}

/// f(module) as the first of these types that it is of; false where it is of none.
template <class... Types, class F>
bool with_one_of(torch::nn::Module& module, const F& f) {
  return ((typeid(module) == typeid(Types) && (f(dynamic_cast<Types&>(module)), true)) || ...);
}

/// What a tensor's slices along a dimension are to its layer.
enum class Side { outputs, inputs };

/// f(layer) of a convolution, of whatever dimension; false where the module is none.
template <class F>
bool with_convolution(torch::nn::Module& module, const F& f) {
  using namespace torch::nn;
  return with_one_of<Conv1dImpl, Conv2dImpl, Conv3dImpl>(module, f);
}

/// The same of a batch normalization.
template <class F>
bool with_batch_norm(torch::nn::Module& module, const F& f) {
  using namespace torch::nn;
  return with_one_of<BatchNorm1dImpl, BatchNorm2dImpl, BatchNorm3dImpl>(module, f);
}

/// The option of a layer that counts its outputs or inputs; null of another module.
inline int64_t* width_of(torch::nn::Module& module, Side side) {
  const bool outputs = side == Side::outputs;
  int64_t* width = nullptr;
  with_one_of<torch::nn::LinearImpl>(module, [&](auto& linear) {
    width = &(outputs ? linear.options.out_features() : linear.options.in_features());
  });
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
