// The promise in training loops as people write them: inputs that never had a gradient, clipped
// gradients, weights restored from outside, steps called rarely, InferenceMode.
#include <torchreg/torchreg.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <sstream>

#include "support.hpp"

using namespace torchreg;
using support::contains;
using support::error_of;
using support::load;
using support::Net;
using support::optimizer_cases;
using support::row;
using support::same_bits;
using support::saved;
using support::step_with;
using support::Tensor;
namespace optim = torch::optim;

namespace {

/// What a ProximalStep saves: its calls, then 14 numbers a tensor; the second is the memory's age.
template <class Prox>
std::vector<int64_t> saved_counts(const Prox& prox) {
  std::istringstream stream(saved(prox));
  torch::serialize::InputArchive archive;
  archive.load_from(stream);
  c10::IValue counts;
  archive.read("counts", counts);
  return counts.toIntVector();
}

bool is_adaptive(const support::OptimizerCase& optimizer_case) {
  return !contains(optimizer_case.name, "SGD");
}

bool counts_steps(const support::OptimizerCase& optimizer_case) {
  return is_adaptive(optimizer_case);
}

/// Tensors of one shape as they come: in lanes, in pieces, joined. (In half, LibTorch's optimizers
/// divide 0 by an epsilon that is 0.)
std::vector<std::pair<std::string, std::vector<Tensor>>> kinds(at::IntArrayRef sizes, double fill) {
  const auto strided = [&](torch::ScalarType type) {
    std::vector<int64_t> wide = sizes.vec();
    wide.back() *= 2;
    return torch::full(wide, fill, type).slice(-1, 0, wide.back(), 2).detach().requires_grad_();
  };
  const auto dense = [&](torch::ScalarType type) {
    return torch::full(sizes, fill, type).requires_grad_();
  };
  return {
      {"float", {dense(torch::kFloat)}},
      {"double", {dense(torch::kDouble)}},
      {"bfloat16", {dense(torch::kBFloat16)}},
      {"strided", {strided(torch::kDouble)}},
      {"joined", {strided(torch::kDouble), strided(torch::kDouble), strided(torch::kDouble)}},
  };
}

/// Adagrad's steps become so small that bfloat16 rounds them away.
bool falls_below_rounding(const support::OptimizerCase& optimizer_case, const Tensor& w) {
  return contains(optimizer_case.name, "Adagrad") && w.scalar_type() == torch::kBFloat16;
}

double tolerance(const Tensor& w) {
  switch (w.scalar_type()) {
    case torch::kDouble:
      return 1e-9;
    case torch::kFloat:
      return 1e-5;
    default:
      return 0.05;
  }
}

/// L1 with its prox, and with no, one or both of the faces that tell its slope.
struct ByValue {
  double lambda;
  Tensor value(const Tensor& w) const { return lambda * w.abs(); }
  Tensor prox(const Tensor& w, const Tensor& step) const {
    return soft_threshold(w, lambda * step);
  }
};
struct BySlope {
  double lambda;
  Tensor slope(const Tensor& w) const { return lambda * w.sign(); }
  Tensor prox(const Tensor& w, const Tensor& step) const {
    return soft_threshold(w, lambda * step);
  }
};
struct ByProx {
  double lambda;
  Tensor prox(const Tensor& w, const Tensor& step) const {
    return soft_threshold(w, lambda * step);
  }
};

/// Flat beyond 1, as MCP and SCAD are far from zero.
struct Capped {
  Tensor value(const Tensor& w) const { return w.abs().clamp_max(1); }
  Tensor slope(const Tensor& w) const { return w.sign() * (w.abs() < 1); }
  Tensor prox(const Tensor& w, const Tensor& step) const { return soft_threshold(w, step); }
};

}  // namespace

