#pragma once

#include <torch/csrc/autograd/custom_function.h>
#include <torch/types.h>

#include <array>
#include <cstddef>
#include <utility>
#include <vector>

#include <torchreg/detail/formula.hpp>
#include <torchreg/detail/pieces.hpp>

namespace torchreg::detail {

/// The dtype of a term: what the tensors promote to, float32 for half types.
inline torch::ScalarType term_type(at::TensorList tensors) {
  torch::ScalarType type = compute_type(tensors[0].scalar_type());
  for (const torch::Tensor& tensor : tensors) {
    type = torch::promote_types(type, compute_type(tensor.scalar_type()));
  }
  return type;
}

inline torch::Tensor in_compute_type(const torch::Tensor& tensor) {
  return tensor.to(compute_type(tensor.scalar_type()));
}

/// The sum of 0-dim tensors in their order, in double, as a 0-dim tensor of the term's type and of
/// the first tensor's device.
inline torch::Tensor total(std::vector<torch::Tensor> sums, at::TensorList tensors) {
  const auto options = tensors[0].options().dtype(term_type(tensors));
  if (sums.empty()) return torch::zeros({}, options);
  for (torch::Tensor& sum : sums) sum = sum.to(options.dtype(torch::kDouble));
  return torch::stack(sums).sum().to(options);
}

template <class Formula>
torch::Tensor term_value(const Formula& formula, at::TensorList tensors) {
  std::vector<torch::Tensor> sums;
  for (const torch::Tensor& w : tensors) {
    for_each_piece_of<Formula>(std::array{w}, piece_size(w),
                               [&](const std::array<torch::Tensor, 1>& piece) {
                                 sums.push_back(formula.value(in_compute_type(piece[0])).sum());
                               });
  }
  return total(std::move(sums), tensors);
}

/// A term with a slope: one node in the graph for the whole list. Only the gradients themselves
/// are allocated in backward; where a second derivative is asked for, the slope is recorded.
template <class Formula>
struct Term : torch::autograd::Function<Term<Formula>> {
  struct Saved : torch::CustomClassHolder {
    explicit Saved(Formula saved) : formula(std::move(saved)) {}
    Formula formula;
  };

  static torch::Tensor forward(torch::autograd::AutogradContext* context, at::TensorList tensors,
                               const Formula& formula) {
    context->save_for_backward(tensors.vec());
    context->saved_data["formula"] = c10::IValue::make_capsule(c10::make_intrusive<Saved>(formula));
    return term_value(formula, tensors);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& outer) {
    const auto capsule = context->saved_data["formula"].toCapsule();
    const Formula& formula = static_cast<const Saved&>(*capsule).formula;
    const auto tensors = context->get_saved_variables();
    torch::autograd::variable_list gradients(tensors.size() + 1);  // none for the formula
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      if (!context->needs_input_grad(i)) continue;
      gradients[i] = gradient(formula, tensors[i], outer[0].to(tensors[i].device()));
    }
    return gradients;
  }

  static torch::Tensor gradient(const Formula& formula, const torch::Tensor& w,
                                const torch::Tensor& outer) {
    if (torch::GradMode::is_enabled()) {
      return (outer * formula.slope(in_compute_type(w))).to(w.scalar_type());
    }
    auto gradient = torch::empty_like(w);
    for_each_piece_of<Formula>(std::array{w, gradient}, piece_size(w), [&](const auto& piece) {
      torch::Tensor out = piece[1];
      torch::mul_out(out, formula.slope(in_compute_type(piece[0])), outer);
    });
    return gradient;
  }
};

/// R summed over the tensors, 0-dim and differentiable.
template <class Formula>
torch::Tensor term(const Formula& formula, const std::vector<torch::Tensor>& tensors) {
  require_value<Formula>();
  if constexpr (HasValue<Formula>::value && HasSlope<Formula>::value) {
    return Term<Formula>::apply(at::TensorList(tensors), formula);
  } else if constexpr (HasValue<Formula>::value) {
    std::vector<torch::Tensor> sums;
    for (const torch::Tensor& w : tensors) {
      sums.push_back(formula.value(in_compute_type(w)).sum());
    }
    return total(std::move(sums), tensors);
  }
}

}  // namespace torchreg::detail
