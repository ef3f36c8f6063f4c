// expect: this penalty has no prox: add  template <class X> X prox(const X& w, const X& step) const
#include <torchreg/torchreg.hpp>

struct Square {
  torch::Tensor value(const torch::Tensor& w) const { return w * w; }
};

void step(torch::Tensor& w) { torchreg::Penalty(Square{}).prox_(w, 0.1); }
