// Prints what must not depend on the user's flags, to the bit.
#include <torchreg/torchreg.hpp>

#include <cstdint>
#include <cstdio>

using namespace torchreg;

namespace {

/// FNV-1a of a tensor's bytes.
unsigned long long hash_of(const torch::Tensor& tensor) {
  const torch::Tensor bytes = tensor.detach().contiguous().view({-1}).view(torch::kByte);
  unsigned long long hash = 1469598103934665603ULL;
  for (int64_t i = 0; i < bytes.numel(); ++i) {
    hash = (hash ^ bytes.data_ptr<std::uint8_t>()[i]) * 1099511628211ULL;
  }
  return hash;
}

}  // namespace

int main() {
  torch::manual_seed(1);
  const ElasticNet penalty(0.3, 0.7);
  for (const auto type : {torch::kFloat, torch::kDouble}) {
    const torch::Tensor x = torch::randn({300, 400}, type), g = torch::randn({300, 400}, type);
    const torch::Tensor flat = x.clone(), strided = torch::stack({x, x}, 2).select(2, 0);
    penalty.prox_(flat, 0.37);
    penalty.prox_(strided, 0.37);
    std::printf("%llx, alike: %d\n", hash_of(flat), torch::equal(flat, strided));

    const torch::Tensor rows = x.clone(), columns = x.clone();
    GroupLasso(0.3).prox_(rows, g.abs());
    SparseGroupLasso(0.1, 0.3, torchreg::columns()).prox_(columns, g.abs());
    std::printf("%llx, %llx\n", hash_of(rows), hash_of(columns));

    const torch::Tensor w = x.clone().requires_grad_();
    const torch::Tensor term = penalty(w);
    term.backward();
    std::printf("%llx, %llx\n", hash_of(term), hash_of(w.grad()));

    torch::optim::Adam adam({w}, torch::optim::AdamOptions(1e-2));
    torch::optim::SGD sgd({w}, torch::optim::SGDOptions(1e-2).momentum(0.9).nesterov(true));
    ProximalStep after_adam(adam, w, penalty), after_sgd(sgd, w, penalty);
    for (int t = 0; t < 20; ++t) {
      w.mutable_grad() = g * w.detach() + 0.1;
      adam.step();
      after_adam.step();
      sgd.step();
      after_sgd.step();
    }
    std::printf("%llx, zeros: %d\n", hash_of(w), sparsity(w).zeros > 0);
  }
}
