// Memory: which zeros it holds, what it remembers, and where there is none.
#include <torchreg/torchreg.hpp>

#include <limits>

#include "support.hpp"

using namespace torchreg;
using support::memory_of;
using support::optimizer_cases;
using support::row;
using support::same_bits;
using support::saved;
using support::step_with;
using support::Tensor;
namespace optim = torch::optim;

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

}  // namespace

TEST_CASE("ProximalStep: NaN and infinities stay, with memory and without") {
  const double inf = std::numeric_limits<double>::infinity();
  for (const int64_t memory : {0, 256}) {
    const Tensor w = row({kNaN, inf, -inf, 0.01}).requires_grad_();
    optim::SGD sgd({w}, optim::SGDOptions(0.1));
    ProximalStep prox(sgd, w, L1(1));
    prox.options().memory(memory);
    for (int t = 0; t < 3; ++t) {
      step_with(sgd, w, torch::zeros({4}, torch::kDouble));
      prox.step();
      REQUIRE(w[0].isnan().item<bool>());
      REQUIRE(w[1].item<double>() == inf);
      REQUIRE(w[2].item<double>() == -inf);
      REQUIRE(w[3].item<double>() == 0);
    }
    torch::NoGradGuard no_grad;
    w[3] = kNaN;  // a zero that becomes NaN is no zero
    step_with(sgd, w, torch::zeros({4}, torch::kDouble));
    prox.step();
    REQUIRE(w[3].isnan().item<bool>());
  }
}

TEST_CASE("Memory: a result is 0 or the textbook value to the bit, also while lambda falls") {
  for (const auto type : {torch::kDouble, torch::kFloat, torch::kBFloat16}) {
    for (const auto& [name, make, is] : optimizer_cases()) {
      CAPTURE(name, type);
      torch::manual_seed(6);
      const Tensor w = torch::randn({40}).to(type).requires_grad_();
      const Tensor twin = w.detach().clone().requires_grad_();
      const auto optimizer = make({w, twin}, 0.01);
      ProximalStep prox(*optimizer, w, ElasticNet(1, 0.1)),
          textbook(*optimizer, twin, ElasticNet(1, 0.1));
      textbook.options().memory(0);
      int64_t vetoed = 0;
      for (int t = 0; t < 60; ++t) {
        prox.penalty().formula().l1 = textbook.penalty().formula().l1 = 1 - t / 60.0;
        const Tensor g = torch::randn({40}).to(type);
        w.mutable_grad() = g.clone();
        twin.mutable_grad() = g.clone();
        optimizer->step();
        {
          torch::NoGradGuard no_grad;
          twin.copy_(w);
        }
        prox.step();
        textbook.step();
        const Tensor is_vetoed = (w == 0) & (twin != 0);
        REQUIRE(same_bits(torch::where(is_vetoed, torch::zeros_like(twin), twin), w.detach()));
        REQUIRE(support::negative_zeros(w.detach().to(torch::kFloat)) == 0);
        vetoed += is_vetoed.sum().item<int64_t>();
      }
      REQUIRE(vetoed > 0);
    }
  }
}

TEST_CASE("Memory: follows its formula step by step") {
  torch::manual_seed(7);
  const double lr = 0.1, lambda = 0.5, n = 4;
  const Tensor w = support::double_parameter({1});
  optim::SGD sgd({w}, optim::SGDOptions(lr));
  ProximalStep prox(sgd, w, L1(lambda));
  prox.options().memory(static_cast<int64_t>(n));
  const auto shrunk = [](double x, double t) { return x > t ? x - t : x < -t ? x + t : 0; };
  double x = w.item<double>(), m = 0;
  bool at_zero = false;
  int zeros = 0, vetoes = 0;
  for (int steps = 1; steps <= 400; ++steps) {
    const double gradient = torch::randn({1}).item<double>() + x;
    step_with(sgd, w, row({gradient}));
    x -= lr * gradient;
    const double textbook = shrunk(x, lr * lambda), g = x / lr;
    if (at_zero) {
      m += (g - m) / std::min(std::max(steps / 4.0, 1.0), n);
      x = shrunk(lr * m, lr * lambda) == 0 ? 0 : textbook;
      vetoes += x == 0 && textbook != 0;
    } else {
      x = textbook;
      m = g;
    }
    at_zero = x == 0;
    zeros += at_zero;
    prox.step();
    REQUIRE(w.item<double>() == Approx(x).margin(1e-12));
    REQUIRE((w.item<double>() == 0) == at_zero);
  }
  REQUIRE(zeros > 50);
  REQUIRE(vetoes > 20);
}

