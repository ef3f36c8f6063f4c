#pragma once

#include <torch/arg.h>
#include <torch/serialize/archive.h>
#include <torch/types.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include <torchreg/group_sparsity.hpp>
#include <torchreg/proximal_step.hpp>

namespace torchreg {

struct TargetSparsityOptions {
  /// Every how many calls of step() the zeros are counted and the strengths moved.
  TORCH_ARG(int64_t, every) = 64;

  /// How far they move, against the distance of the log-odds of zeros from those of the target.
  TORCH_ARG(double, gain) = 0.25;

 public:
  void check() const {
    TORCH_CHECK_VALUE(every_ >= 1, "TargetSparsity: every must be >= 1, got ", every_);
    TORCH_CHECK_VALUE(detail::is_finite(gain_) && gain_ > 0,
                      "TargetSparsity: gain must be finite and > 0, got ", gain_);
  }
};

template <class Prox>
class TargetSparsity;

/// Asks for a fraction of zeros instead of a lambda: multiplies the strengths of a ProximalStep's
/// penalties until so many of the entries that it steps, or of their groups, are zero.
///
/// At each look, c <- c exp(clamp(gain (logit target - logit z), -1/2, 1/2)), z the fraction of
/// zeros, kept within [1e-4, 1e4]; c multiplies the number that scaled_by() had given each penalty,
/// and every iterate stays a prox step of the penalty at its strength. Start too small rather than
/// too large: 100 times too small costs some hundred steps, 100 times too large can kill units for
/// good. Needs memory: with memory(0) zeros flicker, and targets below .6 do not settle.
///
/// Refers to the ProximalStep, which must outlive it, so it can be neither copied nor moved. Saved
/// and loaded with torch::save() and torch::load(); options and target are not. Each look waits
/// once for the device. An error unless 0 < target < 1, or if no penalty makes zeros.
template <class... Penalties>
class TargetSparsity<ProximalStep<Penalties...>> {
  using Prox = ProximalStep<Penalties...>;
  using Each = std::index_sequence_for<Penalties...>;

 public:
  /// Of the entries that are stepped.
  TargetSparsity(Prox& prox, double target) : prox_(prox), target_(target) { start(); }

  /// Of their groups that have entries.
  TargetSparsity(Prox& prox, double target, Grouping grouping)
      : prox_(prox), target_(target), grouping_(std::move(grouping)) {
    start();
  }

  TargetSparsity(const TargetSparsity&) = delete;
  TargetSparsity& operator=(const TargetSparsity&) = delete;

  /// After prox.step().
  void step() {
    options_.check();
    if (++calls_ % options_.every() != 0) return;
    zeros_ = zeros_now();
    ++looks_;
    if (is_held_) return;
    const double entries = static_cast<double>(std::max<int64_t>(count_, 2));
    const double z = std::clamp(zeros_, 1 / entries, 1 - 1 / entries);
    const double move = options_.gain() * (logit(target_) - logit(z));
    set_factor(factor_ * std::exp(std::clamp(move, -0.5, 0.5)));
  }

  /// What the strengths are multiplied by: 1 at first.
  double factor() const { return factor_; }

  /// The fraction of zeros at the last look; now, before there was one.
  double zeros() const { return looks_ > 0 ? zeros_ : zeros_now(); }

  /// No more changes: the rest of the run solves one problem, for the strength that was found.
  void hold() { is_held_ = true; }

  TargetSparsityOptions& options() { return options_; }
  const TargetSparsityOptions& options() const { return options_; }

  friend auto& operator<<(torch::serialize::OutputArchive& archive, const TargetSparsity& target) {
    archive.write("calls", c10::IValue(std::vector<int64_t>{target.calls_, target.looks_,
                                                            target.is_held_ ? 1 : 0}));
    archive.write("numbers", c10::IValue(std::vector<double>{target.factor_, target.zeros_}));
    return archive;
  }
  friend auto& operator>>(torch::serialize::InputArchive& archive, TargetSparsity& target) {
    c10::IValue calls, numbers;
    TORCH_CHECK_VALUE(archive.try_read("calls", calls) && archive.try_read("numbers", numbers),
                      "TargetSparsity: the archive holds no state of a TargetSparsity");
    const auto counts = calls.toIntVector();
    const auto rates = numbers.toDoubleVector();
    TORCH_CHECK_VALUE(counts.size() == 3 && rates.size() == 2,
                      "TargetSparsity: the saved state is damaged");
    target.set_factor(rates[0]);
    target.zeros_ = rates[1];
    target.calls_ = counts[0], target.looks_ = counts[1], target.is_held_ = counts[2] != 0;
    return archive;
  }

