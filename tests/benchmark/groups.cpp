// Times penalties of groups and constraints beside the memory limit, one 4096 x 4096 weight and one
// filter bank, with one thread and two: a table in Markdown.
#include <torchreg/torchreg.hpp>

#include <cstdint>
#include <cstdio>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "stopwatch.hpp"

namespace {

using torch::Tensor;
using namespace torchreg;

constexpr double kLambda = 1e-7;  // so that the tensors stay as they are

int64_t side = 4096, channels = 256;

/// The median ratio of one way to the limit, which runs in turn with it.
double ratio(
    const std::function<void()>& limit, const std::function<void()>& run,
    const std::function<void()>& prepare = [] {}) {
  const auto times = benchmark::interleave({{"limit", limit, [] {}}, {"torchreg", run, prepare}});
  return benchmark::quantile(benchmark::ratios(times[1], times[0]), 0.5);
}

/// The ratio to mul_ of a prox with one step.
template <class Penalty>
double of_prox(const Penalty& penalty, const Tensor& w) {
  const auto mul = [&] {
    torch::NoGradGuard no_grad;
    Tensor(w).mul_(1.0000001);
  };
  return ratio(mul, [&] { penalty.prox_(w, 1e-3); });
}

/// How much faster a prox is than its expression on the whole tensor, as one writes it first.
template <class Penalty>
double faster_than_naive(const Penalty& penalty, const Tensor& w) {
  const auto naive = [&] {
    torch::NoGradGuard no_grad;
    Tensor(w).copy_(penalty.formula().prox(w, torch::full({}, 1e-3)));
  };
  return 1 / ratio(naive, [&] { penalty.prox_(w, 1e-3); });
}

/// The ratio of a step after Adam to add_.
template <class Penalty>
double after_adam(const Penalty& penalty, int64_t memory) {
  const Tensor w = torch::randn({side, side}).requires_grad_();
  w.mutable_grad() = torch::randn_like(w);
  torch::optim::Adam adam({w}, torch::optim::AdamOptions(1e-3));
  adam.step();
  ProximalStep prox(adam, w, penalty);
  prox.options().memory(memory);
  const auto add = [&] {
    torch::NoGradGuard no_grad;
    Tensor(w).add_(w.grad(), 1e-9);
  };
  return ratio(
      add, [&] { prox.step(); }, [&] { adam.step(); });
}

void row(const std::string& work, const std::string& limit, double measured) {
  std::printf("| %s | %s | %.1f |\n", work.c_str(), limit.c_str(), measured);
  std::fflush(stdout);
}

void faster(const std::string& work, double times) {
  std::printf("| %s | %.1f |\n", work.c_str(), times);
  std::fflush(stdout);
}

void time_all() {
  const Tensor w = torch::randn({side, side}), bank = torch::randn({channels, channels, 3, 3});
  std::printf("\n%d threads\n\n| work | limit | ratio to it |\n|---|---|---|\n",
              at::get_num_threads());
  row("MCP prox_", "`mul_`", of_prox(MCP(kLambda), w));
  row("SCAD prox_", "`mul_`", of_prox(SCAD(kLambda), w));
  row("L0 prox_", "`mul_`", of_prox(L0(kLambda * kLambda), w));
  row("Box prox_", "`mul_`", of_prox(Box(-9, 9), w));
  row("group lasso prox_, rows", "`mul_`", of_prox(GroupLasso(kLambda), w));
  row("group lasso prox_, columns", "`mul_`", of_prox(GroupLasso(kLambda, columns()), w));
  row("group lasso prox_, filters", "`mul_`", of_prox(GroupLasso(kLambda), bank));
  row("group lasso prox_, kernels", "`mul_`", of_prox(GroupLasso(kLambda, kernels()), bank));
  row("sparse group lasso prox_, rows", "`mul_`", of_prox(SparseGroupLasso(kLambda, kLambda), w));
  row("group lasso after Adam, rows", "`add_`", after_adam(GroupLasso(kLambda), 0));
  row("the same with memory", "`add_`", after_adam(GroupLasso(kLambda), 256));
  row("group lasso after Adam, columns", "`add_`", after_adam(GroupLasso(kLambda, columns()), 0));
  row("the same with memory", "`add_`", after_adam(GroupLasso(kLambda, columns()), 256));
  row("2:4 prox_", "`mul_`", of_prox(TopK(2, runs(4)), w));
  const auto sum = [&] { w.sum(); };
  row("MinSparsity prox_", "`sum()`", ratio(sum, [&] { MinSparsity(0.5).prox_(w, 1); }));
  std::printf("\n| work | times faster than the naive expression |\n|---|---|\n");
  faster("LogSum prox_", faster_than_naive(LogSum(kLambda, 0.1), w));
  faster("LHalf prox_", faster_than_naive(LHalf(kLambda), w));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 3) side = std::stoll(argv[1]), channels = std::stoll(argv[2]);
  for (const int threads : {1, 2}) {
    torch::set_num_threads(threads);
    time_all();
  }
}