TEST_CASE(
    "Memory: none without zeros, of the parameter's shape with them, float32 for half types") {
  const auto state_of = [](auto penalty, torch::ScalarType type, int64_t n) {
    const Tensor w = torch::ones({3, 2}, type).requires_grad_();
    optim::SGD sgd({w}, optim::SGDOptions(0.1));
    ProximalStep prox(sgd, w, penalty);
    prox.options().memory(n);
    w.mutable_grad() = torch::zeros_like(w);
    prox.step();
    return memory_of(prox);
  };
  REQUIRE_FALSE(state_of(L1(1), torch::kFloat, 0).defined());
  REQUIRE_FALSE(state_of(L1(0), torch::kFloat, 256).defined());
  REQUIRE_FALSE(state_of(L2(1), torch::kFloat, 256).defined());
  REQUIRE_FALSE(state_of(ElasticNet(0, 1), torch::kFloat, 256).defined());
  REQUIRE(state_of(L1(1), torch::kDouble, 256).scalar_type() == torch::kDouble);
  REQUIRE(state_of(L1(1), torch::kBFloat16, 256).scalar_type() == torch::kFloat);
  REQUIRE(state_of(L1(1), torch::kHalf, 1).sizes() == at::IntArrayRef({3, 2}));
}

TEST_CASE("Memory: follows the parameter to another dtype with what it remembers") {
  const Tensor w = torch::tensor({0.0F, 3.0F}).requires_grad_();
  optim::SGD sgd({w}, optim::SGDOptions(0.1));
  ProximalStep prox(sgd, w, L1(0.5));
  for (int t = 0; t < 5; ++t) {
    step_with(sgd, w, torch::tensor({0.25F, 0.0F}));
    prox.step();
  }
  const Tensor before = memory_of(prox);
  REQUIRE(before[0].item<double>() == Approx(-0.25));
  w.set_data(w.detach().to(torch::kDouble));
  w.mutable_grad() = row({0, 0});
  sgd.step();
  prox.step();
  const Tensor after = memory_of(prox);
  REQUIRE(after.scalar_type() == torch::kDouble);
  REQUIRE(after[0].item<double>() == Approx(-0.25 / 3));  // the sixth step, whose weight is 4/6
  REQUIRE(after[1].isinf().item<bool>());
}

TEST_CASE("Memory: NaN in a remembered zero is kept, even by a prox that loses it") {
  struct Forgetful {
    Tensor prox(const Tensor& w, const Tensor& step) const {
      return torch::where(w.abs() > step, w - step * w.sign(), torch::zeros_like(w));
    }
  };
  const Tensor w = row({0.001, 1}).requires_grad_();
  optim::SGD sgd({w}, optim::SGDOptions(0.1));
  ProximalStep prox(sgd, w, Penalty(Forgetful{}));
  step_with(sgd, w, row({0, 0}));
  prox.step();
  REQUIRE(w[0].item<double>() == 0);
  {
    torch::NoGradGuard no_grad;
    w[0] = kNaN;
  }
  prox.step();
  REQUIRE(w[0].isnan().item<bool>());
}

TEST_CASE("ProximalStep: a formula's -0.0 becomes +0.0, with memory and without") {
  struct Eraser {
    Tensor prox(const Tensor& w, const Tensor&) const { return 0 * w; }
  };
  for (const int64_t memory : {0, 256}) {
    const Tensor w = row({-1, 1}).requires_grad_();
    optim::SGD sgd({w}, optim::SGDOptions(0.1));
    ProximalStep prox(sgd, w, Penalty(Eraser{}));
    prox.options().memory(memory);
    step_with(sgd, w, row({0, 0}));
    prox.step();
    REQUIRE((w == 0).all().item<bool>());
    REQUIRE(support::negative_zeros(w.detach()) == 0);
  }
}

