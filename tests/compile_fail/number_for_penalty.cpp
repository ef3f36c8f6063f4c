// expect: ProximalStep takes penalties behind the module or the tensors
#include <torchreg/torchreg.hpp>

#include <torch/nn/modules/linear.h>
#include <torch/optim/sgd.h>

void train(torch::optim::SGD& optimizer, torch::nn::Linear& model) {
  torchreg::ProximalStep prox(optimizer, model, 1e-4);
  prox.step();
}
