// Which parameters a penalty touches: weights by default, biases and normalization left alone
#include <torch/torch.h>
#include <torchreg/torchreg.hpp>

#include <iostream>

int main() {
  torch::set_num_threads(1);  // the tensors are too small for more
  torch::manual_seed(0);
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
