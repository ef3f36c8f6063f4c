#pragma once

#include <torch/serialize/archive.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <torchreg/detail/ledger.hpp>

namespace torchreg::detail {

// A ProximalStep's state in an archive: path, shape and five numbers a tensor, and its memory.

/// What a saved state must agree with.
inline std::vector<std::string> labels_of(const std::vector<Entry>& entries) {
  std::vector<std::string> labels;
  for (const Entry& entry : entries) {
    labels.push_back(literal(entry.parameter.path) + " " +
                     c10::str(entry.parameter.tensor.sizes()));
  }
  return labels;
}

inline std::string memory_key(std::size_t index) { return "memory" + std::to_string(index); }

inline void save(torch::serialize::OutputArchive& archive, const Ledger& ledger, int64_t calls) {
  std::vector<int64_t> counts{calls};
  std::vector<double> rates;
  for (std::size_t i = 0; i < ledger.entries().size(); ++i) {
    const Entry& entry = ledger.entries()[i];
    counts.insert(counts.end(),
                  {entry.pending, entry.steps, entry.is_seen(ledger.read_state(entry))});
    rates.insert(rates.end(), {entry.pending_rate, entry.kappa});
    if (entry.memory.defined()) archive.write(memory_key(i), entry.memory, /*is_buffer=*/true);
  }
  archive.write("tensors", c10::IValue(labels_of(ledger.entries())));
  archive.write("counts", c10::IValue(counts));
  archive.write("rates", c10::IValue(rates));
}

/// Throws, and changes nothing, if the saved tensors are not the ledger's.
inline void load(torch::serialize::InputArchive& archive, Ledger& ledger, int64_t& calls) {
  c10::IValue tensors, counts_value, rates_value;
  TORCH_CHECK_VALUE(archive.try_read("tensors", tensors) &&
                        archive.try_read("counts", counts_value) &&
                        archive.try_read("rates", rates_value),
                    "ProximalStep: the archive holds no state of a ProximalStep");

  std::vector<Entry> entries = ledger.entries();
  const auto saved = tensors.toListRef();
  TORCH_CHECK_VALUE(saved.size() == entries.size(), "ProximalStep: the saved state is of ",
                    saved.size(), " tensors, this one of ", entries.size());
  const std::vector<std::string> labels = labels_of(entries);
  const std::vector<int64_t> counts = counts_value.toIntVector();
  const std::vector<double> rates = rates_value.toDoubleVector();
  TORCH_CHECK_VALUE(counts.size() == 1 + 3 * entries.size() && rates.size() == 2 * entries.size(),
                    "ProximalStep: the saved state is of another version of torchreg");
  for (std::size_t i = 0; i < entries.size(); ++i) {
    TORCH_CHECK_VALUE(saved[i].toStringRef() == labels[i], "ProximalStep: the saved state is of ",
                      saved[i].toStringRef(), " where this one has ", labels[i]);
    Entry& entry = entries[i];
    entry.pending = counts[3 * i + 1];
    entry.steps = counts[3 * i + 2];
    entry.pending_rate = rates[2 * i];
    entry.kappa = rates[2 * i + 1];
    entry.memory = torch::Tensor();
    archive.try_read(memory_key(i), entry.memory, /*is_buffer=*/true);
    entry.mark_seen(counts[3 * i + 3] != 0 ? ledger.read_state(entry) : Reading());
  }
  ledger.entries() = std::move(entries);
  calls = counts[0];
}

}  // namespace torchreg::detail
