#pragma once

#include <torch/types.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include <torchreg/detail/text/checks.hpp>
#include <torchreg/select.hpp>

namespace torchreg {

/// Which entries of some parameters are not zero, at the moment when it is made. NaN is not zero.
///
/// Two of them tell whether the support has settled, and FixedSupport holds one. It keeps the
/// tensors alive, and a bool for each entry. Weights that are loaded from a file are those that it
/// sees: `torch::load(model, path); Support support(model);`
class Support {
 public:
  /// Of the parameters of a module that a selector takes.
  template <class Module, class = detail::IfNoTensors<Module>>
  explicit Support(const Module& module, const Selector& selector = weights())
      : Support(detail::select_for("Support", detail::as_module(module), selector)) {}

  /// Of these tensors.
  explicit Support(Parameters parameters) : parameters_(std::move(parameters)) {
    detail::check_floating("Support", parameters_);
    torch::NoGradGuard no_grad;
    for (const Parameter& parameter : parameters_) masks_.push_back(parameter.tensor != 0);
  }

  /// How many entries are not zero. Waits for the device.
  int64_t nonzeros() const { return count(masks_); }

  int64_t entries() const {
    int64_t entries = 0;
    for (const torch::Tensor& mask : masks_) entries += mask.numel();
    return entries;
  }

  /// How many entries are zero in one of two supports and not in the other: 0 over several epochs
  /// means that the support has settled. Waits for the device. An error where they are of other
  /// paths or shapes.
  int64_t changes(const Support& later) const {
    std::unordered_map<std::string, torch::Tensor> others;
    for (std::size_t i = 0; i < later.masks_.size(); ++i) {
      others.emplace(later.parameters_[i].path, later.masks_[i]);
    }
    std::vector<torch::Tensor> changes;
    for (std::size_t i = 0; i < masks_.size(); ++i) {
      const std::string& path = parameters_[i].path;
      const auto other = others.find(path);
      check_in_both(path, other != others.end());
      TORCH_CHECK_VALUE(masks_[i].sizes() == other->second.sizes(),
                        "Support: ", detail::literal(path), " has changed its shape");
      changes.push_back(masks_[i] != other->second.to(masks_[i].device()));
      others.erase(other);
    }
    for (const Parameter& parameter : later.parameters_) {
      check_in_both(parameter.path, others.count(parameter.path) == 0);
    }
    return count(changes);
  }

  /// True where an entry is not zero: a tensor of bools for each parameter.
  const std::vector<torch::Tensor>& masks() const { return masks_; }

  /// Whose support it is, in the order of the masks.
  const Parameters& parameters() const { return parameters_; }

 private:
  static void check_in_both(const std::string& path, bool is_in_both) {
    TORCH_CHECK_VALUE(is_in_both, "Support: ", detail::literal(path), " is in one support only");
  }

  /// How many are true, with one wait.
  static int64_t count(const std::vector<torch::Tensor>& masks) {
    std::vector<torch::Tensor> sums;
    for (const torch::Tensor& mask : masks) sums.push_back(mask.sum().to(masks[0].device()));
    return torch::stack(sums).sum().item<int64_t>();
  }

  Parameters parameters_;
  std::vector<torch::Tensor> masks_;
};

}  // namespace torchreg
