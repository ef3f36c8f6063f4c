#include <torchreg/torchreg.hpp>

#include <cstdlib>

void prox_of_other(const torch::Tensor& w);  // in the other translation unit

int main() {
  const auto w = torch::arange(-50, 50, torch::kFloat).requires_grad_();
  const auto sign = w.detach().sign(), shrunk = w.detach() - sign;
  const auto term = torchreg::L1(2.0)(w);
  term.backward();
  prox_of_other(w);
  const bool is_right = term.item<double>() == 5000.0 && torch::equal(w.grad(), 2 * sign) &&
                        torch::equal(w.detach(), shrunk);
  return is_right ? EXIT_SUCCESS : EXIT_FAILURE;
}
