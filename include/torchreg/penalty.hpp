#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include <torchreg/detail/engine/add_gradient.hpp>
#include <torchreg/detail/engine/prox_all.hpp>
#include <torchreg/detail/engine/term.hpp>
#include <torchreg/detail/text/checks.hpp>
#include <torchreg/formula.hpp>
#include <torchreg/select.hpp>

namespace torchreg {

/// A formula and a selector: the functor that users call.
///
/// `Formula` is any struct with the mathematics of a penalty: its value makes it a term of a loss,
/// its prox usable in ProximalStep. What it may have and declare says formula.hpp.
template <class Formula>
class Penalty {
 public:
  explicit Penalty(Formula formula, Selector selector = weights(), detail::Factors factors = {})
      : formula_(std::move(formula)), selector_(std::move(selector)), factors_(std::move(factors)) {
    detail::check_strengths(formula_);
  }

  /// R summed over the tensors: 0-dim and differentiable, twice too; the dtype is what theirs
  /// promote to, float32 for half types. Does not synchronize with a device. Under NoGradGuard it
  /// has no graph.
  torch::Tensor operator()(const Parameters& parameters) const {
    detail::check_strengths(formula_);
    detail::check_floating(name(), parameters);
    return detail::term(formula_, factors_, parameters);
  }

  /// The same for the selected parameters of a module; selects anew at each call.
  template <class Module, class = detail::IfNoTensors<Module>>
  torch::Tensor operator()(const Module& module) const {
    return (*this)(detail::select_for(name(), detail::as_module(module), selector_));
  }

  /// The term's gradient without a graph: adds the slope of R to the gradients (makes those that
  /// are undefined) and returns R, 0-dim, which has no graph. The same numbers as backward() of the
  /// term, in one pass over the tensors and their gradients; hooks are not called. Tensors that
  /// require no gradient count, and get none. After backward() of the loss alone: for gradients
  /// that are accumulated, and for a loss scale once it is undone.
  torch::Tensor add_gradient_(const Parameters& parameters) const {
    torch::NoGradGuard no_grad;
    detail::check_strengths(formula_);
    detail::check_floating(name(), parameters);
    return detail::add_gradient(formula_, factors_, parameters);
  }

  /// The same for the selected parameters of a module.
  template <class Module, class = detail::IfNoTensors<Module>>
  torch::Tensor add_gradient_(const Module& module) const {
    return add_gradient_(detail::select_for(name(), detail::as_module(module), selector_));
  }

  /// In place and without gradient: w <- prox of step R, where 0 <= step < infinity, in units of
  /// parameter per gradient. Half types are computed in float32 and rounded once: a shrinkage below
  /// half a unit in the last place (1.0 - 1e-3 in bfloat16) is rounded away.
  void prox_(const Parameters& parameters, double step) const {
    detail::check_strength(of_step(), step);
    detail::Metric metric;
    metric.rate = step;
    apply(parameters, metric, {});
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
    detail::check_strengths_in(of_step(), step);
    detail::check_floating(name(), parameters);
    detail::check_broadcasts(of_step(), step, parameters[0]);
    if constexpr (detail::takes_one_step<Formula>) {
      TORCH_CHECK_VALUE(step.numel() == 1, name(), " has no exact prox for a step per entry; ",
                        Formula::instead);
      return prox_(parameters, step.template item<double>());
    }
    detail::Metric metric;
    metric.rate = 1;
    apply(parameters, metric, step.expand_as(parameters[0].tensor));
  }

  /// Mutable, for schedules: l1.formula().lambda = warm_up(epoch).
  Formula& formula() { return formula_; }
  const Formula& formula() const { return formula_; }

  const Selector& selector() const { return selector_; }

  /// R becomes c R, whose prox of step s is R's of step c s; returns this penalty, so that
  /// `L1(1e-3).scaled_by(factors)` is an argument and `prox.penalty().scaled_by(c)` a schedule.
  ///
  /// c is a number, or a callable (const Parameter&) -> double or torch::Tensor: one factor of a
  /// parameter, or factors that broadcast to it (glmnet's penalty.factor, the adaptive lasso). A
  /// second number replaces the first, a second callable the first callable; a number and a
  /// callable multiply. An entry whose factor is 0 is left alone. A term asks the callable at each
  /// call, a ProximalStep once, where it is made. An error where a factor is negative, NaN or
  /// infinite, does not broadcast, or is one per entry of a penalty that is not of single entries.
  template <class Factor>
  Penalty& scaled_by(Factor c) {
    factors_.set(name(), std::move(c));
    return *this;
  }

  /// For ProximalStep.
  const detail::Factors& factors() const { return factors_; }

 private:
  static std::string name() { return detail::name_of<Formula>(); }

  /// Who an error of a step is about. GCC 12 warns of name() + ": step", for no reason.
  static std::string of_step() {
    std::string who = name();
    who += ": step";
    return who;
  }

  void apply(const Parameters& parameters, const detail::Metric& metric,
             const torch::Tensor& steps) const {
    detail::require_prox<Formula>();
    torch::NoGradGuard no_grad;
    detail::check_strengths(formula_);
    detail::check_writable(name(), parameters);
    if constexpr (detail::HasProx<Formula>::value) {
      detail::Updates updates = detail::updates_of(formula_, factors_, parameters);
      detail::Numbers of_step(metric);
      for (auto& [tensors, numbers, parameter] : updates) {
        tensors.given = steps;
        of_step.strength = numbers.strength;
        numbers = of_step;
      }
      detail::prox_all(formula_, updates);
    }
  }

  Formula formula_;
  Selector selector_;
  detail::Factors factors_;
};

template <class Formula>
Penalty(Formula) -> Penalty<Formula>;
template <class Formula>
Penalty(Formula, Selector) -> Penalty<Formula>;

}  // namespace torchreg
