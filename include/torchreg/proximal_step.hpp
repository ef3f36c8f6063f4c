#pragma once

#include <torch/arg.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <tuple>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

#include <torchreg/detail/archive.hpp>
#include <torchreg/detail/ledger.hpp>
#include <torchreg/detail/prox.hpp>
#include <torchreg/detail/users_step_size.hpp>
#include <torchreg/penalty.hpp>

namespace torchreg {

namespace detail {

struct ProximalStepOptions {
  /// A zero leaves only when its gradient, averaged over about this many steps, says so; 0 is the
  /// textbook prox. Up to an epoch's steps, and at most a tenth of the run's.
  TORCH_ARG(int64_t, memory) = 256;
  /// Every how many calls of step() the prox is taken, for all optimizer steps since.
  TORCH_ARG(int64_t, every) = 1;
};

}  // namespace detail

/// The step after optimizer.step(): the prox of the penalties, in the metric of the optimizer.
///
/// w <- prox_{s R}(w) in place, where s is how far the optimizer moves each entry per unit of
/// gradient (step_size()), so that every optimizer approaches the minimizer of loss + R, with true
/// zeros. Zeros remember (options().memory()): an entry at zero leaves only when its averaged
/// gradient exceeds what the penalty holds it with; every result is 0 or the textbook prox's value.
///
/// Refers to the optimizer, which must outlive it and not move; holds the tensors and copies of the
/// penalties. Selects once, here: construct anew after unfreezing or adding parameters. A second
/// ProximalStep on the same tensors is not detected. Belongs to one thread.
/// Source: Duchi, Hazan, Singer 2011; Yun, Lozano, Yang 2021.
template <class... Penalties>
class ProximalStep {
 public:
  /// One or several penalties on disjoint parameters of a module.
  template <class Optimizer, class Module, class = std::enable_if_t<detail::is_module<Module>>>
  ProximalStep(Optimizer& optimizer, const Module& module, Penalties... penalties)
      : ledger_(optimizer, detail::users_step_size(optimizer)),
        penalties_(std::move(penalties)...) {
    add_selected(detail::as_module(module), std::index_sequence_for<Penalties...>());
    ledger_.start_at_limit();
  }

  /// One penalty on tensors named by hand; its selector is not applied.
  template <class Optimizer>
  ProximalStep(Optimizer& optimizer, const Parameters& parameters, Penalties... penalties)
      : ledger_(optimizer, detail::users_step_size(optimizer)),
        penalties_(std::move(penalties)...) {
    static_assert(sizeof...(Penalties) == 1, "an explicit list of tensors takes one penalty");
    ledger_.add(parameters, 0);
    ledger_.start_at_limit();
  }

  ProximalStep(ProximalStep&&) = default;
  ProximalStep& operator=(ProximalStep&&) = default;

  /// After optimizer.step(), before a scheduler moves the learning rate. Leaves alone what the
  /// optimizer did not move. Does not synchronize with a device. Everything is checked before the
  /// first tensor is written. Half types are computed in float32 and rounded once: a shrinkage
  /// below half a unit in the last place (1.0 - 1e-3 in bfloat16) is rounded away.
  void step() {
    torch::NoGradGuard no_grad;
    check();
    const auto readings = ledger_.read();
    const auto moved = ledger_.moved(readings);
    const bool due = calls_ + 1 >= options_.every();
    const auto traits = prox_traits();
    if (due) prepare_memory(traits);
    for (std::size_t i = 0; i < moved.size(); ++i) {
      if (moved[i]) ledger_.entries()[i].note(readings[i]);
    }
    ++calls_;
    if (due) act(readings, traits);
  }

  /// With every(n): acts now, on what was noted since the last act. Before evaluating or saving.
  void flush() {
    torch::NoGradGuard no_grad;
    check();
    const auto readings = ledger_.read();
    const auto traits = prox_traits();
    prepare_memory(traits);
    act(readings, traits);
  }

