// Which parameters a penalty touches: weights by default, biases and normalization left alone
#include <torch/torch.h>
#include <torchreg/torchreg.hpp>

#include <iostream>

// y = 2 x_0 + 3 with noise: the bias is not shrunk, and so is not biased itself.
void linear_regression() {
  const torch::Tensor x = torch::randn({512, 10});
  const torch::Tensor y = 2 * x.slice(1, 0, 1) + 3 + 0.1 * torch::randn({512, 1});
  torch::nn::Linear model(10, 1);
  torch::optim::SGD optimizer(model->parameters(), 0.1);
  torchreg::ProximalStep prox(optimizer, model, torchreg::L1(0.1));
  for (int step = 0; step < 500; ++step) {
    optimizer.zero_grad();
    torch::mse_loss(model->forward(x), y).backward();
    optimizer.step();
    prox.step();
  }
  std::cout << "linear regression: bias " << model->bias.item<double>() << "\n"
            << torchreg::sparsity(model) << "\n";
}

int main() {
  torch::set_num_threads(1);  // the tensors are too small for more
  torch::manual_seed(0);
  linear_regression();
  torch::nn::Sequential model({{"norm", torch::nn::BatchNorm1d(20)},
                               {"fc1", torch::nn::Linear(20, 16)},
                               {"relu", torch::nn::ReLU()},
                               {"fc2", torch::nn::Linear(16, 1)}});

  using namespace torchreg;
  for (const Selector& selector :
       {weights(), biases(), normalization(), weights() && !under("fc2")})
    std::cout << selector.describe() << "\n" << select(model, selector).describe() << "\n";

  // y depends on 3 of the 20 inputs; the first layer alone is penalized.
  const torch::Tensor x = torch::randn({512, 20});
  const torch::Tensor y = x.slice(1, 0, 3).sum(1, /*keepdim=*/true);
  torch::optim::Adam optimizer(model->parameters(), torch::optim::AdamOptions(0.01));
  ProximalStep prox(optimizer, model, L1(0.02, weights() && !under("fc2")));
  for (int step = 0; step < 1000; ++step) {
    optimizer.zero_grad();
    torch::mse_loss(model->forward(x), y).backward();
    optimizer.step();
    prox.step();
  }
  std::cout << prox.describe() << "\n" << sparsity(model) << "\n";
}
