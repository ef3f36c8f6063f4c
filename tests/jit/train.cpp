// Trains a scripted module with L1 on its weights: jit_train FROM TO
#include <torch/script.h>
#include <torch/torch.h>
#include <torchreg/jit.hpp>
#include <torchreg/torchreg.hpp>

#include <cstdlib>
#include <iostream>
#include <vector>

int main(int argc, char** argv) {
  if (argc != 3) return EXIT_FAILURE;
  torch::manual_seed(0);
  torch::jit::Module model = torch::jit::load(argv[1]);
  const auto x = torch::randn({256, 10}), y = 2 * x.narrow(1, 3, 1).relu();
  std::vector<torch::Tensor> parameters;
  for (const torch::Tensor& parameter : model.parameters()) parameters.push_back(parameter);
  torch::optim::Adam adam(parameters, 1e-2);
  torchreg::ProximalStep prox(adam, model, torchreg::L1(1e-2));
  for (int step = 0; step < 600; ++step) {
    adam.zero_grad();
    torch::mse_loss(model.forward({x}).toTensor(), y).backward();
    adam.step();
    prox.step();
  }
  std::cout << torchreg::sparsity(model);
  model.save(argv[2]);
  return EXIT_SUCCESS;
}
