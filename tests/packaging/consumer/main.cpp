#include <torchreg/torchreg.hpp>

#include <cstdlib>

double one_norm(const torch::Tensor& w);  // in the other translation unit

int main() {
  const auto w = torch::ones({2, 3}).requires_grad_();
  return one_norm(w) == 6.0 && torchreg::L1(2.0)(w).item<double>() == 12.0 ? EXIT_SUCCESS
                                                                           : EXIT_FAILURE;
}
