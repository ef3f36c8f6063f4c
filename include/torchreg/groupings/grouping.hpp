#pragma once

#include <torch/types.h>

#include <cmath>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <torchreg/detail/groups/layout.hpp>
#include <torchreg/detail/text/text.hpp>
#include <torchreg/parameters.hpp>

namespace torchreg {

class Links;

/// How a tensor falls into groups: rows(), columns(), kernels() and others make one. A value, to be
/// stored, copied and passed on.
///
/// The groups are numbered row-major over what is cut. Each has a weight w_g in the penalty of
/// groups: the square root of its entries, unless weighted() or unweighted() says another.
class Grouping {
 public:
  /// For the functions that make one: a layout of sizes, or the reason why there is none.
  using LayoutOf = std::function<detail::Layout(at::IntArrayRef sizes, torch::Device device)>;

  Grouping(std::string text, LayoutOf layout_of)
      : text_(std::move(text)), layout_of_(std::move(layout_of)) {}

  /// Slices of several tensors as one group: linked().
  Grouping(const Links& links);

  /// Weight 1 for each group.
  Grouping unweighted() const {
    Grouping copy = *this;
    copy.weighting_ = Weighting::ones;
    copy.suffix_ = ".unweighted()";
    return copy;
  }

  /// A weight >= 0 for each group.
  Grouping weighted(const torch::Tensor& weights) const {
    TORCH_CHECK_VALUE(weights.defined() && weights.dim() == 1,
                      "Grouping: weighted() takes a tensor "
                      "of one dimension, a weight for each group");
    TORCH_CHECK_VALUE(!weights.requires_grad(),
                      "Grouping: weights require a gradient, which they would not get: detach() "
                      "them");
    const torch::Tensor here = weights.detach().to(torch::kCPU, torch::kDouble).clone();
    TORCH_CHECK_VALUE((here.isfinite() & (here >= 0)).all().item<bool>(),
                      "Grouping: weights must be finite and >= 0");
    Grouping copy = *this;
    copy.weighting_ = Weighting::given;
    copy.weights_ = here;
    copy.suffix_ = ".weighted(weights)";
    return copy;
  }

  /// As it is written: rows(), rows(64), blocks(4, 4), by(index).
  std::string describe() const { return text_ + suffix_; }

  /// Whether weights were given.
  bool is_weighted() const { return weighting_ == Weighting::given; }

  /// How many groups a tensor has.
  int64_t count(const torch::Tensor& tensor) const {
    return layout("Grouping", {"tensor 0", tensor}).groups;
  }

  /// For the engine: how a parameter's groups lie; an error that `who` reports where it does not
  /// fit.
  detail::Layout layout(const std::string& who, const Parameter& parameter) const {
    const auto& [path, tensor, owner] = parameter;
    try {
      detail::Layout layout = layout_of_(tensor.sizes(), tensor.device());
      check_weights(layout);
      return layout;
    } catch (const Misfit& misfit) {
      refuse(who, parameter, misfit);
    }
  }

  /// For the engine: an error where there is not a weight for each group of a link, whose first
  /// parameter this is.
  void check_link(const std::string& who, const Parameter& first,
                  const detail::Layout& layout) const {
    try {
      check_weights(layout);
    } catch (const Misfit& misfit) {
      refuse(who, first, misfit);
    }
  }

  /// Whether it fits a tensor.
  bool fits(const torch::Tensor& tensor) const {
    try {
      check_weights(layout_of_(tensor.sizes(), tensor.device()));
      return true;
    } catch (const Misfit&) {
      return false;
    }
  }

  /// For the engine: the weight of each row of that layout, 0 of entries in no group; 0-dim where
  /// all are the same.
  torch::Tensor weights(const detail::Layout& layout, int64_t entries,
                        const torch::TensorOptions& options) const {
    if (weighting_ == Weighting::given) {
      const torch::Tensor column = weights_.to(options, /*non_blocking=*/true).unsqueeze(1);
      return torch::constant_pad_nd(column, {0, 0, 0, layout.rows - layout.groups});
    }
    if (layout.is_regular()) {
      const bool are_ones = weighting_ == Weighting::ones;
      const double root = std::sqrt(static_cast<double>(entries));
      return torch::scalar_tensor(are_ones ? 1 : root, options);
    }
    const torch::Tensor sizes = layout.sizes_of_rows().to(options);
    torch::Tensor weights = weighting_ == Weighting::ones ? torch::ones_like(sizes) : sizes.sqrt();
    if (layout.rows > layout.groups) {
      weights.narrow(0, layout.groups, layout.rows - layout.groups).zero_();
    }
    return weights;
  }

  /// The links, of groups across tensors; else null.
  const Links* links() const { return links_.get(); }

  /// Why a grouping does not fit: thrown by a LayoutOf.
  struct Misfit {
    std::string why;
  };

 private:
  enum class Weighting { roots, ones, given };

  [[noreturn]] void refuse(const std::string& who, const Parameter& parameter,
                           const Misfit& misfit) const {
    C10_THROW_ERROR(ValueError,
                    c10::str(who, ": ", text_, " does not fit ", detail::literal(parameter.path),
                             " of shape ", parameter.tensor.sizes(), ": ", misfit.why));
  }

  void check_weights(const detail::Layout& layout) const {
    if (weighting_ != Weighting::given || weights_.numel() == layout.groups) return;
    throw Misfit{c10::str(weights_.numel(), " weights for ", layout.groups, " groups")};
  }

  std::string text_, suffix_;
  LayoutOf layout_of_;
  Weighting weighting_ = Weighting::roots;
  torch::Tensor weights_;
  std::shared_ptr<const Links> links_;
};

}  // namespace torchreg
