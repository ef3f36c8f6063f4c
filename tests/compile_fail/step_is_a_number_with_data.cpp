// expect: this penalty's prox takes its step as a number, but each entry may have its own
#include <torchreg/torchreg.hpp>

struct Ridge {
  torch::Tensor data(const torchreg::Parameter&) const { return torch::ones({}); }
  torch::Tensor prox(const torch::Tensor& w, double step, const torch::Tensor& from) const {
    return (w + step * from) / (1 + step);
  }
};

void f() { torchreg::Penalty(Ridge{}).prox_(torch::ones({2}), 1); }