TEST_CASE("Dead entries: one goes to zero in the steps of its optimizer, and stays") {
  for (const auto& optimizer_case : optimizer_cases()) {
    if (!is_adaptive(optimizer_case)) continue;
    const double lr = 3e-3, lambda = 1e-3;
    for (const int64_t memory : {0, 256}) {
      for (const auto& kind : kinds({8, 2}, 0.3)) {
        const std::vector<Tensor>& tensors = kind.second;
        CAPTURE(optimizer_case.name, memory, kind.first);
        if (falls_below_rounding(optimizer_case, tensors[0])) continue;
        const auto optimizer = optimizer_case.make(tensors, lr);
        ProximalStep prox(*optimizer, tensors, L1(lambda));
        prox.options().memory(memory);
        const auto train = [&](int steps) {
          for (int t = 0; t < steps; ++t) {
            for (const Tensor& w : tensors) {
              w.mutable_grad() = torch::zeros_like(w);
              w.grad().select(1, 1).fill_(-0.1);  // the other column lives
            }
            optimizer->step();
            prox.step();
          }
        };
        train(5);
        if (contains(optimizer_case.name, "Adam")) {
          for (const Tensor& w : tensors) {
            REQUIRE(w[0][0].item<double>() == Approx(0.3 - 5 * lr).epsilon(0.02));
          }
        }
        train(contains(optimizer_case.name, "Adagrad") ? 3500 : 100);
        for (const Tensor& w : tensors) {
          REQUIRE((w.select(1, 0) == 0).all().item<bool>());
          REQUIRE((w.select(1, 1) != 0).all().item<bool>());
        }
      }
    }
  }
}

TEST_CASE("Dead entries: one moves as its optimizer would move it by the penalty's slope") {
  for (const auto& optimizer_case : optimizer_cases()) {
    if (!is_adaptive(optimizer_case) || contains(optimizer_case.name, "momentum")) continue;
    const bool centered = contains(optimizer_case.name, "centered");
    for (const auto& [kind, tensors] : kinds({4, 2}, -0.5)) {
      for (const double scale : {1.0, 0.1}) {
        CAPTURE(optimizer_case.name, kind, scale);
        if (falls_below_rounding(optimizer_case, tensors[0])) continue;
        const double lambda = 0.05;
        const Tensor by_slope = torch::full({1}, -0.5, torch::kDouble).requires_grad_();
        const auto optimizer = optimizer_case.make(tensors, 0.005),
                   twin = optimizer_case.make({by_slope}, 0.005);
        ProximalStep prox(*optimizer, tensors, L1(lambda));
        for (int t = 0; t < 20; ++t) {
          for (const Tensor& w : tensors) w.mutable_grad() = torch::zeros_like(w);
          optimizer->step();
          prox.step(scale);
          // Centered, the variance of a constant gradient would be none: that of q is taken.
          if (!centered) step_with(*twin, by_slope, row({-scale * lambda}));
        }
        for (const Tensor& w : tensors) {
          if (centered) break;
          REQUIRE(torch::allclose(w.detach().to(torch::kDouble), by_slope.expand_as(w), 0,
                                  tolerance(w)));
        }
        for (const Tensor& w : tensors) REQUIRE((w > -0.5).all().item<bool>());
        for (const Tensor& w : tensors) w.detach().fill_(-0.5);
      }
    }
  }
}

TEST_CASE("Dead entries: a formula's slope, or autograd's, or for a constraint the plain rate") {
  for (const auto& optimizer_case : optimizer_cases()) {
    if (!is_adaptive(optimizer_case)) continue;
    CAPTURE(optimizer_case.name);
    const auto stepped = [&](const auto& penalty, bool inference) {
      const Tensor w = row({1, -1, 0, 1e-9, 2}).requires_grad_();
      const auto optimizer = optimizer_case.make({w}, 0.01);
      ProximalStep prox(*optimizer, w, penalty);
      for (int t = 0; t < 7; ++t) {
        const Tensor g = row({0, 0, 0, 0, 1});
        w.mutable_grad() = g;
        const c10::InferenceMode mode(inference);
        optimizer->step();
        prox.step(0.5);
      }
      return w.detach().clone();
    };
    const double lambda = 0.1;
    const Tensor expected = stepped(L1(lambda), false);
    for (const bool inference : {false, true}) {
      REQUIRE(torch::allclose(stepped(Penalty(ByValue{lambda}), inference), expected, 1e-9, 1e-15));
      REQUIRE(torch::allclose(stepped(Penalty(BySlope{lambda}), inference), expected, 1e-9, 1e-15));
    }
    REQUIRE(expected[2].item<double>() == 0);
    REQUIRE(expected[3].item<double>() == 0);
    if (contains(optimizer_case.name, "Adagrad")) continue;  // its rate falls
    const Tensor of_constraint = stepped(Penalty(ByProx{lambda}), false);
    REQUIRE(of_constraint[0].item<double>() == Approx(1 - 7 * 0.5 * 0.01 * lambda));
  }
}

