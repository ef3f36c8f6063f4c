#pragma once

#include <torch/types.h>

#include <string>
#include <vector>

#include <torchreg/detail/engine/bind.hpp>
#include <torchreg/detail/engine/recorded_groups.hpp>
#include <torchreg/detail/solution/distance.hpp>

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
    if constexpr (is_grouped<Formula>) {
      add_groups(updates);
    } else {
      bind_all(formula, updates, /*with_steps=*/true);
      for (const Update& update : updates) add(update);
    }
  }

  bool has_gradient() const { return has_gradient_; }

  /// Whether c R holds them all.
  bool at(double c) const {
    for (const auto& [x, path] : questions_) {
      const torch::Tensor step = (kSmallStep * c) * x.factor;
      const torch::Tensor z = prox_at(formula_, x.w, step, x.data, path);
      if (!(z == 0).all().template item<bool>()) return false;
    }
    return true;
  }

 private:
  struct Question {
    Operands<torch::Tensor> x;
    std::string path;
  };

  /// On the CPU, in double; of a penalty of entries only those which leave first, unless each has
  /// data of its own. Entries whose factor is 0 are not penalized.
  void add(const Update& update) {
    const auto exact = [](const torch::Tensor& tensor) {
      return tensor.defined() ? tensor.cpu().to(torch::kDouble).contiguous() : tensor;
    };
    torch::Tensor gradient = exact(update.tensors.gradient), data = exact(update.tensors.data);
    check_finite(gradient, update);
    torch::Tensor factor = torch::full_like(gradient, update.numbers.strength);
    if (update.tensors.factor.defined()) factor = factor * exact(update.tensors.factor);
    if (is_separable<Formula>) {
      const torch::Tensor asked = has_data<Formula> ? factor > 0 : first_to_leave(gradient, factor);
      gradient = gradient.masked_select(asked);
      factor = factor.masked_select(asked);
      if (data.defined()) data = data.masked_select(asked);
    } else {
      factor = torch::full({}, update.numbers.strength, torch::kDouble);
    }
    if (gradient.numel() == 0 || factor.max().item<double>() == 0) return;
    has_gradient_ = has_gradient_ || (gradient != 0).any().item<bool>();
    Operands<torch::Tensor> x;
    x.w = -kSmallStep * gradient;
    x.factor = factor;
    x.data = data;
    questions_.push_back({x, update.path()});
  }

  void add_groups(const Updates& updates) {
    for (const Problem& problem : problems_of(formula_, updates)) {
      const Update& first = updates[problem.parts[0].index];
      const torch::Tensor gradient = matrix_of(
          problem, [&](std::size_t i) { return updates[i].tensors.gradient.to(torch::kDouble); });
      check_finite(gradient, first);
      if (gradient.numel() == 0 || first.numbers.strength == 0) continue;
      has_gradient_ = has_gradient_ || (gradient != 0).any().template item<bool>();
      Operands<torch::Tensor> x;
      x.w = -kSmallStep * gradient;
      x.factor = torch::full({}, first.numbers.strength, gradient.options());
      x.data = weights_of(formula_, problem, gradient.options());
      if constexpr (takes_some<Formula>) leave_out_free(x, first.path());
      if (x.w.size(0) == 0) continue;
      questions_.push_back({x, first.path()});
    }
  }

  /// Leaves out the rows that no strength holds, as entries in no group, and those without a
  /// gradient. Where none is left all are kept, unless the rows' weights are why.
  void leave_out_free(Operands<torch::Tensor>& x, const std::string& path) const {
    const torch::Tensor step = (kSmallStep * 1e30) * x.factor;
    const torch::Tensor z = prox_at(formula_, x.w, step, x.data, path);
    const torch::Tensor is_held = (z == 0).all(1) & (x.w != 0).any(1);
    const torch::Tensor held = is_held.nonzero().squeeze(1);
    if (held.numel() == 0 && !has_free_rows(x)) return;
    x.w = x.w.index_select(0, held);
    if (x.data.defined() && x.data.dim() > 0) x.data = x.data.index_select(0, held);
  }

  /// Whether the rows with a gradient have no weight.
  static bool has_free_rows(const Operands<torch::Tensor>& x) {
    if (!x.data.defined()) return false;
    const torch::Tensor is_free = x.data == 0;
    return (is_free.expand({x.w.size(0), 1}) | (x.w == 0).all(1, true)).all().item<bool>();
  }

  static void check_finite(const torch::Tensor& gradient, const Update& update) {
    TORCH_CHECK_VALUE(gradient.isfinite().all().item<bool>(), "lambda_max: the gradient of ",
                      literal(update.path()), " is not finite");
  }

  /// The entries with the least and the largest gradient, each over its factor.
  static torch::Tensor first_to_leave(const torch::Tensor& gradient, const torch::Tensor& factor) {
    torch::Tensor first = torch::zeros_like(gradient, torch::kBool);
    const torch::Tensor is_asked = factor > 0;
    if (!is_asked.any().item<bool>()) return first;
    const torch::Tensor ratio = (gradient / factor).masked_fill(is_asked.logical_not(), 0);
    first.view(-1)[ratio.argmax()] = true;
    first.view(-1)[ratio.argmin()] = true;
    return first & is_asked;
  }

  const Formula& formula_;
  std::vector<Question> questions_;
  bool has_gradient_ = false;
};

}  // namespace torchreg::detail
