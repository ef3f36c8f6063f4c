// The time of a forward pass for the examples
#pragma once

#include <algorithm>
#include <chrono>

// Milliseconds: the least of some runs.
template <class Run>
double time_of(int runs, const Run& run) {
  using Clock = std::chrono::steady_clock;
  double least = 1e9;
  for (int i = 0; i < runs; ++i) {
    const auto start = Clock::now();
    run();
    least =
        std::min(least, std::chrono::duration<double, std::milli>(Clock::now() - start).count());
  }
  return least;
}
