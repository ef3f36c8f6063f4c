// L1 on a single matrix, as a term of the loss and as a proximal step; the other layer stays dense
#include <torch/torch.h>
#include <torchreg/torchreg.hpp>

#include <iostream>

struct NetImpl : torch::nn::Module {
  torch::nn::Linear fc1{register_module("fc1", torch::nn::Linear(30, 10))};
  torch::nn::Linear fc2{register_module("fc2", torch::nn::Linear(10, 1))};
  torch::Tensor forward(const torch::Tensor& x) { return fc2(torch::tanh(fc1(x))); }
};
TORCH_MODULE(Net);

void train(Net& net, bool as_loss_term) {
  const torch::Tensor x = torch::randn({256, 30});
  const torch::Tensor y = x.slice(1, 0, 2).sum(1, /*keepdim=*/true).tanh();
  torch::optim::SGD optimizer(net->parameters(), torch::optim::SGDOptions(0.05).momentum(0.9));

  const torchreg::L1 l1(1e-2);
  torchreg::ProximalStep prox(optimizer, net->fc1->weight, l1);  // a tensor in place of the module
  for (int step = 0; step < 1000; ++step) {
    optimizer.zero_grad();
    torch::Tensor loss = torch::mse_loss(net(x), y);
    if (as_loss_term) loss = loss + l1(net->fc1->weight);
    loss.backward();
    optimizer.step();
    if (!as_loss_term) prox.step();
  }
}

// The same in a Sequential, whose matrix has a path: all it takes is a selector.
void train_sequential() {
  torch::manual_seed(0);
  torch::nn::Sequential net(torch::nn::Linear(30, 10), torch::nn::Tanh(), torch::nn::Linear(10, 1));
  const torch::Tensor x = torch::randn({256, 30});
  const torch::Tensor y = x.slice(1, 0, 2).sum(1, /*keepdim=*/true).tanh();
  torch::optim::Adam optimizer(net->parameters(), 1e-2);
  torchreg::ProximalStep prox(optimizer, net, torchreg::L1(1e-2, torchreg::named("0.weight")));
  for (int step = 0; step < 1000; ++step) {
    optimizer.zero_grad();
    torch::mse_loss(net->forward(x), y).backward();
    optimizer.step();
    prox.step();
  }
  std::cout << "a Sequential, L1 on its \"0.weight\"\n" << torchreg::sparsity(net);
}

int main() {
  torch::set_num_threads(1);  // the tensors are too small for more
  for (const bool as_loss_term : {true, false}) {
    torch::manual_seed(0);
    Net net;
    train(net, as_loss_term);
    const torch::Tensor w = net->fc1->weight;
    std::cout << (as_loss_term ? "term of the loss" : "proximal step")
              << ": L1(1e-2)(fc1.weight) = " << torchreg::L1(1e-2)(w).item<double>()
              << ", 1e-2 * sum |w| = " << 1e-2 * w.abs().sum().item<double>() << "\n"
              << torchreg::sparsity(net) << "\n";
  }
  train_sequential();
}
