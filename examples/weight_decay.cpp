// L2 by hand is the optimizer's weight_decay with SGD and Adam; AdamW's decay is something else
#include <torch/torch.h>
#include <torchreg/torchreg.hpp>

#include <cstdio>
#include <functional>
#include <memory>

using torch::Tensor;
using torch::optim::Adam;
using torch::optim::AdamOptions;
using torch::optim::AdamW;
using torch::optim::AdamWOptions;
using torch::optim::SGD;
using torch::optim::SGDOptions;

constexpr double lambda = 0.1;

enum class Way { term, by_hand, prox, decay };

// Ridge regression on ten correlated columns, in full batch.
template <class Optimizer, class Options>
Tensor train(Way way, Options options) {
  torch::manual_seed(0);
  const Tensor x = torch::randn({200, 10}, torch::kDouble).cumsum(1);
  const Tensor y = x.slice(1, 0, 1) - x.slice(1, 4, 5) + torch::randn({200, 1}, torch::kDouble);
  torch::nn::Linear model(torch::nn::LinearOptions(10, 1).bias(false));
  model->to(torch::kDouble);
  if (way == Way::decay) options.weight_decay(lambda);
  Optimizer optimizer(model->parameters(), options);
  torch::optim::StepLR schedule(optimizer, 500, 0.5);
  const torchreg::L2 l2(lambda);
  torchreg::ProximalStep prox(optimizer, model, l2);
  for (int step = 0; step < 10000; ++step) {
    optimizer.zero_grad();
    Tensor loss = torch::mse_loss(model(x), y);
    if (way == Way::term) loss = loss + l2(model);
    if (way == Way::by_hand) loss = loss + 0.5 * lambda * model->weight.square().sum();
    loss.backward();
    optimizer.step();
    if (way == Way::prox) prox.step();
    schedule.step();
  }
  return model->weight.detach();
}

template <class Optimizer, class Options>
void print_row(const char* name, const Options& options, const Tensor& ridge) {
  std::printf("%-6s", name);
  for (const Way way : {Way::by_hand, Way::term, Way::prox, Way::decay}) {
    const Tensor w = train<Optimizer>(way, options);
    std::printf("%15.1e", ((w - ridge).norm() / ridge.norm()).item<double>());
  }
  std::printf("\n");
}

int main() {
  torch::set_num_threads(1);  // the tensors are too small for more
  const Tensor ridge = train<SGD>(Way::by_hand, SGDOptions(0.01).momentum(0.9));
  std::printf("relative distance from ridge regression, lambda %g\n%21s%15s%15s%15s\n", lambda,
              "by hand", "L2 term", "L2 prox", "weight_decay");
  print_row<SGD>("SGD", SGDOptions(0.01).momentum(0.9), ridge);
  print_row<Adam>("Adam", AdamOptions(0.02), ridge);
  print_row<AdamW>("AdamW", AdamWOptions(0.02).weight_decay(0), ridge);
}
