// A program that trains a network on MNIST, as in LibTorch's own examples; compiled without this
// library and with it, never run.
#include <torch/torch.h>
#ifdef WITH_TORCHREG
#include <torchreg/torchreg.hpp>
#endif

#include <iostream>
#include <string>

struct Net : torch::nn::Module {
  torch::nn::Conv2d conv1{nullptr}, conv2{nullptr};
  torch::nn::Linear fc1{nullptr}, fc2{nullptr};

  Net() {
    conv1 = register_module("conv1", torch::nn::Conv2d(1, 10, 5));
    conv2 = register_module("conv2", torch::nn::Conv2d(10, 20, 5));
    fc1 = register_module("fc1", torch::nn::Linear(320, 50));
    fc2 = register_module("fc2", torch::nn::Linear(50, 10));
  }

  torch::Tensor forward(torch::Tensor x) {
    x = torch::relu(torch::max_pool2d(conv1->forward(x), 2));
    x = torch::relu(torch::max_pool2d(conv2->forward(x), 2)).view({-1, 320});
    x = torch::dropout(torch::relu(fc1->forward(x)), 0.5, is_training());
    return torch::log_softmax(fc2->forward(x), 1);
  }
};

template <class Mode>
auto loader(const std::string& folder, Mode mode) {
  auto data = torch::data::datasets::MNIST(folder, mode)
                  .map(torch::data::transforms::Normalize<>(0.1307, 0.3081))
                  .map(torch::data::transforms::Stack<>());
  return torch::data::make_data_loader<torch::data::samplers::RandomSampler>(std::move(data), 64);
}

int main(int argc, char** argv) {
  using Mode = torch::data::datasets::MNIST::Mode;
  if (argc < 2) return 1;
  Net net;
  torch::optim::Adam optimizer(net.parameters(), torch::optim::AdamOptions(1e-3));
#ifdef WITH_TORCHREG
  torchreg::ProximalStep prox(optimizer, net, torchreg::L1(1e-4));
#endif
  for (int epoch = 0; epoch < 10; ++epoch) {
    net.train();
    for (auto& batch : *loader(argv[1], Mode::kTrain)) {
      optimizer.zero_grad();
      torch::nll_loss(net.forward(batch.data), batch.target).backward();
      optimizer.step();
#ifdef WITH_TORCHREG
      prox.step();
#endif
    }
    torch::NoGradGuard no_grad;
    net.eval();
    int64_t correct = 0;
    for (auto& batch : *loader(argv[1], Mode::kTest)) {
      correct += net.forward(batch.data).argmax(1).eq(batch.target).sum().item<int64_t>();
    }
    std::cout << epoch << ' ' << correct << '\n';
  }
  torch::save(net.parameters(), "net.pt");
}
