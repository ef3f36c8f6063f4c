#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include <torchreg/detail/checks.hpp>
#include <torchreg/detail/entry.hpp>
#include <torchreg/detail/prox.hpp>
#include <torchreg/detail/table.hpp>

namespace torchreg::detail {

/// Follows an optimizer: which of its parameters it has moved since the last look, and how far.
class Ledger {
 public:
  using StepFunction = std::function<torch::Tensor(const torch::Tensor&)>;

  /// `step_function` is the step_size() of an optimizer of the user's, or empty.
  Ledger(const torch::optim::Optimizer& optimizer, StepFunction step_function)
      : optimizer_(&optimizer),
        read_(step_function ? nullptr : reader_of("ProximalStep", optimizer)),
        step_function_(std::move(step_function)) {}

  void add(const Parameters& parameters, std::size_t penalty) {
    check_writable("ProximalStep", parameters);
    for (const Parameter& parameter : parameters) {
      TORCH_CHECK_VALUE(known_.insert(parameter.tensor.unsafeGetTensorImpl()).second,
                        "ProximalStep: ", literal(parameter.path),
                        " is selected by two penalties; the prox of a sum is not the sum of "
                        "proxes: use ElasticNet");
      entries_.push_back({parameter, penalty, state_key(parameter.tensor)});
    }
  }

  std::vector<Entry>& entries() { return entries_; }
  const std::vector<Entry>& entries() const { return entries_; }

  Parameters parameters() const {
    std::vector<Parameter> parameters;
    for (const Entry& entry : entries_) parameters.push_back(entry.parameter);
    return Parameters(parameters);
  }

  /// Takes momentum buffers that exist already for those of a long run.
  void start_at_limit() {
    GroupPosition next;  // where to look first: optimizers mostly have the module's own order
    for (Entry& entry : entries_) {
      entry.position = next;
      const Reading reading = read_state(entry);
      next = {entry.position.group, entry.position.index + 1};
      const bool has_buffer = reading.momentum != nullptr && reading.counter > 0;
      entry.kappa = has_buffer ? momentum_limit(*reading.momentum) : kBeforeFirstStep;
      if (reading.counter == 0) entry.mark_seen(reading);
    }
  }

  /// Forgets everything but which moves were noted.
  void forget() {
    for (Entry& entry : entries_) entry.forget();
    start_at_limit();
  }

  /// Allocates the memory of those entries whose penalty makes zeros, and frees that of others.
  void prepare_memory(const std::vector<ProxTraits>& traits, int64_t n) {
    for (Entry& entry : entries_) {
      const bool remembers = n > 0 && traits[entry.penalty].makes_zeros;
      entry.memory = prepared_memory(entry.memory, entry.parameter.tensor, remembers);
    }
  }

  /// What the optimizer says now about each entry; throws where no step can follow from it.
  std::vector<Reading> read() const {
    std::vector<Reading> readings;
    readings.reserve(entries_.size());
    for (const Entry& entry : entries_) {
      readings.push_back(read_ != nullptr ? read_state(entry) : ask_user(entry));
      check_strength("ProximalStep: step", entry.next_rate(readings.back()));
    }
    return readings;
  }

  /// Which entries the optimizer has moved since they were noted last; throws where that is
  /// impossible.
  std::vector<bool> moved(const std::vector<Reading>& readings) const {
    std::vector<bool> moved(entries_.size());
    bool any_untraced = false, any_gradient = false;
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      const torch::Tensor& tensor = entries_[i].parameter.tensor;
      if (!tensor.requires_grad()) continue;
      moved[i] = entries_[i].has_moved(readings[i]);
      any_untraced = any_untraced || !readings[i].leaves_trace;
      any_gradient = any_gradient || tensor.grad().defined();
    }
    TORCH_CHECK(any_gradient || !any_untraced,
                "ProximalStep: no parameter has a gradient; call step() between optimizer.step() "
                "and zero_grad()");
    return moved;
  }

  /// The optimizer's state of an entry; of an optimizer of the user's, none is known.
  Reading read_state(const Entry& entry) const {
    const auto& [path, tensor, owner] = entry.parameter;
    const auto* group = find_group(*optimizer_, tensor, entry.position);
    TORCH_CHECK_VALUE(group != nullptr, "ProximalStep: ", literal(path),
                      " is in no parameter group of this optimizer");
    if (read_ != nullptr) return read_(group->options(), find_state(*optimizer_, entry.key));
    Reading reading;
    reading.kind = "step_size()";
    reading.leaves_trace = false;
    return reading;
  }

  /// path, shape, penalty, learning rate, kind of step
  std::string describe(const std::vector<std::string>& penalties) const {
    Table table({"path", "shape", "penalty", "lr", "step"});
    for (const Entry& entry : entries_) {
      const auto& [path, tensor, owner] = entry.parameter;
      const Reading reading = read_state(entry);
      table.row({path, c10::str(tensor.sizes()), penalties[entry.penalty],
                 read_ != nullptr ? c10::str(reading.lr) : "-", reading.kind});
    }
    return table.str();
  }

 private:
  Reading ask_user(const Entry& entry) const {
    Reading reading = read_state(entry);
    const torch::Tensor& tensor = entry.parameter.tensor;
    if (!tensor.grad().defined() && entry.pending == 0) return reading;
    const torch::Tensor step = step_function_(tensor);
    check_strengths_in("ProximalStep: step", step);
    const bool is_number = step.dim() == 0 && step.is_cpu();
    reading.step.rate = is_number ? step.item<double>() : 1;
    if (!is_number) reading.step.given = step.expand_as(tensor);
    return reading;
  }

  const torch::optim::Optimizer* optimizer_;
  ReadFunction read_;
  StepFunction step_function_;
  std::vector<Entry> entries_;
  std::unordered_set<const c10::TensorImpl*> known_;
};

}  // namespace torchreg::detail
