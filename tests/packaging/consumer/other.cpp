#include <torchreg/torchreg.hpp>

double one_norm(const torch::Tensor& w) { return torchreg::L1(1.0)(w).item<double>(); }
