#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>

#include <torchreg/detail/engine/memory.hpp>
#include <torchreg/detail/engine/outcome.hpp>
#include <torchreg/detail/optimizer/lookup.hpp>
#include <torchreg/detail/optimizer/reading.hpp>
#include <torchreg/detail/state/writes.hpp>
#include <torchreg/detail/text/text.hpp>
#include <torchreg/parameters.hpp>

namespace torchreg::detail {

/// A tensor that is stepped, and what is remembered of it between steps.
struct Entry {
  Parameter parameter;
  std::size_t penalty = 0;           ///< the index of the penalty that selects it
  StateKey key{};                    ///< of its state in the optimizer
  mutable GroupPosition position{};  ///< in the optimizer's groups: where to look first
  at::DimVector sizes{parameter.tensor.sizes().begin(), parameter.tensor.sizes().end()};

  double kappa = kBeforeFirstStep;  ///< of SGD with momentum
  Operands<torch::Tensor> kept{};   ///< between steps: memory, the formula's data, factors
  double strength = 1;              ///< what the penalty is multiplied by here, beside its number
  int64_t groups = 0;               ///< of a penalty of groups
  int64_t steps = 0;                ///< moves since the memory began
  int64_t moves = 0;                ///< in all, for describe()

  // Moves that no prox has followed yet, the scales of their gradients added up, and their scalar
  // steps, each times its scale, added up.
  int64_t pending = 0;
  double pending_scale = 0;
  double pending_rate = 0;

  // The optimizer's counter, its trace and the trace's version when the last move was noted. The
  // trace is held, not pointed to, so that no other can take its address.
  bool is_fresh = true;  ///< no call yet, the first of which acts if the optimizer has ever stepped
  int64_t counter = 0;
  torch::Tensor trace{};
  int64_t version = 0;
  Watch watch{parameter.tensor};

  /// An error, behind another one, where the tensor is of another shape than when the ProximalStep
  /// was made.
  void check_shape(const std::string& other = "") const {
    TORCH_CHECK_VALUE(parameter.tensor.sizes() == at::IntArrayRef(sizes), other,
                      "ProximalStep: ", literal(parameter.path),
                      " has changed its shape; construct anew");
  }

  /// The optimizer's moves since the last one that was noted, as far as its state shows them.
  int64_t moves_since(const Reading& reading) const {
    if (!reading.leaves_trace) return parameter.tensor.grad().defined() ? 1 : 0;
    const int64_t steps_seen = steps_since(reading);
    return is_fresh && reading.counter > 0 ? std::max<int64_t>(steps_seen, 1) : steps_seen;
  }

  /// The optimizer's steps since then that its state counts.
  int64_t steps_since(const Reading& reading) const {
    if (reading.counter == 0) return 0;
    const bool is_same = reading.trace.is_same(trace);
    if (is_same && reading.counts && reading.counter >= counter) return reading.counter - counter;
    const int64_t now = trace_version(reading);
    if (is_same) return now == version ? 0 : 1;
    if (!trace.defined() && (!reading.counts || reading.trace.is_inference()))
      return reading.counter;
    // A trace that began or was loaded since then: how often it was written to tells its steps.
    const int64_t steps_made = (now + reading.trace_writes - 1) / reading.trace_writes;
    return std::min(steps_made, reading.counter);
  }

  /// What was written from outside since the last look.
  Writes writes_since(const Reading& reading, int64_t made) const {
    return watch.since(parameter.tensor, made, own_writes(reading));
  }

  /// Takes the optimizer's moves for noted, but for the last `unseen`.
  void mark_seen(const Reading& reading, int64_t unseen = 0) {
    counter = reading.counter - (reading.counts ? unseen : 0);
    if (!trace.is_same(reading.trace)) trace = reading.trace;
    version = trace_version(reading) - (reading.counts ? 0 : unseen);
  }

  /// The scalar step of the next move.
  double next_rate(const Reading& reading) const {
    return reading.momentum ? sgd_rate(*reading.momentum, next_kappa(reading))
                            : reading.metric.rate;
  }

