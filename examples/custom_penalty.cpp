// A penalty of your own: log-sum, less biased than L1, as a term of the loss and as a step
#include <torch/torch.h>
#include <torchreg/torchreg.hpp>

#include <cstdio>

using torch::Tensor;

// lambda Σ log(1 + |w|/eps)   (Candès, Wakin, Boyd 2008)
struct LogSum {
  double lambda, eps;

  // Enough for a term of the loss: autograd differentiates it.
  Tensor value(const Tensor& w) const { return lambda * (w.abs() / eps).log1p(); }

  // For ProximalStep: argmin_z  step * value(z) + (z - w)²/2, which is 0 or the larger root of its
  // slope.
  Tensor prox(const Tensor& w, const Tensor& step) const {
    const Tensor a = w.abs(), u = step * lambda;
    const Tensor root = ((a + eps).square() - 4 * u).clamp_min(0).sqrt();
    const Tensor z = ((a - eps + root) / 2).clamp_min(0);
    const Tensor excess = u * (z / eps).log1p() + ((z - a).square() - a.square()) / 2;
    return torch::where(excess >= 0, torch::zeros_like(w), z * w.sign());
  }
};

template <class Penalty>
void fit(const char* name, const Penalty& penalty, bool as_loss_term) {
  torch::manual_seed(0);
  const Tensor truth = torch::tensor({2.0, -1.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0}, torch::kDouble);
  const Tensor x = torch::randn({400, 8}, torch::kDouble);
  const Tensor y = x.mv(truth) + 0.5 * torch::randn({400}, torch::kDouble);

  const Tensor w = torch::zeros({8}, torch::dtype(torch::kDouble).requires_grad(true));
  torch::optim::Adam optimizer({w}, torch::optim::AdamOptions(0.02));
  torch::optim::StepLR schedule(optimizer, 300, 0.5);
  torchreg::ProximalStep prox(optimizer, w, penalty);
  for (int step = 0; step < 3000; ++step) {
    optimizer.zero_grad();
    Tensor loss = 0.5 * torch::mse_loss(x.mv(w), y);
    if (as_loss_term) loss = loss + penalty(w);
    loss.backward();
    optimizer.step();
    if (!as_loss_term) prox.step();
    schedule.step();
  }
  std::printf("%-24s", name);
  for (int64_t j = 0; j < 8; ++j) std::printf("%9.5f", w[j].item<double>());
  std::printf("  %d exact zeros\n", (w == 0).sum().item<int>());
}

int main() {
  torch::set_num_threads(1);  // the tensors are too small for more
  const torchreg::Penalty log_sum(LogSum{0.01, 0.2}, torchreg::everything());
  std::printf("%-24s%9.5f%9.5f%9.5f\n", "truth, then zeros", 2.0, -1.0, 0.5);
  fit("L1, step", torchreg::L1(0.05), false);
  fit("log-sum, step", log_sum, false);
  fit("log-sum, term", log_sum, true);
}
