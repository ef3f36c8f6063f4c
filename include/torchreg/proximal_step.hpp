#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <torchreg/detail/archive.hpp>
#include <torchreg/detail/ledger.hpp>
#include <torchreg/detail/options.hpp>
#include <torchreg/detail/penalty_list.hpp>
#include <torchreg/detail/users_step_size.hpp>
#include <torchreg/penalty.hpp>

namespace torchreg {

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
  static_assert(sizeof...(Penalties) > 0, "ProximalStep takes one or several penalties");

 public:
  /// One or several penalties on disjoint parameters of a module.
  template <class Optimizer, class Module, class = std::enable_if_t<detail::is_module<Module>>>
  ProximalStep(Optimizer& optimizer, const Module& module, Penalties... penalties)
      : ledger_(optimizer, detail::users_step_size(optimizer)),
        penalties_{{std::move(penalties)...}} {
    add_selected(detail::as_module(module), std::index_sequence_for<Penalties...>());
    ledger_.start_at_limit();
  }

  /// One penalty on tensors named by hand; its selector is not applied.
  template <class Optimizer>
  ProximalStep(Optimizer& optimizer, const Parameters& parameters, Penalties... penalties)
      : ledger_(optimizer, detail::users_step_size(optimizer)),
        penalties_{{std::move(penalties)...}} {
    static_assert(sizeof...(Penalties) == 1, "an explicit list of tensors takes one penalty");
    ledger_.add(parameters, 0);
    ledger_.start_at_limit();
  }

  ProximalStep(ProximalStep&&) noexcept = default;
  ProximalStep& operator=(ProximalStep&&) noexcept = default;

  /// After optimizer.step(), before a scheduler moves the learning rate. Leaves alone what the
  /// optimizer did not move; a state that was loaded in between counts as not moved. Does not
  /// synchronize with a device. Everything is checked before the first tensor is written. Half
  /// types are rounded as by Penalty::prox_().
  void step() {
    torch::NoGradGuard no_grad;
    check();
    const auto readings = ledger_.read();
    const auto moved = ledger_.moved(readings);
    const bool due = calls_ + 1 >= options_.every();
    const auto traits = due ? penalties_.traits() : detail::Traits();
    if (due) ledger_.prepare_memory(traits, options_.memory());
    for (std::size_t i = 0; i < moved.size(); ++i) {
      detail::Entry& entry = ledger_.entries()[i];
      if (moved[i]) entry.note(readings[i]);
      if (readings[i].counter == 0) entry.mark_seen(readings[i]);  // its state was cleared
    }
    ++calls_;
    if (due) act(readings, traits);
  }

  /// With every(n): acts now, on what was noted since the last act. Before evaluating or saving.
  void flush() {
    torch::NoGradGuard no_grad;
    check();
    const auto readings = ledger_.read();
    const auto traits = penalties_.traits();
    ledger_.prepare_memory(traits, options_.memory());
    act(readings, traits);
  }

  /// Forgets memory, pending steps and momentum, after parameters were changed by hand or the
  /// optimizer's state was cleared.
  void reset() {
    ledger_.forget();
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

  detail::ProximalStepOptions& options() { return options_; }
  const detail::ProximalStepOptions& options() const { return options_; }

  /// What is stepped.
  Parameters parameters() const { return ledger_.parameters(); }

  /// A table: path, shape, penalty with its strengths, learning rate and kind of step.
  std::string describe() const { return ledger_.describe(penalties_.describe()); }

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

  void check() const {
    options_.check();
    penalties_.check();
  }

  void act(const std::vector<detail::Reading>& readings, const detail::Traits& traits) {
    detail::act(ledger_.entries(), readings, penalties_, traits, options_.memory());
    calls_ = 0;
  }

  detail::Ledger ledger_;
  detail::PenaltyList<Penalties...> penalties_;
  detail::ProximalStepOptions options_;
  int64_t calls_ = 0;
};

}  // namespace torchreg