TEST_CASE("Dead entries: one stays where the penalty has no slope") {
  for (const auto& optimizer_case : optimizer_cases()) {
    if (!is_adaptive(optimizer_case)) continue;
    for (const int64_t memory : {0, 256}) {
      CAPTURE(optimizer_case.name, memory);
      const Tensor w = row({5, -5, 0.5, 0}).requires_grad_();
      const auto optimizer = optimizer_case.make({w}, 0.01);
      ProximalStep prox(*optimizer, w, Penalty(Capped{}));
      prox.options().memory(memory);
      for (int t = 0; t < 10; ++t) {
        step_with(*optimizer, w, torch::zeros({4}, torch::kDouble));
        prox.step();
      }
      REQUIRE(w[0].item<double>() == 5);
      REQUIRE(w[1].item<double>() == -5);
      REQUIRE(w[2].item<double>() < 0.5);
      REQUIRE(w[3].item<double>() == 0);
    }
  }
}

TEST_CASE("Dead entries: one that stays is stepped by a finite step, without an epsilon too") {
  const auto stays = [](const auto& penalty, const Tensor& tensor) {
    const Tensor w = tensor.requires_grad_();
    optim::RMSprop rmsprop({w}, optim::RMSpropOptions(0.01).eps(0));
    ProximalStep prox(rmsprop, w, penalty);
    step_with(rmsprop, w, row({0, 1}));
    torch::NoGradGuard no_grad;
    w.copy_(row({0, 1}));  // LibTorch has divided 0 by 0
    prox.step();
    return w[0].item<double>() == 0;
  };
  REQUIRE(stays(Penalty(ByValue{1}), row({0, 1})));  // checks that its step is finite
  for (const double lambda : {0.0, 0.1}) {
    REQUIRE(stays(L1(lambda), row({0, 1})));
    REQUIRE(stays(L1(lambda), row({0, 2, 1, 2}).slice(0, 0, 4, 2)));
  }
}

TEST_CASE("Dead entries: the memory of one at zero averages on until it wakes") {
  // The last gradients of an entry that lived are forgotten while it is dead.
  const auto wakes_after = [](int idle) {
    const Tensor w = row({0}).requires_grad_();
    optim::Adam adam({w}, optim::AdamOptions(0.01));
    ProximalStep prox(adam, w, L1(1));
    prox.options().memory(8);
    const auto train = [&](double gradient) {
      step_with(adam, w, row({gradient}));
      prox.step();
    };
    for (int t = 0; t < 40; ++t) train(0);
    auto& state = static_cast<optim::AdamParamState&>(*adam.state().begin()->second);
    for (int t = 0; t < 40; ++t) train(-0.9);
    for (int t = 0; t < idle; ++t) {
      state.exp_avg_sq().zero_();  // as if it had never had a gradient
      state.exp_avg().zero_();
      train(0);
    }
    int waited = 0;
    while (w.item<double>() == 0 && waited < 100) {
      train(-1.5);
      ++waited;
    }
    return waited;
  };
  REQUIRE(wakes_after(0) < wakes_after(20));
  REQUIRE(wakes_after(20) < 100);
}

