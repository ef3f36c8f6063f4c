// expect: this penalty has data: they are the last argument of its value, slope and prox
#include <torchreg/torchreg.hpp>

struct Weighted {
  torch::Tensor data(const torchreg::Parameter&) const { return torch::ones({}); }
  torch::Tensor value(const torch::Tensor& w) const { return w.abs(); }
  torch::Tensor prox(const torch::Tensor& w, const torch::Tensor&, const torch::Tensor&) const {
    return w;
  }
};

void f() { torchreg::Penalty(Weighted{}).prox_(torch::ones({2}), 1); }
