#pragma once

#include <torch/types.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <torchreg/detail/engine/distance.hpp>

namespace torchreg::detail {

/// Whether a penalty holds entries at zero against their gradients: the question of lambda_max.
template <class Formula>
class Holding {
 public:
  Holding(const Formula& formula, Updates updates) : formula_(formula) {
    for (auto& [tensors, numbers, parameter] : updates) {
      tensors.gradient = gradient_for("lambda_max", *parameter);
      tensors.w = torch::zeros_like(tensors.w.detach());
      numbers.rate = kSmallStep;
    }
    bind_all(formula, updates, /*with_steps=*/true);
    for (const Update& update : updates) add(update);
  }

  bool has_gradient() const { return has_gradient_; }

  /// Whether c R holds them all.
  bool at(double c) const {
    for (const auto& [x, path] : problems_) {
      const torch::Tensor step = (kSmallStep * c) * x.factor;
      const torch::Tensor z = prox_at(formula_, x.w, step, x.data, path);
      if (!(z == 0).all().template item<bool>()) return false;
    }
    return true;
  }

 private:
  struct Problem {
    Operands<torch::Tensor> x;
    std::string path;
  };

  /// On the CPU, in double; of a penalty of entries only those which leave first, unless each has
  /// data of its own. Entries whose factor is 0 are not penalized.
  void add(const Update& update) {
    const auto exact = [](const torch::Tensor& tensor) {
      return tensor.defined() ? tensor.cpu().to(torch::kDouble) : tensor;
    };
    torch::Tensor gradient = exact(update.tensors.gradient), data = exact(update.tensors.data);
    TORCH_CHECK_VALUE(gradient.isfinite().all().item<bool>(), "lambda_max: the gradient of ",
                      literal(update.path()), " is not finite");
    torch::Tensor factor = torch::full_like(gradient, update.numbers.strength);
    if (update.tensors.factor.defined()) factor = factor * exact(update.tensors.factor);
    if (!is_separable<Formula>) factor = factor.max();
    if (is_separable<Formula>) {
      torch::Tensor kept = factor > 0;
      if (!has_data<Formula> && kept.any().item<bool>()) {
        const torch::Tensor ratio = gradient.flatten() / factor.flatten();
        const torch::Tensor of_kept = ratio.masked_fill(kept.flatten().logical_not(), 0);
        kept = torch::zeros_like(kept).flatten();
        kept[of_kept.argmax()] = true;
        kept[of_kept.argmin()] = true;
        kept = kept.view(factor.sizes()) & (factor > 0);
      }
      gradient = gradient.masked_select(kept);
      factor = factor.masked_select(kept);
      if (data.defined()) data = data.masked_select(kept);
    }
    if (gradient.numel() == 0 || factor.max().item<double>() == 0) return;
    has_gradient_ = has_gradient_ || (gradient != 0).any().item<bool>();
    Operands<torch::Tensor> x;
    x.w = -kSmallStep * gradient;
    x.factor = factor;
    x.data = data;
    problems_.push_back({x, update.path()});
  }

  const Formula& formula_;
  std::vector<Problem> problems_;
  bool has_gradient_ = false;
};

}  // namespace torchreg::detail
