#pragma once

#include <torch/csrc/autograd/custom_function.h>
#include <torch/types.h>

#include <array>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include <torchreg/detail/engine/pieces.hpp>
#include <torchreg/detail/engine/value.hpp>
#include <torchreg/detail/processor/threads.hpp>

namespace torchreg::detail {

/// Writes a formula's slopes, times a factor, for an array of float or double.
template <class Formula, class T>
struct SlopeLoop {
  using Number = Lanes<T>;
  static constexpr int64_t stride = Number::size;
  Formula formula;
  double factor;
  const T* w;
  T* slope;

  void operator()(int64_t i, int64_t count) const {
    (formula.slope(Number::load(w + i, count)) * factor).store(slope + i, count);
  }
};

/// Writes outer * slope of each tensor to its gradient, where there is one.
template <class Formula>
void write_slopes(const Formula& formula, at::TensorList tensors, at::TensorList gradients,
                  const torch::Tensor& outer, const std::vector<std::string>& paths) {
  std::vector<Span> spans;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const torch::Tensor &w = tensors[i], &gradient = gradients[i];
    if (!gradient.defined()) continue;
    if (outer.is_cpu() && fit_lanes<Formula>(std::array{w, gradient})) {
      append_spans(spans, i, w);
      continue;
    }
    const torch::Tensor factor = outer.to(w.device());
    for_each_piece<Formula>(std::array{w, gradient}, piece_size(w), [&](const auto& piece) {
      torch::Tensor out = piece[1];
      torch::mul_out(out, slope_at(formula, in_compute_type(piece[0]), paths[i]), factor);
    });
  }
  if constexpr (kHasSimd && TakesLanes<Formula>::value) {
    const double factor = spans.empty() ? 0 : outer.item<double>();
    for_each_span(spans, [&](std::size_t k) {
      const auto& [index, begin, size] = spans[k];
      const torch::Tensor &w = tensors[index], &gradient = gradients[index];
      const auto write = [&, begin = begin, size = size](auto zero) {
        using T = decltype(zero);
        run_loop(SlopeLoop<Formula, T>{formula, factor, w.data_ptr<T>(), gradient.data_ptr<T>()},
                 begin, size);
      };
      w.scalar_type() == torch::kFloat ? write(0.0F) : write(0.0);
    });
  }
}

/// A term with a slope: one node in the graph for the whole list. Only the gradients themselves
/// are allocated in backward; where a second derivative is asked for, the slope is recorded.
template <class Formula>
struct Term : torch::autograd::Function<Term<Formula>> {
  struct Saved : torch::CustomClassHolder {
    Saved(Formula of_term, std::vector<std::string> of_tensors)
        : formula(std::move(of_term)), paths(std::move(of_tensors)) {}
    Formula formula;
    std::vector<std::string> paths;
  };

  static torch::Tensor forward(torch::autograd::AutogradContext* context, at::TensorList tensors,
                               const Formula& formula, const std::vector<std::string>& paths) {
    context->save_for_backward(tensors.vec());
    context->saved_data["saved"] =
        c10::IValue::make_capsule(c10::make_intrusive<Saved>(formula, paths));
    return term_value(formula, tensors, paths);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& outer) {
    const auto capsule = context->saved_data["saved"].toCapsule();
    const auto& saved = static_cast<const Saved&>(*capsule);
    const Formula& formula = saved.formula;
    const std::vector<std::string>& paths = saved.paths;
    const auto tensors = context->get_saved_variables();
    const bool is_recorded = torch::GradMode::is_enabled();
    torch::autograd::variable_list gradients(tensors.size() + 2);  // none for formula and paths
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      const torch::Tensor& w = tensors[i];
      if (!context->needs_input_grad(i)) continue;
      gradients[i] =
          is_recorded ? (outer[0].to(w.device()) * slope_at(formula, in_compute_type(w), paths[i]))
                            .to(w.scalar_type())
                      : torch::empty_like(w);
    }
    if (!is_recorded) {
      write_slopes(formula, tensors, at::TensorList(gradients.data(), tensors.size()), outer[0],
                   paths);
    }
    return gradients;
  }
};

/// R summed over the tensors, 0-dim and differentiable.
template <class Formula>
torch::Tensor term(const Formula& formula, const std::vector<torch::Tensor>& tensors,
                   const std::vector<std::string>& paths) {
  require_value<Formula>();
  if constexpr (HasValue<Formula>::value && HasSlope<Formula>::value) {
    return Term<Formula>::apply(at::TensorList(tensors), formula, paths);
  } else if constexpr (HasValue<Formula>::value) {
    std::vector<torch::Tensor> sums;
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      sums.push_back(value_at(formula, in_compute_type(tensors[i]), paths[i]).sum());
    }
    return total(0, std::move(sums), tensors);
  }
}

}  // namespace torchreg::detail
