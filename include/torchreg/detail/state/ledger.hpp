#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include <torchreg/detail/engine/bind.hpp>
#include <torchreg/detail/state/entry.hpp>
#include <torchreg/detail/state/reader.hpp>
#include <torchreg/detail/text/checks.hpp>
#include <torchreg/detail/text/table.hpp>

namespace torchreg::detail {

/// Follows an optimizer: which of its parameters it has moved since the last look, and how far.
class Ledger {
 public:
  explicit Ledger(Reader reader) : reader_(std::move(reader)) {}

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

  /// Takes what the optimizer has done so far for seen.
  void start() {
    for (Entry& entry : entries_) {
      const Reading reading = reader_.state_of(entry);
      entry.mark_seen(reading);
      entry.forget(reading);
    }
  }

  /// Forgets everything but which moves were noted.
  void forget(const std::vector<Reading>& readings) {
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      if (readings[i].counter == 0) entries_[i].mark_seen(readings[i]);
      entries_[i].forget(readings[i]);
    }
  }

  /// Allocates the memories that there are none of yet, while a call that fails can be repeated.
  void allocate_memory(const std::vector<bool>& penalty_has_memory, int64_t n) {
    for (Entry& entry : entries_) {
      const bool remembers = n > 0 && penalty_has_memory[entry.penalty];
      if (remembers && !entry.kept.memory.defined()) entry.prepare_memory(true);
    }
  }

  /// What the optimizer says now about each entry; throws where no step can follow from it.
  std::vector<Reading> read() const {
    std::vector<Reading> readings;
    readings.reserve(entries_.size());
    for (const Entry& entry : entries_) {
      check_no_inference("ProximalStep", entry.parameter.path, entry.parameter.tensor);
      readings.push_back(reader_.read(entry));
    }
    return readings;
  }

  Reading state_of(const Entry& entry) const {
    entry.check_shape();
    return reader_.state_of(entry);
  }

  std::vector<Reading> states() const {
    std::vector<Reading> states;
    for (const Entry& entry : entries_) states.push_back(state_of(entry));
    return states;
  }

  /// How often the optimizer has moved each entry since the last call; throws where it has not yet.
  std::vector<int64_t> moves(const std::vector<Reading>& readings) const {
    std::vector<int64_t> moves(entries_.size());
    bool any_untraced = false, any_gradient = false;
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      const torch::Tensor& tensor = entries_[i].parameter.tensor;
      const auto learns = [&] { return tensor.requires_grad() && tensor.grad().defined(); };
      TORCH_CHECK(readings[i].counter > 0 || !readings[i].leaves_trace || !learns(),
                  "ProximalStep: ", literal(entries_[i].parameter.path),
                  " has no optimizer state yet; call step() after optimizer.step()");
      moves[i] = entries_[i].moves_since(readings[i]);
      any_untraced = any_untraced || (!readings[i].leaves_trace && tensor.requires_grad());
      any_gradient = any_gradient || learns();
    }
    TORCH_CHECK(any_gradient || !any_untraced,
                "ProximalStep: no parameter has a gradient; call step() between optimizer.step() "
                "and zero_grad()");
    return moves;
  }

  /// Keeps what binds an entry to its penalty, as its tensor is now.
  template <class BoundsOf>
  void bind(const BoundsOf& bounds_of) {
    const c10::InferenceMode usable_later(false);
    std::vector<Bound> bounds = bounds_of(entries_);
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      Entry& entry = entries_[i];
      Bound& bound = bounds[i];
      entry.groups = bound.groups;
      entry.kept.data = std::move(bound.data);
      entry.kept.factor = std::move(bound.factor);
      entry.strength = bound.strength;
    }
  }

  /// Notes writes from outside and moves, whose gradients were scaled; a frozen entry has none.
  void note(const std::vector<Reading>& readings, const std::vector<int64_t>& moves, double scale) {
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      Entry& entry = entries_[i];
      const Reading& reading = readings[i];
      entry.note_writes(entry.writes_since(reading, moves[i]), 0);
      if (moves[i] > 0) {
        entry.note(reading, moves[i], entry.parameter.tensor.requires_grad() ? scale : 0);
      }
      if (reading.counter == 0) entry.mark_seen(reading);  // its state was cleared
      entry.is_fresh = false;
    }
  }

  /// Notes what was written from outside, between two moves.
  void note_writes(const std::vector<Reading>& readings) {
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      Entry& entry = entries_[i];
      entry.note_writes(entry.writes_since(readings[i], 0), entry.own_writes(readings[i]));
    }
  }

  /// path, shape, penalty, learning rate, kind of step, and how many were taken
  std::string describe(const std::vector<std::string>& penalties) const {
    Table table({"path", "shape", "penalty", "lr", "step", "steps"});
    for (const Entry& entry : entries_) {
      const auto& [path, tensor, owner] = entry.parameter;
      const Reading reading = reader_.state_of(entry);
      std::string kind = reading.kind;
      if (reading.decoupled_decay != 0) {
        kind += ", decay " + c10::str(reading.decoupled_decay) + " of no objective";
      }
      table.row({path, c10::str(tensor.sizes()), penalties[entry.penalty],
                 reading.lr >= 0 ? c10::str(reading.lr) : "-", kind, std::to_string(entry.moves)});
    }
    return table.str();
  }

 private:
  Reader reader_;
  std::vector<Entry> entries_;
  std::unordered_set<const c10::TensorImpl*> known_;
};

}  // namespace torchreg::detail
