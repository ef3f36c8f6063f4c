// Ten inputs of which two matter: Adagrad with L1 on the first layer finds them, as exact zeros
#include <torch/torch.h>
#include <torchreg/torchreg.hpp>

#include <iostream>

using torch::Tensor;

int main() {
  torch::set_num_threads(1);  // the tensors are too small for more
  torch::manual_seed(0);
  const Tensor x = torch::randn({2000, 10});
  const Tensor y = torch::sin(2 * x.slice(1, 2, 3)) + x.slice(1, 7, 8).square();

  torch::nn::Sequential model(torch::nn::Linear(10, 32), torch::nn::Tanh(),
                              torch::nn::Linear(32, 1));
  torch::optim::Adagrad adagrad(model->parameters(), 0.3);
  torchreg::ProximalStep prox(adagrad, model, torchreg::L1(1e-2, torchreg::named("0.weight")));
  for (int epoch = 0; epoch < 200; ++epoch) {
    for (const Tensor& batch : torch::randperm(2000).split(50)) {
      adagrad.zero_grad();
      const Tensor output = model->forward(x.index_select(0, batch));
      torch::mse_loss(output, y.index_select(0, batch)).backward();
      adagrad.step();
      prox.step();
    }
  }

  const Tensor weight = model->parameters()[0].detach();
  std::cout << "mean squared error " << torch::mse_loss(model->forward(x), y).item<double>()
            << "\ninput   non-zero weights of 32\n";
  int found = 0;
  for (int input = 0; input < 10; ++input) {
    const int alive = (weight.select(1, input) != 0).sum().item<int>();
    std::cout << "   " << input << "    " << alive << "\n";
    found += (alive > 0) == (input == 2 || input == 7);
  }
  return found == 10 ? 0 : 1;
}
