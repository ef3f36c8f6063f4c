#pragma once

#include <cstddef>
#include <cstdint>

#include <torchreg/detail/lookup.hpp>
#include <torchreg/detail/optimizer.hpp>
#include <torchreg/parameters.hpp>

namespace torchreg::detail {

/// A tensor that is stepped, and what is remembered of it between steps.
struct Entry {
  Parameter parameter;
  std::size_t penalty = 0;           ///< the index of the penalty that selects it
  StateKey key{};                    ///< of its state in the optimizer
  mutable GroupPosition position{};  ///< in the optimizer's groups: where to look first

  double kappa = kBeforeFirstStep;  ///< of SGD with momentum
  int64_t pending = 0;              ///< moves that no prox has followed yet
  double pending_rate = 0;          ///< their scalar steps, added up
  int64_t steps = 0;                ///< moves that a prox has followed
  torch::Tensor memory{};           ///< undefined: none

  // The optimizer's counter, its trace and the trace's version when the last move was noted. The
  // trace is held, not pointed to, so that no other can take its address.
  int64_t counter = 0;
  torch::Tensor trace{};
  int64_t version = 0;

  /// Whether the optimizer has moved the tensor since the last move was noted.
  bool has_moved(const Reading& reading) const {
    const bool has_gradient = parameter.tensor.grad().defined();
    if (!reading.leaves_trace) return has_gradient;
    TORCH_CHECK(reading.counter > 0 || !has_gradient, "ProximalStep: ", literal(parameter.path),
                " has no optimizer state yet; call step() after optimizer.step()");
    if (reading.counter == 0) return false;
    if (reading.trace.is_same(trace)) return !is_seen(reading);
    // At version 0, a trace in the place of another was loaded, and has not been stepped yet.
    return !trace.defined() || version_of(reading) > 0;
  }

  bool is_seen(const Reading& reading) const {
    return reading.counter == counter && reading.trace.is_same(trace) &&
           version_of(reading) == version;
  }

  void mark_seen(const Reading& reading) {
    counter = reading.counter;
    trace = reading.trace;
    version = version_of(reading);
  }

  /// The scalar step of the next move, if that is the one read.
  double next_rate(const Reading& reading) const {
    return reading.momentum ? sgd_rate(*reading.momentum, next_kappa(reading)) : reading.step.rate;
  }

  /// Notes a move. One with a step of 0 went nowhere.
  void note(const Reading& reading) {
    const double rate = next_rate(reading);
    kappa = next_kappa(reading);
    pending += rate > 0 ? 1 : 0;
    pending_rate += rate;
    mark_seen(reading);
  }

  /// Notes that a prox has followed the pending moves.
  void settle() {
    steps += pending;
    pending = 0;
    pending_rate = 0;
  }

  /// Forgets everything but which moves were noted.
  void forget() {
    memory = torch::Tensor();
    steps = pending = 0;
    pending_rate = 0;
  }

  /// One step for all pending moves: their sum if scalar, their number times the one read if not.
  Step pending_step(const Reading& reading) const {
    Step step = reading.step;
    step.rate = step.is_scalar() ? pending_rate : step.rate * static_cast<double>(pending);
    return step;
  }

 private:
  /// 0 for a tensor that was made in InferenceMode, which has none.
  static int64_t version_of(const Reading& reading) {
    if (!reading.trace.defined()) return 0;
    if (!reading.trace.is_inference()) return static_cast<int64_t>(reading.trace._version());
    TORCH_CHECK(reading.momentum == nullptr,
                "ProximalStep: momentum that was made in InferenceMode does not tell whether SGD "
                "has stepped; use torch::NoGradGuard");
    return 0;
  }

  double next_kappa(const Reading& reading) const {
    return reading.momentum ? advance_momentum(*reading.momentum, kappa) : kappa;
  }
};

}  // namespace torchreg::detail
