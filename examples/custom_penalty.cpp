// A penalty of your own: draws weights to -1 and 1, as a term of the loss and as a step
#include <torch/torch.h>
#include <torchreg/torchreg.hpp>

#include <cstdio>

using torch::Tensor;

// lambda Σ ||w| - 1|   (Bai, Wang, Liberty 2019: binary weights by a prox)
struct Binary {
  static constexpr auto memory = torchreg::Memory::none;  // it makes no zeros
  double lambda;

  // Enough for a term of the loss: autograd differentiates it.
  Tensor value(const Tensor& w) const { return lambda * (w.abs() - 1).abs(); }

  // For ProximalStep: argmin_z  step * value(z) + (z - w)²/2, which moves |w| towards 1 by at most
  // step * lambda.
  Tensor prox(const Tensor& w, const Tensor& step) const {
    const Tensor sign = torch::ones_like(w).masked_fill(w < 0, -1);
    return sign * (1 + torchreg::shrink(w.abs() - 1, lambda * step));
  }
};

template <class Penalty>
void fit(const char* name, const Penalty& penalty, bool as_loss_term) {
  torch::manual_seed(0);
  const Tensor truth = torch::tensor({1.1, -1.0, 0.9, -0.8, 1.0, 0.9, -1.2, 2.5}, torch::kDouble);
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
  std::printf("%-16s", name);
  for (int64_t j = 0; j < 8; ++j) std::printf("%9.5f", w[j].item<double>());
  std::printf("  %d are -1 or 1\n", (w.abs() == 1).sum().item<int>());
}

int main() {
  torch::set_num_threads(1);  // the tensors are too small for more
  const torchreg::Penalty binary(Binary{0.2}, torchreg::everything());
  std::printf("%-16s%9.5f%9.5f%9.5f%9.5f%9.5f%9.5f%9.5f%9.5f\n", "truth", 1.1, -1.0, 0.9, -0.8, 1.0,
              0.9, -1.2, 2.5);
  fit("no penalty", torchreg::L1(0), false);
  fit("binary, step", binary, false);
  fit("binary, term", binary, true);
}
