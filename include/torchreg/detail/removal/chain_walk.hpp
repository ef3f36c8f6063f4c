#pragma once

#include <torch/nn/modules/activation.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/dropout.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/normalization.h>
#include <torch/nn/modules/pooling.h>

#include <cstdint>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include <torchreg/detail/removal/layers.hpp>
#include <torchreg/groupings/linked.hpp>
#include <torchreg/selectors/types.hpp>

namespace torchreg::detail {

/// Whether a unit that is zero is zero behind the module, and no other becomes another for it.
inline bool keeps_zeros(const torch::nn::Module& module) {
  using namespace torch::nn;
  return is_one_of<ReLUImpl, ReLU6Impl, LeakyReLUImpl, RReLUImpl, ELUImpl, SELUImpl, CELUImpl,
                   GELUImpl, SiLUImpl, MishImpl, TanhImpl, TanhshrinkImpl, SoftshrinkImpl,
                   HardshrinkImpl, SoftsignImpl, IdentityImpl, DropoutImpl, Dropout2dImpl,
                   Dropout3dImpl>(module);
}

/// Over how many dimensions a pool goes; 0 of another module. It keeps channels apart behind a
/// convolution of the same, and takes them for one dimension more behind others.
inline int64_t pooled_dimensions(const torch::nn::Module& module) {
  using namespace torch::nn;
  const bool is_1d = is_one_of<MaxPool1dImpl, AvgPool1dImpl, AdaptiveMaxPool1dImpl,
                               AdaptiveAvgPool1dImpl, LPPool1dImpl>(module);
  const bool is_2d = is_one_of<MaxPool2dImpl, AvgPool2dImpl, AdaptiveMaxPool2dImpl,
                               AdaptiveAvgPool2dImpl, LPPool2dImpl>(module);
  const bool is_3d =
      is_one_of<MaxPool3dImpl, AvgPool3dImpl, AdaptiveMaxPool3dImpl, AdaptiveAvgPool3dImpl>(module);
  return is_1d ? 1 : is_2d ? 2 : is_3d ? 3 : 0;
}

inline bool moves_zeros(const torch::nn::Module& module) {
  using namespace torch::nn;
  return is_one_of<SigmoidImpl, LogSigmoidImpl, SoftplusImpl, SoftmaxImpl, SoftminImpl,
                   LogSoftmaxImpl, Softmax2dImpl, HardtanhImpl, ThresholdImpl, GLUImpl,
                   AlphaDropoutImpl, FeatureAlphaDropoutImpl>(module);
}

inline bool mixes_units(const torch::nn::Module& module) {
  using namespace torch::nn;
  return is_one_of<LayerNormImpl, GroupNormImpl, LocalResponseNormImpl, CrossMapLRN2dImpl>(module);
}

/// Walks the modules of a Sequential in their order, and links the hidden units of its layers.
class ChainWalk {
 public:
  /// Notes modules one after the other; `prefix` is the path that theirs begin with.
  void walk(const torch::nn::Module& sequential, const std::string& prefix) {
    for (const auto& child : sequential.named_children()) {
      torch::nn::Module& module = *child.value();
      const std::string path = prefix + child.key();
      if (dynamic_cast<const torch::nn::SequentialImpl*>(&module) != nullptr) {
        walk(module, path + '.');
      } else {
        TORCH_CHECK_VALUE(module.parameters().empty() || known_.insert(&module).second,
                          "chain: ", name(module, path), " is in it twice");
        visit(module, path);
      }
    }
  }

  Links links() const {
    TORCH_CHECK_VALUE(!links_.list().empty(),
                      "chain: there are no hidden units: no layer is behind another");
    return links_;
  }

 private:
  enum class Shape { features, channels, flat_channels, flat_features };

  static constexpr const char* kInGroups = " is a convolution in groups; use linked(...)";

  static std::string name(const torch::nn::Module& module, const std::string& path) {
    return holder_name(module) + " (" + literal(path) + ")";
  }

  void visit(torch::nn::Module& module, const std::string& path) {
    const bool is_linear = is_one_of<torch::nn::LinearImpl>(module);
    const bool is_conv =
        is_one_of<torch::nn::Conv1dImpl, torch::nn::Conv2dImpl, torch::nn::Conv3dImpl>(module);
    if (is_linear || is_conv) {
      if (!members_.empty()) read(module, path, is_conv);
      write(module, path, is_conv);
    } else if (!members_.empty() && obstacle_.empty()) {
      pass(module, path);
    }
  }

