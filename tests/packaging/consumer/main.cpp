#include <torchreg/torchreg.hpp>

#include <cstdlib>
#include <limits>

void prox_of_other(const torch::Tensor& w);  // in the other translation unit

/// Value, gradient and prox of L1.
bool l1_is_right() {
  const auto w = torch::arange(-50, 50, torch::kFloat).requires_grad_();
  const auto sign = w.detach().sign(), shrunk = w.detach() - sign;
  const auto term = torchreg::L1(2.0)(w);
  term.backward();
  prox_of_other(w);
  return term.item<double>() == 5000.0 && torch::equal(w.grad(), 2 * sign) &&
         torch::equal(w.detach(), shrunk);
}

/// Whether gradients that cancel out leave zeros at zero, also where -ffast-math knows no infinity.
bool memory_holds() {
  const auto w = torch::zeros({100}).requires_grad_();
  torch::optim::SGD sgd({w}, torch::optim::SGDOptions(0.1));
  torchreg::ProximalStep prox(sgd, w, torchreg::L1(1.0));
  for (int t = 0; t < 201; ++t) {
    w.mutable_grad() = torch::full_like(w, t % 2 == 0 ? 3.0 : -3.0);
    sgd.step();
    prox.step();
  }
  return torchreg::sparsity(w).zeros == 100;
}

/// Whether a number that is none is refused, also where -ffast-math knows none.
template <class Act>
bool is_refused(const Act& act) {
  for (const double bad :
       {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(), -1.0}) {
    try {
      act(bad);
      return false;
    } catch (const c10::Error&) {
    }
  }
  return true;
}

bool numbers_are_checked() {
  const auto w = torch::ones({10}).requires_grad_();
  torch::optim::SGD sgd({w}, torch::optim::SGDOptions(0.1));
  torchreg::ProximalStep prox(sgd, w, torchreg::L1(1.0));
  w.mutable_grad() = torch::zeros_like(w);
  return is_refused([](double bad) { torchreg::L1 l1(bad); }) &&
         is_refused([&](double bad) { prox.step(bad); }) &&
         is_refused([&](double bad) { torchreg::L1(1.0).prox_(w, bad); }) &&
         is_refused([&](double bad) {
           prox.penalty().formula().lambda = bad;
           prox.step();
         }) &&
         torch::equal(w, torch::ones({10}));
}

int main() {
  return l1_is_right() && memory_holds() && numbers_are_checked() ? EXIT_SUCCESS : EXIT_FAILURE;
}