TEST_CASE("Dead entries: RMSprop's that began at other times are not stepped as one") {
  // Their steps are of different age, and so are the shares of the slope's square.
  const auto parameters = [] {
    std::vector<Tensor> tensors;
    for (int i = 0; i < 4; ++i) {
      tensors.push_back(torch::full({3, 8}, 1.0, torch::kDouble).slice(1, 0, 8, 2).detach());
      tensors.back().requires_grad_();
    }
    return tensors;
  };
  const auto together = parameters(), alone = parameters();
  optim::RMSprop rmsprop(together, optim::RMSpropOptions(0.01)),
      twin(alone, optim::RMSpropOptions(0.01));
  ProximalStep prox(rmsprop, together, L1(0.1));
  std::vector<std::unique_ptr<ProximalStep<L1>>> each;
  for (const Tensor& w : alone)
    each.push_back(std::make_unique<ProximalStep<L1>>(twin, w, L1(0.1)));
  for (int t = 0; t < 12; ++t) {
    for (std::size_t i = 0; i < 4; ++i) {
      const bool starts = t >= static_cast<int>(3 * i);
      together[i].mutable_grad() = starts ? torch::zeros_like(together[i]) : Tensor();
      alone[i].mutable_grad() = starts ? torch::zeros_like(alone[i]) : Tensor();
    }
    rmsprop.step();
    twin.step();
    prox.step();
    for (auto& one : each) one->step();
  }
  for (std::size_t i = 0; i < 4; ++i) {
    CAPTURE(i);
    REQUIRE(torch::allclose(together[i], alone[i], 1e-12, 0));
  }
}

TEST_CASE("step(c): step() is step(1) to the bit, step(0) changes nothing, a bad c is refused") {
  for (const auto& optimizer_case : optimizer_cases()) {
    CAPTURE(optimizer_case.name);
    torch::manual_seed(40);
    const Tensor w = support::double_parameter({20}), twin = w.detach().clone().requires_grad_();
    const auto optimizer = optimizer_case.make({w, twin}, 0.02);
    ProximalStep prox(*optimizer, w, L1(0.3)), same(*optimizer, twin, L1(0.3));
    for (int t = 0; t < 40; ++t) {
      const Tensor g = torch::randn({20}, torch::kDouble);
      w.mutable_grad() = g.clone();
      twin.mutable_grad() = g.clone();
      optimizer->step();
      prox.step();
      same.step(1);
      REQUIRE(same_bits(w.detach(), twin.detach()));
    }
    step_with(*optimizer, w, torch::randn({20}, torch::kDouble));
    const Tensor before = w.detach().clone();
    prox.step(0);
    REQUIRE(same_bits(w.detach(), before));
    REQUIRE(contains(error_of([&] { prox.step(-1); }),
                     "ProximalStep: gradient scale must be finite and >= 0, got -1"));
    for (const double bad :
         {std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN()}) {
      step_with(*optimizer, w, torch::zeros({20}, torch::kDouble));
      const Tensor kept = w.detach().clone();
      REQUIRE(contains(error_of([&] { prox.step(bad); }),
                       "ProximalStep: gradient scale must be finite and >= 0, got "));
      REQUIRE(same_bits(w.detach(), kept));
    }
  }
}

TEST_CASE("step(c): every(n) and flush() take each move by its own scale") {
  const Tensor w = row({1}).requires_grad_();
  optim::SGD sgd({w}, optim::SGDOptions(0.1).momentum(0.5));
  ProximalStep prox(sgd, w, L1(1));
  prox.options().every(3).memory(0);
  const auto step = [&](double c) {
    step_with(sgd, w, row({0}));
    prox.step(c);
    return w.item<double>();
  };
  step(0.5);
  step(0.2);
  REQUIRE(step(1) == Approx(1 - 0.1 * (0.5 * 1 + 0.2 * 1.5 + 1.75)));
  const double after = w.item<double>();
  step(0.25);
  prox.flush();
  REQUIRE(w.item<double>() == Approx(after - 0.1 * 0.25 * 1.875));

  const Tensor v = row({1, 1}).requires_grad_();
  optim::Adam adam({v}, optim::AdamOptions(0.01));
  ProximalStep by_entry(adam, v, L1(1));
  by_entry.options().every(2);
  step_with(adam, v, row({2, 1}));
  by_entry.step(0.25);
  step_with(adam, v, row({2, 1}));
  const Tensor before = v.detach().clone(), s = step_size(adam, v);
  by_entry.step(0.5);
  REQUIRE(torch::allclose(before - v.detach(), 0.75 * s));
}

