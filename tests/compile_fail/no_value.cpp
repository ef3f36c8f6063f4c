// expect: this penalty has no value
#include <torchreg/torchreg.hpp>

struct Nothing {};

torch::Tensor term(const torch::Tensor& w) { return torchreg::Penalty(Nothing{})(w); }