TEST_CASE("Memory: a penalty beyond the type holds all zeros") {
  for (const auto type : {torch::kFloat, torch::kBFloat16}) {
    for (const bool is_contiguous : {true, false}) {
      CAPTURE(type, is_contiguous);
      const Tensor ones = torch::ones({2, 6}, type);
      const Tensor w = (is_contiguous ? ones : ones.slice(1, 0, 6, 2)).set_requires_grad(true);
      torch::optim::SGD sgd({w}, torch::optim::SGDOptions(0.1));
      ProximalStep prox(sgd, w, L1(1e39));
      for (int t = 0; t < 3; ++t) {
        support::step_with(sgd, w, torch::ones_like(w));
        prox.step();
        REQUIRE((w == 0).all().item<bool>());
      }
    }
  }
}

TEST_CASE("Memory: the gradient of the n steps of every(n) weighs n times as much") {
  torch::manual_seed(12);
  const double s = 0.2, lambda = 0.5;
  const Tensor w = row({0}).requires_grad_();
  optim::SGD sgd({w}, optim::SGDOptions(s / 2));
  ProximalStep prox(sgd, w, L1(lambda));
  prox.options().memory(8).every(2);
  const auto shrunk = [](double x, double t) { return x > t ? x - t : x < -t ? x + t : 0; };
  double x = 0, m = 0;
  bool at_zero = false;
  int vetoes = 0;
  for (int steps = 2; steps <= 600; steps += 2) {
    for (int i = 0; i < 2; ++i) {
      const double gradient = torch::randn({1}).item<double>() + x;
      step_with(sgd, w, row({gradient}));
      prox.step();
      x -= s / 2 * gradient;
    }
    const double g = x / s, textbook = shrunk(x, s * lambda);
    m = at_zero ? m + (g - m) * std::min(2 / std::min(std::max(steps / 4.0, 1.0), 8.0), 1.0) : g;
    x = at_zero && std::abs(m) <= lambda ? 0 : textbook;
    at_zero = x == 0;
    vetoes += at_zero && textbook != 0;
    REQUIRE(w.item<double>() == Approx(x).margin(1e-12));
  }
  REQUIRE(vetoes > 20);
}

TEST_CASE("Memory: steps with a learning rate of 0 are not counted") {
  std::vector<Tensor> results;
  for (const int warm_up : {0, 100}) {
    const Tensor w = torch::zeros({6}, torch::kDouble).requires_grad_();
    optim::SGD sgd({w}, optim::SGDOptions(0));
    ProximalStep prox(sgd, w, L1(0.5));
    std::vector<Tensor> path;
    for (int t = -warm_up; t < 20; ++t) {
      if (t == 0) torch::manual_seed(13);
      if (t == 0) support::set_lr(sgd, 0.1);
      step_with(sgd, w, torch::randn({6}, torch::kDouble));
      prox.step();
      if (t >= 0) path.push_back(w.detach().clone());
    }
    results.push_back(torch::stack(path));
  }
  REQUIRE(same_bits(results[0], results[1]));
}

TEST_CASE("Memory: is saved in the parameter's new dtype") {
  const Tensor w = torch::ones({3}).requires_grad_();
  optim::SGD sgd({w}, optim::SGDOptions(0.1));
  ProximalStep prox(sgd, w, L1(1));
  for (const auto type : {torch::kFloat, torch::kDouble}) {
    w.set_data(w.detach().to(type));
    w.mutable_grad() = torch::zeros({3}, type);
    prox.step();
    REQUIRE(memory_of(prox).scalar_type() == type);
  }
}

namespace {

struct Projection {
  Tensor prox(const Tensor& w, const Tensor& /*step*/) const { return w.clamp_min(0); }
};

struct Counting : Projection {
  [[maybe_unused]] static constexpr Memory memory = Memory::none;
};

struct OfRows : Projection {
  [[maybe_unused]] static constexpr bool is_separable = false;
};

struct OfTensor : Projection {
  [[maybe_unused]] static constexpr Domain domain = Domain::tensor;
};

}  // namespace

TEST_CASE("Memory: is kept where zeros can be, of entries alone, and where a formula says so") {
  using torchreg::detail::has_memory;
  REQUIRE(has_memory(L1(1).formula()));
  REQUIRE_FALSE(has_memory(L1(0).formula()));
  REQUIRE(has_memory(ElasticNet(1, 1).formula()));
  REQUIRE_FALSE(has_memory(ElasticNet(0, 1).formula()));
  REQUIRE_FALSE(has_memory(L2(1).formula()));
  REQUIRE(has_memory(Projection()));
  REQUIRE_FALSE(has_memory(Counting()));
  REQUIRE_FALSE(has_memory(OfRows()));
  REQUIRE_FALSE(has_memory(OfTensor()));
}