TEST_CASE("step(c): the sum of the scales is saved") {
  for (const auto& optimizer_case : optimizer_cases()) {
    CAPTURE(optimizer_case.name);
    const auto trained = [&](bool resumes) {
      const Tensor w = row({1, -2}).requires_grad_();
      const auto optimizer = optimizer_case.make({w}, 0.01);
      std::optional<ProximalStep<L1>> prox(std::in_place, *optimizer, w, L1(0.1));
      prox->options().every(3);
      for (const double c : {0.5, 0.2, 0.9}) {
        step_with(*optimizer, w, row({1, 0}));
        prox->step(c);
        if (!resumes) continue;
        const std::string state = saved(*prox);
        prox.emplace(*optimizer, w, L1(0.1));
        prox->options().every(3);
        load(*prox, state);
      }
      return w.detach().clone();
    };
    REQUIRE(same_bits(trained(true), trained(false)));
  }
}

TEST_CASE("Rare calls: a call acts for as many steps as the optimizer has counted") {
  for (const auto& optimizer_case : optimizer_cases()) {
    CAPTURE(optimizer_case.name);
    for (const bool made_first : {true, false}) {
      CAPTURE(made_first);
      const Tensor w = row({100, -100}).requires_grad_();
      const auto optimizer = optimizer_case.make({w}, 0.01);
      const auto move = [&](int times) {
        for (int t = 0; t < times; ++t) step_with(*optimizer, w, row({1, 2}));
      };
      if (!made_first) move(3);
      ProximalStep prox(*optimizer, w, L1(0.1));
      prox.options().memory(0);
      const auto shrinkage = [&] {
        const Tensor before = w.detach().clone();
        prox.step();
        return Tensor((before - w.detach()) * before.sign());
      };
      if (!made_first) {  // it has stepped: the first call acts, for one
        const Tensor once = 0.1 * step_size(*optimizer, w);
        REQUIRE(torch::allclose(shrinkage(), once.expand({2}), 1e-9, 0));
      }
      if (!counts_steps(optimizer_case)) continue;
      for (const int k : {5, 1, 3}) {
        move(k);
        REQUIRE(torch::allclose(shrinkage(), k * 0.1 * step_size(*optimizer, w), 1e-9, 0));
        REQUIRE((shrinkage() == 0).all().item<bool>());
      }
    }
  }
}

TEST_CASE("Rare calls: steps at a learning rate of 0, or of a frozen tensor, do not count") {
  for (const auto& optimizer_case : optimizer_cases()) {
    CAPTURE(optimizer_case.name);
    const Tensor w = row({100}).requires_grad_();
    const auto optimizer = optimizer_case.make({w}, 0.01);
    ProximalStep prox(*optimizer, w, L1(0.1));
    const auto moves = [&] {
      const Tensor before = w.detach().clone();
      prox.step();
      return std::lround(((before - w.detach()) / (0.1 * step_size(*optimizer, w))).item<double>());
    };
    for (int t = 0; t < 3; ++t) step_with(*optimizer, w, row({1}));
    support::set_lr(*optimizer, 0);
    prox.step();
    support::set_lr(*optimizer, 0.01);
    REQUIRE(moves() == (optimizer_case.is.plain_sgd() ? 1 : 0));  // SGD: by its gradient
    for (int t = 0; t < 3; ++t) step_with(*optimizer, w, row({1}));
    w.set_requires_grad(false);
    prox.step();
    w.set_requires_grad(true);
    w.mutable_grad() = Tensor();
    if (!optimizer_case.is.plain_sgd()) REQUIRE(moves() == 0);
  }
}

