#pragma once

#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

namespace benchmark {

/// One way to do some work; `prepare` is not timed.
struct Way {
  std::string name;
  std::function<void()> run;
  std::function<void()> prepare = [] {};
};

/// The milliseconds of each way, run by run.
using Times = std::vector<std::vector<double>>;

inline double milliseconds(const std::function<void()>& run) {
  const auto synchronize = [] {
    if (torch::cuda::is_available()) torch::cuda::synchronize();
  };
  synchronize();
  const auto start = std::chrono::steady_clock::now();
  run();
  synchronize();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
      .count();
}

/// Runs the ways in turn, at least five times and for some tenths of a second, so that what
/// disturbs the machine disturbs all of them.
inline Times interleave(const std::vector<Way>& ways) {
  Times times(ways.size());
  double total = 0;
  for (int round = -1; round < 5 || (total < 300 && round < 200); ++round) {
    for (std::size_t i = 0; i < ways.size(); ++i) {
      ways[i].prepare();
      const double time = milliseconds(ways[i].run);
      if (round < 0) continue;  // warms up
      times[i].push_back(time);
      total += time;
    }
  }
  return times;
}

inline double quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(q * static_cast<double>(values.size() - 1))];
}

/// values[i] / others[i], run by run.
inline std::vector<double> ratios(std::vector<double> values, const std::vector<double>& others) {
  for (std::size_t i = 0; i < values.size(); ++i) values[i] /= others[i];
  return values;
}

/// MiB that `run` takes at its peak above what the process had before (Linux; 0 elsewhere).
inline double peak_memory(const std::function<void()>& run) {
  const auto peak = [] {
    std::ifstream status("/proc/self/status");
    for (std::string word; status >> word;) {
      double kibibytes = 0;
      if (word == "VmHWM:" && status >> kibibytes) return kibibytes / 1024;
    }
    return 0.0;
  };
  std::ofstream("/proc/self/clear_refs") << "5";  // the peak so far is what is there now
  const double before = peak();
  run();
  return peak() - before;
}

}  // namespace benchmark
