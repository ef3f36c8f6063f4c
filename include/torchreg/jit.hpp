#pragma once

#include <torch/csrc/jit/api/module.h>

#include <vector>

#include <torchreg/select.hpp>

namespace torchreg::detail {

/// Lets a torch::jit::Module stand where a torch::nn::Module may: in select(), terms, prox_,
/// ProximalStep, sparsity, Support, lambda_max and stationarity. Include this header beside
/// torchreg.hpp.
///
/// Paths are those of `named_parameters()`. Its parameters have no owner of a C++ type, so that
/// normalization() and of_type() hold for none; weights() leaves normalizations out where their
/// weights have one dimension, which those of a LayerNorm over several have not.
template <>
struct OtherModule<torch::jit::Module> : std::true_type {
  static std::vector<Parameter> parameters(const torch::jit::Module& module) {
    std::vector<Parameter> parameters;
    for (const auto& named : module.named_parameters()) {
      parameters.push_back({named.name, named.value});
    }
    TORCH_CHECK_VALUE(!parameters.empty(), "select: the module has no parameters");
    return parameters;
  }
};

}  // namespace torchreg::detail