TEST_CASE("Rare calls: a state that arrives by loading is no step, one by one it is counted") {
  for (const auto& optimizer_case : optimizer_cases()) {
    if (!counts_steps(optimizer_case)) continue;
    for (const int own : {0, 3}) {  // steps of the optimizer that is loaded into
      CAPTURE(optimizer_case.name, own);
      const Tensor w = row({100}).requires_grad_();
      const auto old = optimizer_case.make({w}, 0.01);
      for (int t = 0; t < 500; ++t) step_with(*old, w, row({1}));
      const auto optimizer = optimizer_case.make({w}, 0.01);
      ProximalStep prox(*optimizer, w, L1(0.1));
      for (int t = 0; t < own; ++t) {
        step_with(*optimizer, w, row({1}));
        prox.step();
      }
      load(*optimizer, saved(*old));
      const auto shrinkage = [&] {
        const double before = w.item<double>();
        prox.step();
        return std::abs(before) - std::abs(w.item<double>());
      };
      w.mutable_grad() = Tensor();
      if (own > 0) REQUIRE(shrinkage() == 0);
      for (const int k : {1, 4}) {
        for (int t = 0; t < k; ++t) step_with(*optimizer, w, row({1}));
        REQUIRE(shrinkage() == Approx(k * 0.1 * step_size(*optimizer, w).item<double>()));
      }
    }
  }
}

TEST_CASE("Rare calls: moves whose state is gone before the prox are an error, not another step") {
  const Tensor w = row({1}).requires_grad_();
  optim::Adam adam({w}, optim::AdamOptions(1e-3));
  ProximalStep prox(adam, w, L1(1));
  prox.options().every(4);
  step_with(adam, w, row({1e-3}));
  prox.step();
  adam.state().clear();
  const double before = w.item<double>();
  REQUIRE(contains(error_of([&] { prox.flush(); }), "has no optimizer state yet"));
  REQUIRE(w.item<double>() == before);
  prox.reset();
  prox.flush();
  REQUIRE(w.item<double>() == before);
}

TEST_CASE("Rare calls: momentum that is switched off and on again is no move") {
  const Tensor w = row({1}).requires_grad_();
  optim::SGD sgd({w}, optim::SGDOptions(0.1).momentum(0.5));
  auto& options = static_cast<optim::SGDOptions&>(sgd.param_groups()[0].options());
  ProximalStep prox(sgd, w, L1(0.1));
  step_with(sgd, w, row({0}));
  prox.step();
  options.momentum(0);
  step_with(sgd, w, row({0}));
  prox.step();
  options.momentum(0.5);
  w.mutable_grad() = Tensor();
  const double before = w.item<double>();
  prox.step();
  REQUIRE(w.item<double>() == before);
}

namespace {

/// Trains two nets alike, the second by the textbook from the moment on at which the first should
/// have forgotten; true if both then take the same step.
struct Trained {
  Tensor w, gradients;
  std::unique_ptr<optim::Optimizer> optimizer;
  std::unique_ptr<ProximalStep<L1>> prox;

  explicit Trained(const support::OptimizerCase& optimizer_case, int64_t every = 1) {
    torch::manual_seed(41);
    w = (0.05 * torch::randn({50}, torch::kDouble)).requires_grad_();
    optimizer = optimizer_case.make({w}, 0.02);
    prox = std::make_unique<ProximalStep<L1>>(*optimizer, w, L1(1));
    prox->options().every(every).memory(32);
  }

  void train(int steps) {
    for (int t = 0; t < steps; ++t) {
      step_with(*optimizer, w, 0.3 * w.detach() + torch::randn({50}, torch::kDouble));
      prox->step();
    }
  }

  /// How many steps the memory has seen.
  int64_t age() const { return saved_counts(*prox).at(2); }

  /// Which entries the next step zeroes where the textbook does not.
  int64_t vetoes() {
    step_with(*optimizer, w, 12 * torch::randn({50}, torch::kDouble));
    const Tensor textbook = soft_threshold(w.detach(), step_size(*optimizer, w));
    prox->step();
    return ((w == 0) & (textbook != 0)).sum().item<int64_t>();
  }
};

using Write = void (*)(Tensor&);

std::vector<std::pair<const char*, Write>> writes() {
  return {
      {"copy_", [](Tensor& w) { w.copy_(torch::full_like(w, 0.03)); }},
      {"normal_", [](Tensor& w) { w.normal_(0, 0.03); }},
      {"set_data", [](Tensor& w) { w.set_data(torch::full_like(w, 0.03)); }},
      {"torch::load",
       [](Tensor& w) {
         std::stringstream stream;
         torch::save(torch::full_like(w, 0.03), stream);
         Tensor loaded;
         torch::load(loaded, stream);
         w.set_data(loaded);
         w.add_(0);
       }},
      {"in InferenceMode",
       [](Tensor& w) {
         const c10::InferenceMode inference;
         w.fill_(0.03);
       }},
  };
}

}  // namespace