  /// Forgets memory, pending steps and momentum, after parameters were changed by hand.
  void reset() {
    for (detail::Entry& entry : ledger_.entries()) {
      entry.memory = torch::Tensor();
      entry.steps = entry.pending = 0;
      entry.pending_rate = 0;
    }
    ledger_.start_at_limit();
    calls_ = 0;
  }

  /// The penalty of this index; mutable, for schedules.
  template <std::size_t index = 0>
  auto& penalty() {
    return std::get<index>(penalties_);
  }
  template <std::size_t index = 0>
  const auto& penalty() const {
    return std::get<index>(penalties_);
  }

  detail::ProximalStepOptions& options() { return options_; }
  const detail::ProximalStepOptions& options() const { return options_; }

  /// What is stepped.
  Parameters parameters() const {
    std::vector<Parameter> parameters;
    for (const detail::Entry& entry : ledger_.entries()) parameters.push_back(entry.parameter);
    return Parameters(parameters);
  }

  /// A table: path, shape, penalty with its strengths, learning rate and kind of step.
  std::string describe() const {
    std::vector<std::string> penalties;
    std::apply(
        [&](const auto&... each) {
          (penalties.push_back(detail::describe_formula(each.formula())), ...);
        },
        penalties_);
    return ledger_.describe(penalties);
  }

  friend torch::serialize::OutputArchive& operator<<(torch::serialize::OutputArchive& archive,
                                                     const ProximalStep& prox) {
    detail::save(archive, prox.ledger_, prox.calls_);
    return archive;
  }

  friend torch::serialize::InputArchive& operator>>(torch::serialize::InputArchive& archive,
                                                    ProximalStep& prox) {
    detail::load(archive, prox.ledger_, prox.calls_);
    return archive;
  }

 private:
  template <std::size_t... index>
  void add_selected(const torch::nn::Module& module, std::index_sequence<index...>) {
    (ledger_.add(detail::select_for("ProximalStep", module, penalty<index>().selector()), index),
     ...);
  }

  using Traits = std::vector<detail::ProxTraits>;

  void check() const {
    TORCH_CHECK_VALUE(options_.every() >= 1, "ProximalStep: every must be >= 1, got ",
                      options_.every());
    TORCH_CHECK_VALUE(options_.memory() >= 0, "ProximalStep: memory must be >= 0, got ",
                      options_.memory());
    std::apply([](const auto&... each) { (detail::check_strengths(each.formula()), ...); },
               penalties_);
  }

  Traits prox_traits() const {
    return std::apply(
        [](const auto&... each) { return Traits{detail::prox_traits(each.formula())...}; },
        penalties_);
  }

  void prepare_memory(const Traits& traits) {
    for (detail::Entry& entry : ledger_.entries()) {
      const bool remembers = options_.memory() > 0 && traits[entry.penalty].makes_zeros;
      entry.memory = detail::prepared_memory(entry.memory, entry.parameter.tensor, remembers);
    }
  }

  void act(const std::vector<detail::Reading>& readings, const Traits& traits) {
    for (std::size_t i = 0; i < readings.size(); ++i) {
      detail::Entry& entry = ledger_.entries()[i];
      if (entry.pending == 0 || !entry.parameter.tensor.requires_grad()) continue;
      const int64_t steps = entry.steps + entry.pending;
      const detail::Memory memory{entry.memory,
                                  detail::newest_weight(entry.pending, steps, options_.memory())};
      const detail::Step step = entry.pending_step(readings[i]);
      with_formula(entry.penalty, [&](const auto& formula) {
        detail::prox_(formula, traits[entry.penalty], entry.parameter.tensor, step, memory);
      });
      entry.steps = steps;
      entry.pending = 0;
      entry.pending_rate = 0;
    }
    calls_ = 0;
  }

  template <class Act>
  void with_formula(std::size_t wanted, const Act& act) const {
    std::size_t index = 0;
    std::apply(
        [&](const auto&... each) { ((index++ == wanted ? act(each.formula()) : void()), ...); },
        penalties_);
  }

  detail::Ledger ledger_;
  std::tuple<Penalties...> penalties_;
  detail::ProximalStepOptions options_;
  int64_t calls_ = 0;
};

}  // namespace torchreg
