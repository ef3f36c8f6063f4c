#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <torchreg/detail/optimizer/users_step_size.hpp>
#include <torchreg/detail/state/act.hpp>
#include <torchreg/detail/state/archive.hpp>
#include <torchreg/detail/state/ledger.hpp>
#include <torchreg/detail/state/penalty_list.hpp>
#include <torchreg/options.hpp>
#include <torchreg/penalty.hpp>

namespace torchreg {

/// The step after optimizer.step(): the prox of the penalties, in the metric of the optimizer.
///
/// w <- prox_{s R}(w) in place, where s is how far the optimizer moves each entry per unit of
/// gradient (step_size()), so that every optimizer approaches the minimizer of loss + R, with true
/// zeros. Zeros remember (options().memory()): an entry at zero leaves only when its averaged
/// gradient exceeds what the penalty holds it with; every result is 0 or the textbook prox's value.
///
/// Refers to the optimizer, which must outlive it and not move, and so can itself be neither copied
/// nor moved; holds the tensors and copies of the penalties. Selects once, here: construct anew
/// after unfreezing or adding parameters. A second ProximalStep on the same tensors is not
/// detected. Belongs to one thread. Source: Duchi, Hazan, Singer 2011; Yun, Lozano, Yang 2021.
template <class... Penalties>
class ProximalStep {
  static_assert(sizeof...(Penalties) > 0, "ProximalStep takes one or several penalties");
  static constexpr bool takes_penalties = (detail::is_penalty<Penalties> && ...);
  static_assert(takes_penalties,
                "ProximalStep takes penalties behind the module or the tensors: "
                "ProximalStep(optimizer, model, L1(1e-4))");

 public:
  /// One or several penalties on disjoint parameters of a module.
  template <class Optimizer, class Module, class = detail::IfNoTensors<Module>>
  ProximalStep(Optimizer& optimizer, const Module& module, Penalties... penalties)
      : ledger_(detail::Reader(optimizer, detail::users_step_size(optimizer))),
        penalties_{{std::move(penalties)...}} {
    add_selected(detail::as_module(module), std::index_sequence_for<Penalties...>());
    start();
  }

  /// One penalty on tensors named by hand; its selector is not applied.
  template <class Optimizer>
  ProximalStep(Optimizer& optimizer, const Parameters& parameters, Penalties... penalties)
      : ledger_(detail::Reader(optimizer, detail::users_step_size(optimizer))),
        penalties_{{std::move(penalties)...}} {
    static_assert(sizeof...(Penalties) == 1, "an explicit list of tensors takes one penalty");
    ledger_.add(parameters, 0);
    start();
  }

  ProximalStep(const ProximalStep&) = delete;
  ProximalStep& operator=(const ProximalStep&) = delete;

  /// After optimizer.step(), before a scheduler moves the learning rate. Leaves alone what the
  /// optimizer did not move; a state that was loaded in between counts as not moved. Acts for all
  /// steps since the last call that the optimizer counts; SGD counts none. Does not synchronize
  /// with a device. Checks everything before the first tensor is written. Rounds half types as
  /// Penalty::prox_() does.
  ///
  /// `gradient_scale` >= 0 is what the loss's gradient was multiplied by after backward(), as R is
  /// here: after clip_grad_norm_(), which returns the norm, min(1, max_norm / (norm + 1e-6)).
  void step(double gradient_scale = 1) {
    detail::check_strength("ProximalStep: gradient scale", gradient_scale);
    check();
    torch::NoGradGuard no_grad;
    const auto readings = ledger_.read();
    const auto moves = ledger_.moves(readings);
    const bool due = calls_ + 1 >= options_.every();
    if (due) {
      detail::check_steps(ledger_.entries(), readings, moves, gradient_scale, penalties_);
      ledger_.allocate_memory(penalties_.have_memory(), options_.memory());
    }
    ledger_.note(readings, moves, gradient_scale);
    ++calls_;
    if (due) act(readings);
  }

  /// With every(n): acts now, on what was noted since the last act. Before evaluating or saving.
  void flush() {
    check();
    torch::NoGradGuard no_grad;
    const auto readings = ledger_.read();
    const std::vector<int64_t> no_moves(readings.size());
    detail::check_steps(ledger_.entries(), readings, no_moves, 1, penalties_);
    ledger_.note_writes(readings);
    act(readings);
  }

  /// Forgets memory, pending steps and momentum, after parameters were changed by hand or the
  /// optimizer's state was cleared, and asks for data and factors again.
  void reset() {
    const auto readings = ledger_.states();  // throws, if at all, before anything is forgotten
    bind();
    ledger_.forget(readings);
    calls_ = 0;
  }

  /// The penalty of this index; mutable, for schedules.
  template <std::size_t index = 0>
  auto& penalty() {
    return std::get<index>(penalties_.tuple);
  }
  template <std::size_t index = 0>
  const auto& penalty() const {
    return std::get<index>(penalties_.tuple);
  }

  ProximalStepOptions& options() { return options_; }
  const ProximalStepOptions& options() const { return options_; }

  /// What is stepped.
  Parameters parameters() const { return ledger_.parameters(); }

  /// act(penalty, updates) for each penalty, with its parameters as they are bound to it: for
  /// stationarity().
  template <class Act>
  void for_each_penalty(const Act& act) const {
    detail::for_each_penalty(ledger_.entries(), penalties_, act);
  }

  /// A table: path, shape, penalty with its strengths, learning rate, kind and number of steps.
  std::string describe() const { return ledger_.describe(penalties_.describe()); }

  friend auto& operator<<(torch::serialize::OutputArchive& archive, const ProximalStep& prox) {
    detail::save(archive, prox.ledger_, prox.penalties_, prox.calls_);
    return archive;
  }
  friend auto& operator>>(torch::serialize::InputArchive& archive, ProximalStep& prox) {
    detail::load(archive, prox.ledger_, prox.penalties_, prox.calls_);
    return archive;
  }

 private:
  template <class Module, std::size_t... index>
  void add_selected(const Module& module, std::index_sequence<index...>) {
    (ledger_.add(detail::select_for("ProximalStep", module, penalty<index>().selector()), index),
     ...);
  }

  void check() const { options_.check(), penalties_.check(); }

  void start() {
    ledger_.start();
    penalties_.check_optimizer(ledger_.entries(), ledger_.states());
    bind();
  }

  void bind() {
    ledger_.bind([&](const auto& entries) { return penalties_.bounds_of(entries); });
  }

  void act(const std::vector<detail::Reading>& readings) {
    detail::act(ledger_.entries(), readings, penalties_, options_.memory());
    calls_ = 0;
  }

  detail::Ledger ledger_;
  detail::PenaltyList<Penalties...> penalties_;
  ProximalStepOptions options_;
  int64_t calls_ = 0;
};

template <class Optimizer, class ModuleOrTensors, class... Penalties>
ProximalStep(Optimizer&, const ModuleOrTensors&, Penalties...) -> ProximalStep<Penalties...>;

}  // namespace torchreg