TEST_CASE("Writes from outside: what was restored is stepped by the textbook") {
  for (const auto& optimizer_case : optimizer_cases()) {
    if (contains(optimizer_case.name, "dampening")) continue;  // its steps are half as long
    for (const auto& [how, write] : writes()) {
      for (const bool moves : {true, false}) {
        CAPTURE(optimizer_case.name, how, moves);
        Trained trained(optimizer_case);
        trained.train(60);
        REQUIRE(trained.vetoes() > 0);  // memory holds zeros
        {
          torch::NoGradGuard no_grad;
          write(trained.w);
        }
        if (!moves && !optimizer_case.is.plain_sgd()) {
          trained.prox->step();  // nothing moved, and the write is not to be lost
        }
        REQUIRE(trained.vetoes() == 0);
        trained.train(60);
        REQUIRE(trained.vetoes() > 0);  // and holds them again
      }
    }
  }
}

TEST_CASE("Writes from outside: a model that is loaded in mid-run keeps its weights") {
  for (const auto& optimizer_case : optimizer_cases()) {
    CAPTURE(optimizer_case.name);
    torch::manual_seed(42);
    Net net;
    const auto optimizer = optimizer_case.make(net->parameters(), 1e-3);
    const std::string first = saved(net);
    ProximalStep prox(*optimizer, net, L1(0.5));
    const auto train = [&] {
      for (Tensor& p : net->parameters()) p.mutable_grad() = 1e-3 * torch::randn_like(p);
      optimizer->step();
      prox.step();
    };
    for (int t = 0; t < 2000 && sparsity(net).zeros < 20; ++t) train();
    REQUIRE(sparsity(net).zeros == 20);  // all weights
    for (int t = 0; t < 20; ++t) train();
    support::set_lr(*optimizer, 1e-6);
    load(net, first);
    train();
    REQUIRE(sparsity(net).zeros == 0);
  }
}

TEST_CASE("Writes from outside: what the user does at every step in the same way is none") {
  using Habit = void (*)(Tensor&);
  const std::vector<std::pair<const char*, Habit>> habits = {
      {"clamp_", [](Tensor& w) { w.clamp_(-1e9, 1e9); }},
      {"two", [](Tensor& w) { w.clamp_(-1e9, 1e9).mul_(1); }},
      {"set_data", [](Tensor& w) { w.set_data(w.detach().clamp(-1e9, 1e9)); }},
      {"data", [](Tensor& w) { w.data().clamp_(-1e9, 1e9); }},
  };
  for (const auto& optimizer_case : optimizer_cases()) {
    for (const auto& [how, act] : habits) {
      for (const int64_t every : {1, 3}) {
        CAPTURE(optimizer_case.name, how, every);
        Trained plain(optimizer_case, every), clamped(optimizer_case, every);
        for (Trained* trained : {&plain, &clamped}) {
          torch::manual_seed(43);
          for (int t = 0; t < 200; ++t) {
            {
              torch::NoGradGuard no_grad;
              if (trained == &clamped) act(trained->w);
            }
            trained->train(1);
          }
        }
        REQUIRE(same_bits(plain.w.detach(), clamped.w.detach()));
      }
    }
  }
}

TEST_CASE("Writes from outside: a late habit is learned, and one that ends is no write") {
  for (const auto& optimizer_case : optimizer_cases()) {
    CAPTURE(optimizer_case.name);
    Trained trained(optimizer_case);
    const auto clamp = [&](int steps) {
      for (int t = 0; t < steps; ++t) {
        trained.train(1);
        torch::NoGradGuard no_grad;
        trained.w.clamp_(-1e9, 1e9);
      }
    };
    trained.train(50);
    REQUIRE(trained.age() == 50);
    clamp(50);
    REQUIRE(trained.age() == 49);  // forgotten once, when it began
    trained.train(50);
    REQUIRE(trained.age() == 99);
    {
      torch::NoGradGuard no_grad;
      trained.w.normal_();
    }
    trained.train(1);
    REQUIRE(trained.age() == 1);
    REQUIRE(contains(trained.prox->describe(), " 151\n"));  // which shows all steps
  }
}

