#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include <torchreg/detail/engine/batches.hpp>
#include <torchreg/detail/engine/step.hpp>
#include <torchreg/detail/engine/term.hpp>
#include <torchreg/detail/text/checks.hpp>
#include <torchreg/select.hpp>

namespace torchreg {

/// A formula and a selector: the functor that users call.
///
/// `Formula` is any struct with  template <class X> X value(const X& w) const  (or with
/// torch::Tensor for X): the penalty of each entry, of w's shape, summed here. With slope(w), the
/// derivative per entry, the gradient is explicit; without, autograd finds it. With prox(w, step)
/// it is usable in ProximalStep. With `static constexpr bool is_separable = false` it gets whole
/// tensors in their own shape, otherwise any piece of one. With `takes_lanes = true` its templates
/// are compiled for detail::Lanes too, and on the CPU a tensor is then read and written once; Lanes
/// have + - * / > == != & and Tensor's abs, sign, clamp, where, masked_fill, isfinite, reciprocal
/// and sqrt. Optional, for errors and tables: a static `name`, and `strengths()`, the pairs of name
/// and value that must be finite and >= 0.
template <class Formula>
class Penalty {
 public:
  explicit Penalty(Formula formula, Selector selector = weights())
      : formula_(std::move(formula)), selector_(std::move(selector)) {
    detail::check_strengths(formula_);
  }

  /// R summed over the tensors: 0-dim and differentiable, twice too; the dtype is what theirs
  /// promote to, float32 for half types. Does not synchronize with a device. Under NoGradGuard it
  /// has no graph.
  torch::Tensor operator()(const Parameters& parameters) const {
    detail::check_strengths(formula_);
    detail::check_floating(name(), parameters);
    return detail::term(formula_, parameters.tensors(), parameters.paths());
  }

  /// The same for the selected parameters of a module; selects anew at each call.
  template <class Module, class = detail::IfNoTensors<Module>>
  torch::Tensor operator()(const Module& module) const {
    return (*this)(detail::select_for(name(), detail::as_module(module), selector_));
  }

  /// In place and without gradient: w <- prox of step R, where 0 <= step < infinity, in units of
  /// parameter per gradient. Half types are computed in float32 and rounded once: a shrinkage below
  /// half a unit in the last place (1.0 - 1e-3 in bfloat16) is rounded away.
  void prox_(const Parameters& parameters, double step) const {
    detail::check_strength(name() + ": step", step);
    detail::Step scalar;
    scalar.rate = step;
    apply(parameters, scalar);
  }

  /// The same for the selected parameters of a module.
  template <class Module, class = detail::IfNoTensors<Module>>
  void prox_(const Module& module, double step) const {
    prox_(detail::select_for(name(), detail::as_module(module), selector_), step);
  }

  /// The same for one tensor with a tensor of steps that broadcasts to it.
  void prox_(const Parameters& parameters, const torch::Tensor& step) const {
    TORCH_CHECK_VALUE(parameters.size() == 1, name(), ": a tensor of steps is for one tensor, got ",
                      parameters.size());
    torch::NoGradGuard no_grad;
    detail::check_strengths_in(name() + ": step", step);
    detail::check_floating(name(), parameters);
    detail::check_broadcasts(name() + ": step", step, parameters[0]);
    detail::Step given;
    given.given = step.expand_as(parameters[0].tensor);
    given.rate = 1;
    apply(parameters, given);
  }

  /// Mutable, for schedules: l1.formula().lambda = warm_up(epoch).
  Formula& formula() { return formula_; }
  const Formula& formula() const { return formula_; }

  const Selector& selector() const { return selector_; }

 private:
  static std::string name() { return detail::name_of<Formula>(); }

  void apply(const Parameters& parameters, const detail::Step& step) const {
    detail::require_prox<Formula>();
    torch::NoGradGuard no_grad;
    detail::check_strengths(formula_);
    detail::check_writable(name(), parameters);
    if constexpr (detail::HasProx<Formula>::value) {
      std::vector<detail::Update> updates;
      for (const Parameter& parameter : parameters) {
        updates.push_back({parameter.tensor, step, {}, &parameter.path});
      }
      detail::prox_all(formula_, detail::prox_traits(formula_), updates, [](std::size_t) {});
    }
  }

  Formula formula_;
  Selector selector_;
};

}  // namespace torchreg