  /// What the scalar steps that are pending add up to, with those of more moves.
  double pending_rate_with(const Reading& reading, int64_t more, double scale) const {
    const double rate = scale * next_rate(reading);
    return more > 0 && rate > 0 ? pending_rate + rounded(static_cast<double>(more) * rate)
                                : pending_rate;
  }

  /// Notes moves whose gradients were scaled. A step of 0 went nowhere.
  void note(const Reading& reading, int64_t made, double scale) {
    if (scale * next_rate(reading) > 0) {
      pending_rate = pending_rate_with(reading, made, scale);
      pending_scale += rounded(static_cast<double>(made) * scale);
      steps += made;
      moves += made;
      pending += made;
    }
    kappa = next_kappa(reading);
    mark_seen(reading);
  }

  /// Notes what was written from outside. The last `unseen` writes are the optimizer's, in moves
  /// that remain to be noted.
  void note_writes(const Writes& writes, int64_t unseen) {
    if (watch.is_news(writes)) forget_memory();
    watch.learn(writes);
    watch.look(parameter.tensor, unseen);
  }

  /// Notes that a prox has followed the pending moves.
  void settle() {
    pending = 0;
    pending_scale = pending_rate = 0;
  }

  /// Allocates the memory of a penalty that makes zeros, and frees that of others.
  void prepare_memory(bool remembers) {
    detail::prepare_memory(kept.memory, parameter.tensor, remembers);
    prepare_zeros(kept.zero, parameter.tensor, remembers ? groups : 0);
  }

  void forget_memory() {
    if (kept.memory.defined()) kept.memory.fill_(std::numeric_limits<double>::infinity());
    if (kept.zero.defined()) kept.zero.fill_(-1);
    steps = 0;
  }

  /// Forgets everything but which moves were noted.
  void forget(const Reading& reading) {
    kept.memory = kept.zero = torch::Tensor();
    steps = pending = 0;
    pending_scale = pending_rate = 0;
    watch = Watch(parameter.tensor);
    watch.look(parameter.tensor, own_writes(reading));
    // A momentum buffer that exists already is taken for that of a long run.
    const bool has_buffer = reading.momentum != nullptr && reading.counter > 0;
    kappa = has_buffer ? momentum_limit(*reading.momentum) : kBeforeFirstStep;
  }

  /// Appends an update of the parameter, with what binds it to its penalty, but no step.
  Update& append_to(Updates& updates) const {
    Update& update = updates.emplace_back();
    update.tensors.w = parameter.tensor;
    update.tensors.data = kept.data;
    update.tensors.factor = kept.factor;
    update.numbers.strength = strength;
    update.parameter = &parameter;
    return update;
  }

  /// The same with its memory: what one that rests is to linked ones that step.
  Update& append_with_memory(Updates& updates) const {
    Update& update = append_to(updates);
    update.tensors.memory = kept.memory;
    update.tensors.zero = kept.zero;
    return update;
  }

  /// One step for all pending moves: their sum, or the current one per entry times their scales.
  Update& append_pending(Updates& updates, const Reading& reading) const {
    Update& update = append_with_memory(updates);
    for_each_operand(
        [](const torch::Tensor& from, torch::Tensor& to) {
          if (from.defined()) to = from;
        },
        reading.state, update.tensors);
    Metric metric = reading.metric;
    const bool is_scalar = !reading.state.moment.defined() && !reading.state.given.defined();
    metric.rate = is_scalar ? pending_rate : metric.rate * pending_scale;
    metric.gradient_scale = pending_scale / static_cast<double>(pending);
    update.numbers = Numbers(metric);
    update.numbers.strength = strength;
    return update;
  }

  int64_t own_writes(const Reading& reading) const { return reading.writes * steps_since(reading); }

 private:
  static int64_t trace_version(const Reading& reading) {
    TORCH_CHECK(
        reading.momentum == nullptr || !reading.trace.defined() || !reading.trace.is_inference(),
        "ProximalStep: momentum that was made in InferenceMode does not tell whether SGD "
        "has stepped; use torch::NoGradGuard");
    return version_of(reading.trace);
  }

  double next_kappa(const Reading& reading) const {
    return reading.momentum ? advance_momentum(*reading.momentum, kappa) : kappa;
  }
};

}  // namespace torchreg::detail
