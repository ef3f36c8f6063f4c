// Fashion-MNIST for the examples: images as rows, an MLP and a CNN, an epoch, its accuracy
#pragma once

#include <torch/torch.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

struct Images {
  torch::Tensor x, y;

  Images rows(const torch::Tensor& index) const {
    return {x.index_select(0, index), y.index_select(0, index)};
  }
};

// A file to write to, or without a name none. Ends the program where it cannot be written.
inline std::ofstream open_log(const std::string& path) {
  std::ofstream log(path);
  if (!path.empty() && !log) {
    std::fprintf(stderr, "--log: cannot write %s\n", path.c_str());
    std::exit(EXIT_FAILURE);
  }
  return log;
}

// The first `count` images of a folder with the four uncompressed idx files.
inline Images load_images(const std::string& folder, bool for_training, int64_t count) {
  using torch::data::datasets::MNIST;
  if (!std::ifstream(folder + "/train-images-idx3-ubyte")) {
    std::fprintf(stderr, "--data: no train-images-idx3-ubyte in %s\n", folder.c_str());
    std::exit(EXIT_FAILURE);
  }
  try {
    const MNIST set(folder, for_training ? MNIST::Mode::kTrain : MNIST::Mode::kTest);
    const torch::Tensor x = (set.images().slice(0, 0, count) - 0.2860) / 0.3530;
    return {x.flatten(1), set.targets().slice(0, 0, count)};
  } catch (const c10::Error& error) {  // damaged files
    std::fprintf(stderr, "--data: %s: %s\n", folder.c_str(), error.what_without_backtrace());
    std::exit(EXIT_FAILURE);
  }
}

inline torch::nn::Sequential make_mlp() {
  using namespace torch::nn;
  return Sequential(Linear(784, 200), ReLU(), Linear(200, 200), ReLU(), Linear(200, 10));
}

// A CNN of so many filters; the layers that have units are 1 and 5, with normalizations behind.
inline torch::nn::Sequential make_cnn(int64_t first = 16, int64_t second = 32) {
  using namespace torch::nn;
  const auto conv = [](int64_t in, int64_t out) {
    return Conv2d(Conv2dOptions(in, out, 3).padding(1));
  };
  return Sequential(Unflatten(UnflattenOptions(1, {1, 28, 28})),                     // 0
                    conv(1, first), BatchNorm2d(first), ReLU(), MaxPool2d(2),        // 1 to 4
                    conv(first, second), BatchNorm2d(second), ReLU(), MaxPool2d(2),  // 5 to 8
                    Flatten(), Linear(second * 7 * 7, 10));
}

inline torch::Tensor loss_on(torch::nn::Sequential& model, const Images& images) {
  return torch::cross_entropy_loss(model->forward(images.x), images.y);
}

inline double accuracy_on(torch::nn::Sequential& model, const Images& images) {
  const torch::NoGradGuard no_grad;
  const torch::Tensor right = model->forward(images.x).argmax(1) == images.y;
  return right.to(torch::kDouble).mean().item<double>();
}

// An epoch in batches of 64: backward(loss) makes the gradients, after_step() follows each step.
template <class Backward, class AfterStep>
void train_epoch(torch::nn::Sequential& model, torch::optim::Optimizer& optimizer,
                 const Images& train, Backward backward, AfterStep after_step) {
  for (const torch::Tensor& batch : torch::randperm(train.x.size(0)).split(64)) {
    optimizer.zero_grad();
    backward(loss_on(model, train.rows(batch)));
    optimizer.step();
    after_step();
  }
}
