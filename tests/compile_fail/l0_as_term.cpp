// expect: L0 has no gradient: as a term of the loss it would do nothing; use it in ProximalStep
#include <torchreg/torchreg.hpp>

torch::Tensor term(const torch::Tensor& w) { return torchreg::L0(0.1)(w); }
