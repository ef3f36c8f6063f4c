// Which inputs does an MLP need? Diabetes data with 50 columns of noise, group lasso on the inputs
#include <torch/torch.h>
#include <torchreg/torchreg.hpp>

#include <algorithm>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "table.hpp"

using torch::Tensor;

int main() {
  torch::set_num_threads(1);  // the tensors are too small for more
  torch::manual_seed(0);
  const std::vector<std::string> names{"age", "sex", "bmi", "bp", "s1",
                                       "s2",  "s3",  "s4",  "s5", "s6"};
  const Tensor table = read_table(std::string(TORCHREG_EXAMPLE_DATA) + "/diabetes.csv", 11);
  const Tensor scaled = ((table - table.mean(0)) / table.std(0)).to(torch::kFloat);
  const Tensor x = torch::cat({scaled.slice(1, 0, 10), torch::randn({442, 50})}, 1);
  const Tensor y = scaled.slice(1, 10);

  using namespace torch::nn;
  Sequential model(Linear(60, 16), Tanh(), Linear(16, 1));
  torch::optim::Adam adam(model->parameters(), torch::optim::AdamOptions(5e-3));
  torch::optim::StepLR decay(adam, 1000, 0.3);
  // A column of the first weight is what an input is read by. The other layer is penalized too, as
  // it could make up for a small one by large weights.
  const torchreg::GroupLasso inputs(0.03, torchreg::columns(), torchreg::named("0.weight"));
  torchreg::ProximalStep prox(adam, model, inputs, torchreg::L2(0.05, torchreg::named("2.weight")));
  const auto backward = [&] {
    adam.zero_grad();
    const Tensor loss = 0.5 * torch::mse_loss(model->forward(x), y);
    loss.backward();
    return loss.item<double>();
  };
  for (int step = 0; step < 4000; ++step) {
    backward();
    adam.step();
    prox.step();
    decay.step();
  }

  const double error = 2 * backward();
  const auto sparsity = torchreg::sparsity(model[0]->as<Linear>()->weight, torchreg::columns());
  std::printf("mean squared error %.3f of 1; %d of %d inputs are read\n", error,
              static_cast<int>(sparsity.groups - sparsity.zero_groups),
              static_cast<int>(sparsity.groups));
  std::printf("furthest from a solution: %.2g of lambda\n\n",
              torchreg::stationarity(prox).largest / 0.03);

  const Tensor norms = model[0]->as<Linear>()->weight.detach().norm(2, 0);
  std::vector<std::pair<double, std::string>> read;
  for (int j = 0; j < 60; ++j) {
    const double norm = norms[j].item<double>();
    const auto k = static_cast<std::size_t>(j);
    if (norm > 0) read.emplace_back(norm, j < 10 ? names[k] : c10::str("noise ", j - 10));
  }
  std::sort(read.rbegin(), read.rend());
  std::printf("input     norm of its weights\n");
  bool is_noise_read = false;
  for (const auto& [norm, name] : read) {
    std::printf("%-10s%.4f\n", name.c_str(), norm);
    is_noise_read = is_noise_read || name.find("noise") == 0;
  }
  return read.empty() || is_noise_read ? 1 : 0;
}
