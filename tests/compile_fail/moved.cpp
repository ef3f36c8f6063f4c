// expect: deleted
#include <torchreg/torchreg.hpp>

#include <torch/optim/sgd.h>

#include <vector>

struct Trainer {
  torch::Tensor w = torch::ones({2}).requires_grad_();
  torch::optim::SGD optimizer{{w}, torch::optim::SGDOptions(0.1)};
  torchreg::ProximalStep<torchreg::L1> prox{optimizer, w, torchreg::L1(1e-4)};
};

Trainer moved(Trainer& trainer) { return std::move(trainer); }
