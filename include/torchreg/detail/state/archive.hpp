#pragma once

#include <torch/serialize/archive.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <torchreg/detail/state/ledger.hpp>
#include <torchreg/detail/state/penalty_list.hpp>

namespace torchreg::detail {

// A ProximalStep's state in an archive: path, shape, groups and some numbers a tensor, and
// its memory.

constexpr int64_t kFormat = 1;                   ///< changes where what is saved changes
constexpr std::size_t kCounts = 14, kRates = 3;  ///< numbers a tensor

/// What a saved state must agree with: path and shape of each tensor, and how its groups lie.
template <class... Penalties>
std::vector<std::string> labels_of(const std::vector<Entry>& entries,
                                   const PenaltyList<Penalties...>& penalties) {
  std::vector<std::string> labels;
  for (const std::string& groups : penalties.groups_of(entries)) {
    const auto& [path, tensor, owner] = entries[labels.size()].parameter;
    labels.push_back(
        c10::str(literal(path), " ", tensor.sizes(), groups.empty() ? "" : " in ", groups));
  }
  return labels;
}

/// visit(tensor, name) for each operand of an entry that is saved; the others are asked for anew.
template <class Kept, class Visit>
void for_each_saved(Kept& kept, std::size_t index, const Visit& visit) {
  Operands<const char*> names;
  names.memory = "memory";
  names.zero = "zero";
  for_each_operand(
      [&](auto& tensor, const char* name) {
        if (name != nullptr) visit(tensor, name + std::to_string(index));
      },
      kept, names);
}

template <class... Penalties>
void save(torch::serialize::OutputArchive& archive, const Ledger& ledger,
          const PenaltyList<Penalties...>& penalties, int64_t calls) {
  std::vector<int64_t> counts{calls};
  std::vector<double> rates;
  for (std::size_t i = 0; i < ledger.entries().size(); ++i) {
    const Entry& entry = ledger.entries()[i];
    const Reading reading = ledger.state_of(entry);
    counts.insert(counts.end(), {entry.pending, entry.steps, entry.moves, entry.is_fresh,
                                 entry.steps_since(reading)});
    for (const Writes& writes :
         {entry.watch.habit, entry.watch.last, entry.writes_since(reading, 0)}) {
      counts.insert(counts.end(), {writes.count, writes.replaced, writes.moves});
    }
    rates.insert(rates.end(), {entry.pending_rate, entry.pending_scale, entry.kappa});
    for_each_saved(entry.kept, i, [&](const torch::Tensor& tensor, const std::string& name) {
      if (tensor.defined()) archive.write(name, tensor, /*is_buffer=*/true);
    });
  }
  archive.write("format", c10::IValue(kFormat));
  archive.write("tensors", c10::IValue(labels_of(ledger.entries(), penalties)));
  archive.write("counts", c10::IValue(counts));
  archive.write("rates", c10::IValue(rates));
}

/// Throws, and changes nothing, if the saved tensors or their groups are not the ledger's.
template <class... Penalties>
void load(torch::serialize::InputArchive& archive, Ledger& ledger,
          const PenaltyList<Penalties...>& penalties, int64_t& calls) {
  c10::IValue format, tensors, counts_value, rates_value;
  TORCH_CHECK_VALUE(!archive.try_read("format", format) || format.toInt() == kFormat,
                    "ProximalStep: the saved state is of format ", format.toInt(),
                    ", this version of torchreg reads ", kFormat);
  TORCH_CHECK_VALUE(archive.try_read("tensors", tensors) &&
                        archive.try_read("counts", counts_value) &&
                        archive.try_read("rates", rates_value),
                    "ProximalStep: the archive holds no state of a ProximalStep");

  std::vector<Entry> entries = ledger.entries();
  const auto saved = tensors.toListRef();
  TORCH_CHECK_VALUE(saved.size() == entries.size(), "ProximalStep: the saved state is of ",
                    saved.size(), " tensors, this one of ", entries.size());
  const std::vector<std::string> labels = labels_of(entries, penalties);
  const std::vector<int64_t> counts = counts_value.toIntVector();
  const std::vector<double> rates = rates_value.toDoubleVector();
  TORCH_CHECK_VALUE(
      counts.size() == 1 + kCounts * entries.size() && rates.size() == kRates * entries.size(),
      "ProximalStep: the saved state is damaged, or of torchreg 0.1.0");
  const c10::InferenceMode usable_later(false);
  for (std::size_t i = 0; i < entries.size(); ++i) {
    TORCH_CHECK_VALUE(saved[i].toStringRef() == labels[i], "ProximalStep: the saved state is of ",
                      saved[i].toStringRef(), " where this one has ", labels[i]);
    Entry& entry = entries[i];
    const int64_t* count = &counts[1 + kCounts * i];
    const double* rate = &rates[kRates * i];
    entry.pending = count[0];
    entry.steps = count[1];
    entry.moves = count[2];
    entry.is_fresh = count[3] != 0;
    entry.pending_rate = rate[0];
    entry.pending_scale = rate[1];
    entry.kappa = rate[2];
    for_each_saved(entry.kept, i, [&](torch::Tensor& tensor, const std::string& name) {
      tensor = torch::Tensor();
      archive.try_read(name, tensor, /*is_buffer=*/true);
      if (tensor.defined() && tensor.is_inference()) tensor = tensor.clone();
    });
    const Reading reading = ledger.state_of(entry);
    entry.mark_seen(reading, count[4]);
    const auto writes = [&](int k) { return Writes{count[k], count[k + 1] != 0, count[k + 2]}; };
    entry.watch.habit = writes(5);
    entry.watch.last = writes(8);
    entry.watch.resume(entry.parameter.tensor, writes(11), entry.own_writes(reading));
  }
  ledger.entries() = std::move(entries);
  calls = counts[0];
}

}  // namespace torchreg::detail
