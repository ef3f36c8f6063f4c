// expect: this penalty has no prox: add  template <class X> X prox(const X& w, const X& step) const
#include <torchreg/torchreg.hpp>

#include <torch/nn/modules/linear.h>
#include <torch/optim/sgd.h>

struct Square {
  torch::Tensor value(const torch::Tensor& w) const { return w * w; }
};

void train(torch::optim::SGD& optimizer, torch::nn::Linear& model) {
  torchreg::ProximalStep prox(optimizer, model, torchreg::Penalty(Square{}));
  prox.step();
}