  /// The layer reads the units of the one before.
  void read(torch::nn::Module& module, const std::string& path, bool is_conv) {
    TORCH_CHECK_VALUE(obstacle_.empty(), "chain: ", obstacle_);
    const std::string who = name(module, path);
    const int64_t inputs = *width_of(module, Side::inputs);
    if (is_conv) {
      TORCH_CHECK_VALUE(shape_ == Shape::channels, "chain: ", who,
                        " is behind features, which are not its channels; use linked(...)");
      TORCH_CHECK_VALUE(convolution_groups(module) == 1, "chain: ", who, kInGroups);
    } else {
      TORCH_CHECK_VALUE(shape_ != Shape::channels, "chain: ", who,
                        " is directly behind a convolution; put a Flatten in between");
      TORCH_CHECK_VALUE(shape_ != Shape::flat_features || inputs == units_, "chain: Flatten (",
                        literal(flatten_), ") leaves no consecutive columns of a unit for ", who,
                        "; use no Flatten");
    }
    const bool may_be_several = shape_ == Shape::flat_channels;
    TORCH_CHECK_VALUE(may_be_several ? inputs % units_ == 0 : inputs == units_, "chain: ", who,
                      " reads ", inputs, " inputs, and there are ", units_, " units before it");
    links_.add(std::move(members_), {{path + ".weight", 1}});
    members_.clear();
  }

  /// The layer's outputs are the next units, of which nobody may read.
  void write(torch::nn::Module& module, const std::string& path, bool is_conv) {
    obstacle_.clear();
    members_ = {{path + ".weight", 0}};
    if (has(module, "bias")) members_.push_back({path + ".bias", 0});
    units_ = *width_of(module, Side::outputs);
    shape_ = is_conv ? Shape::channels : Shape::features;
    with_convolution(module, [&](auto& conv) { dimensions_ = conv.weight.dim() - 2; });
    if (convolution_groups(module) > 1) obstacle_ = name(module, path) + kInGroups;
  }

  /// A module between two layers. What is in the way is told if a second one follows.
  void pass(torch::nn::Module& module, const std::string& path) {
    using namespace torch::nn;
    const std::string who = name(module, path);
    if (is_one_of<BatchNorm1dImpl, BatchNorm2dImpl, BatchNorm3dImpl>(module)) {
      pass_batch_norm(module, path);
    } else if (is_one_of<FlattenImpl>(module)) {
      const auto& options = dynamic_cast<FlattenImpl&>(module).options;
      const bool is_usual = options.start_dim() == 1 && options.end_dim() == -1;
      if (!is_usual) obstacle_ = who + " flattens other dimensions than those behind the first";
      if (shape_ == Shape::channels) shape_ = Shape::flat_channels;
      if (shape_ == Shape::features) shape_ = Shape::flat_features, flatten_ = path;
    } else if (is_one_of<PReLUImpl>(module)) {
      const bool is_one = dynamic_cast<PReLUImpl&>(module).options.num_parameters() == 1;
      if (!is_one) obstacle_ = who + " has a slope for each unit";
    } else if (moves_zeros(module)) {
      obstacle_ = who + " does not keep zeros";
    } else if (mixes_units(module)) {
      obstacle_ = who + " normalizes over the units, so that none can be removed";
    } else if (const int64_t pooled = pooled_dimensions(module)) {
      if (shape_ != Shape::channels) obstacle_ = who + " is behind features, which it would mix";
      if (shape_ == Shape::channels && pooled != dimensions_)
        obstacle_ = who + " pools over other dimensions than the convolution's";
    } else if (!keeps_zeros(module)) {
      obstacle_ = who + " is unknown; use linked(...)";
    }
  }

  void pass_batch_norm(torch::nn::Module& module, const std::string& path) {
    const std::string who = name(module, path);
    const int64_t features = *width_of(module, Side::outputs);
    const bool may_be_several = shape_ == Shape::flat_channels;
    if (!has(module, "weight")) {
      obstacle_ = who + " is not affine, so that it moves zeros";
    } else if (may_be_several ? features % units_ != 0 : features != units_) {
      obstacle_ = c10::str(who, " has ", features, " features for ", units_, " units");
    } else {
      members_.push_back({path + ".weight", 0});
      members_.push_back({path + ".bias", 0});
    }
  }

  static bool has(const torch::nn::Module& module, const std::string& parameter) {
    const auto parameters = module.named_parameters(/*recurse=*/false);
    return parameters.contains(parameter) && parameters[parameter].defined();
  }

  Links links_;
  std::unordered_set<const torch::nn::Module*> known_;
  std::vector<Slices> members_;  ///< of the last layer's units; empty before the first
  int64_t units_ = 0;
  int64_t dimensions_ = 0;  ///< of the last convolution
  Shape shape_ = Shape::features;
  std::string flatten_;   ///< the path of the one behind features
  std::string obstacle_;  ///< why the last layer's units cannot be linked
};

}  // namespace torchreg::detail
