#pragma once

#include <functional>
#include <utility>

#include <torchreg/detail/optimizer/readers.hpp>
#include <torchreg/detail/state/entry.hpp>
#include <torchreg/detail/text/checks.hpp>

namespace torchreg::detail {

/// Reads from a live optimizer what it says about the tensors of a ProximalStep.
class Reader {
 public:
  using StepFunction = std::function<torch::Tensor(const torch::Tensor&)>;

  /// `step_function` is the step_size() of an optimizer of the user's, or empty.
  template <class Optimizer>
  Reader(const Optimizer& optimizer, StepFunction step_function)
      : optimizer_(&optimizer),
        groups_(optimizer),
        read_(step_function ? nullptr : reader_of("ProximalStep", optimizer)),
        step_function_(std::move(step_function)) {}

  /// The optimizer's state of an entry; of an optimizer of the user's, none is known.
  Reading state_of(const Entry& entry) const {
    const auto& [path, tensor, owner] = entry.parameter;
    const auto* group = groups_.find(tensor, entry.position);
    TORCH_CHECK_VALUE(group != nullptr, "ProximalStep: ", literal(path),
                      " is in no parameter group of this optimizer; give the penalty a narrower "
                      "selector, or the optimizer this parameter");
    if (read_ != nullptr) return read_(group->options(), find_state(*optimizer_, entry.key));
    Reading reading;
    reading.kind = "step_size()";
    reading.leaves_trace = false;
    return reading;
  }

  /// The same with the step; throws where none can follow from it.
  Reading read(const Entry& entry) const {
    const auto& [path, tensor, owner] = entry.parameter;
    Reading reading = state_of(entry);
    const auto misfit = reading.misfit(tensor);
    if (misfit) {
      const auto text = c10::str("ProximalStep: ", literal(path), " has the shape ", tensor.sizes(),
                                 ", its optimizer state ", *misfit);
      entry.check_shape(text + "; ");
      TORCH_CHECK_VALUE(false, text);
    }
    entry.check_shape();
    TORCH_CHECK(
        entry.pending == 0 || !reading.counts || reading.counter > 0 || !tensor.requires_grad(),
        "ProximalStep: ", literal(path),
        " has no optimizer state yet; call step() after optimizer.step()");
    if (read_ == nullptr) ask_user(entry, reading);
    check_strength("ProximalStep: step", entry.next_rate(reading));
    return reading;
  }

 private:
  void ask_user(const Entry& entry, Reading& reading) const {
    const torch::Tensor& tensor = entry.parameter.tensor;
    if (!tensor.grad().defined() && entry.pending == 0) return;
    const torch::Tensor given = step_function_(tensor);
    check_strengths_in("ProximalStep: step", given);
    const bool is_number = given.dim() == 0 && given.is_cpu();
    reading.metric.rate = is_number ? given.item<double>() : 1;
    check_broadcasts("ProximalStep: step", given, entry.parameter);
    if (!is_number) reading.state.given = given.expand_as(tensor);
  }

  const torch::optim::Optimizer* optimizer_;
  mutable Groups groups_;
  ReadFunction read_;
  StepFunction step_function_;
};

}  // namespace torchreg::detail
