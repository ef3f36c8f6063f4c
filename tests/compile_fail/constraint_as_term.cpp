// expect: this is a constraint: as a term of the loss it would do nothing; use it in ProximalStep
#include <torchreg/torchreg.hpp>

torch::Tensor term(const torch::Tensor& w) {
  return torchreg::FixedSupport(torchreg::Support(w))(w);
}