 private:
  static double logit(double p) { return std::log(p / (1 - p)); }

  static int64_t entries_of(const Parameters& parameters) {
    int64_t entries = 0;
    for (const Parameter& parameter : parameters) entries += parameter.tensor.numel();
    return entries;
  }

  void start() {
    TORCH_CHECK_VALUE(detail::is_finite(target_) && target_ > 0 && target_ < 1,
                      "TargetSparsity: target must be in (0, 1), got ", target_);
    if (grouping_) {
      parameters_ = detail::fitting(parameters_, *grouping_);
      problems_ = detail::problems_of(parameters_, *grouping_);
      count_ = 0;
      for (const auto& problem : problems_) count_ += problem.layout().groups_with_entries();
    }
    start(Each());
  }
  template <std::size_t... index>
  void start(std::index_sequence<index...> /*each*/) {
    numbers_ = {prox_.template penalty<index>().factors().number()...};
    const bool any =
        ((numbers_[index] > 0 && makes_zeros(prox_.template penalty<index>().formula())) || ...);
    using First = std::decay_t<decltype(prox_.template penalty<0>().formula())>;
    TORCH_CHECK_VALUE(any, "TargetSparsity: ", detail::name_of<First>(), " makes no zeros");
  }

  template <class Formula>
  static bool makes_zeros(const Formula& formula) {
    if constexpr (!detail::is_count<Formula>) return detail::has_memory(formula);
    bool any = !detail::Has<detail::Strengths, Formula>::value;
    detail::for_each_strength(formula, [&](const std::string& /*name*/, double value,
                                           const Range& /*range*/) { any = any || value > 0; });
    return any;
  }

  void set_factor(double factor) { set_factor(factor, Each()); }
  template <std::size_t... index>
  void set_factor(double factor, std::index_sequence<index...> /*each*/) {
    factor_ = std::clamp(factor, 1e-4, 1e4);
    (prox_.template penalty<index>().scaled_by(numbers_[index] * factor_), ...);
  }

  double zeros_now() const {
    torch::NoGradGuard no_grad;
    prox_.for_each_penalty([](const auto&, const auto&) {});  // throws where a shape has changed
    const auto device = parameters_[0].tensor.device();
    std::vector<torch::Tensor> zeros;
    for (const auto& problem : problems_) {
      zeros.push_back(detail::zero_groups(problem, parameters_));
    }
    if (!grouping_) {
      for (const auto& [path, tensor, owner] : parameters_) {
        zeros.push_back((tensor.numel() - tensor.count_nonzero()).to(device));
      }
    }
    const auto count = torch::stack(zeros).sum().template item<int64_t>();
    return static_cast<double>(count) / static_cast<double>(std::max<int64_t>(count_, 1));
  }

  Prox& prox_;
  double target_;
  std::optional<Grouping> grouping_;
  std::vector<detail::Problem> problems_;  ///< of the grouping
  Parameters parameters_ = prox_.parameters();
  int64_t count_ = entries_of(parameters_);  ///< of entries or groups
  TargetSparsityOptions options_;
  std::array<double, sizeof...(Penalties)> numbers_{};  ///< what scaled_by() had given them
  double factor_ = 1, zeros_ = 0;
  int64_t calls_ = 0, looks_ = 0;
  bool is_held_ = false;
};

template <class... Penalties>
TargetSparsity(ProximalStep<Penalties...>&, double) -> TargetSparsity<ProximalStep<Penalties...>>;
template <class... Penalties>
TargetSparsity(ProximalStep<Penalties...>&, double, Grouping)
    -> TargetSparsity<ProximalStep<Penalties...>>;
template <class... Penalties>
TargetSparsity(ProximalStep<Penalties...>&, double, Links)
    -> TargetSparsity<ProximalStep<Penalties...>>;

}  // namespace torchreg
