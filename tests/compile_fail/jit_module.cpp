// expect: torchreg takes a torch::nn::Module, what points to one, or tensors; of a
// torch::jit::Module, include torchreg/jit.hpp
#include <torchreg/torchreg.hpp>

#include <torch/optim/sgd.h>
#include <torch/script.h>

void train(torch::optim::SGD& optimizer, torch::jit::Module& model) {
  torchreg::ProximalStep prox(optimizer, model, torchreg::L1(1e-4));
  prox.step();
}