TEST_CASE("Writes from outside: weights that are set before the first step are no habit") {
  for (const auto& optimizer_case : optimizer_cases()) {
    CAPTURE(optimizer_case.name);
    Trained trained(optimizer_case);
    for (const int steps : {2, 5}) {
      {
        torch::NoGradGuard no_grad;
        trained.w.mul_(0.5);
      }
      trained.train(steps);
      REQUIRE(trained.age() == steps);
    }
  }
}

TEST_CASE("Writes from outside: the prox's own and a change of dtype are none") {
  for (const auto& optimizer_case : optimizer_cases()) {
    CAPTURE(optimizer_case.name);
    Trained trained(optimizer_case, 3);
    trained.train(60);
    step_with(*trained.optimizer, trained.w, torch::zeros({50}, torch::kDouble));
    trained.prox->flush();  // between the optimizer's step and the call that notes it
    trained.prox->step();
    trained.prox->flush();
    REQUIRE(trained.age() == 61);
    trained.w.set_data(trained.w.detach().to(torch::kFloat));
    trained.prox->flush();
    REQUIRE(trained.age() == 61);
  }
}

TEST_CASE("Writes from outside: those to a view of the same tensor, by the prox, are none") {
  for (const auto& optimizer_case : optimizer_cases()) {
    CAPTURE(optimizer_case.name);
    const Tensor flat = 0.1 * torch::randn({40}, torch::kDouble);
    std::vector<Tensor> views;  // which have one version together
    for (const int64_t start : {0, 20}) {
      views.push_back(flat.narrow(0, start, 20).detach().requires_grad_());
    }
    const auto optimizer = optimizer_case.make(views, 0.01);
    ProximalStep prox(*optimizer, views, L1(0.5));
    prox.options().every(4);
    for (int t = 0; t < 40; ++t) {
      for (const Tensor& w : views) w.mutable_grad() = torch::randn_like(w);
      optimizer->step();
      prox.step();
    }
    REQUIRE(saved_counts(prox).at(2) == 40);
    REQUIRE(saved_counts(prox).at(2 + 14) == 40);
  }
}

TEST_CASE("Writes from outside: another storage at the old address is seen") {
  Trained trained(optimizer_cases()[0]);
  trained.train(20);
  for (int t = 0; t < 20; ++t) {
    const Tensor data = trained.w.detach().clone();
    trained.w.set_data(torch::zeros({50}, torch::kDouble));  // frees the old one
    trained.w.set_data(data + 0);                            // which may get its place
    trained.train(1);
    REQUIRE(trained.age() == 1);
    trained.train(5);
    REQUIRE(trained.age() == 6);
  }
}

TEST_CASE("InferenceMode: flush() and loading in it leave a state that can be used later") {
  for (const auto type : {torch::kDouble, torch::kBFloat16}) {  // in lanes, and by LibTorch
    for (const bool loads : {false, true}) {
      CAPTURE(type, loads);
      const Tensor w = row({1, 0.01}).to(type).requires_grad_();
      const Tensor twin = w.detach().clone().requires_grad_();
      optim::Adam adam({w}, optim::AdamOptions(0.1)), adam_of_twin({twin}, optim::AdamOptions(0.1));
      ProximalStep prox(adam, w, L1(0.5)), same(adam_of_twin, twin, L1(0.5));
      const auto train = [&](double a, double b) {
        step_with(adam, w, row({a, b}).to(type));
        prox.step();
        step_with(adam_of_twin, twin, row({a, b}).to(type));
        same.step();
      };
      if (loads) train(1, 0);
      {
        const c10::InferenceMode inference;
        if (loads) load(prox, saved(prox));
        prox.flush();
      }
      for (int t = 0; t < 5; ++t) {
        train(1, -1);
        REQUIRE(same_bits(w.detach(), twin.detach()));
      }
    }
  }
}
