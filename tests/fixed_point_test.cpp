// The theorem: one lambda, any optimizer. Lasso, elastic net and L1-logistic regression with badly
// scaled columns are solved by every optimizer, and all reach coordinate descent's solution.
#include <torchreg/torchreg.hpp>

#include <cmath>
#include <vector>

#include "support.hpp"

using namespace torchreg;
using support::contains;
using support::optimizer_cases;
using support::Tensor;
namespace optim = torch::optim;

namespace {

/// A smooth loss f(w), convex, by its gradient and by the diagonal of its Hessian.
struct Problem {
  Tensor x, y;
  bool logistic = false;
  Tensor gram = {}, correlation = {};  // of least squares

  Tensor gradient(const Tensor& w) const {
    if (!logistic) return gram.mv(w) - correlation;
    const Tensor error = torch::sigmoid(x.mv(w)) - y;
    return x.t().mv(error) / static_cast<double>(x.size(0));
  }

  Tensor gradient_of_batch(const Tensor& w, const Tensor& rows) const {
    const Tensor batch = x.index_select(0, rows);
    return batch.t().mv(batch.mv(w) - y.index_select(0, rows)) / static_cast<double>(rows.numel());
  }
};

Problem make_problem(int64_t n, int64_t d, double spread, bool logistic = false) {
  torch::manual_seed(10);
  const Tensor scales = torch::logspace(0, std::log10(spread), d, 10, torch::kDouble);
  const Tensor x = torch::randn({n, d}, torch::kDouble) * scales;
  Tensor truth = torch::zeros({d}, torch::kDouble);
  for (const auto& [at, value] : {std::pair{1, 2.0}, {d / 3, -1.5}, {d / 2, 1.0}, {d - 2, 1.0}}) {
    truth[at] = value / scales[at];
  }
  Tensor y = x.mv(truth) + 0.3 * torch::randn({n}, torch::kDouble);
  if (logistic) y = (y > 0).to(torch::kDouble);
  const auto count = static_cast<double>(n);
  return {x, y, logistic, x.t().mm(x) / count, x.t().mv(y) / count};
}

/// Coordinate descent for least squares; for logistic regression on its quadratic models
/// (proximal Newton). Independent of the library, to machine precision.
Tensor coordinate_descent(const Problem& problem, double l1, double l2) {
  const int64_t d = problem.x.size(1);
  Tensor w = torch::zeros({d}, torch::kDouble);
  for (int outer = 0; outer < (problem.logistic ? 60 : 1); ++outer) {
    Tensor hessian = problem.gram, gradient = problem.gradient(w);
    if (problem.logistic) {
      const Tensor p = torch::sigmoid(problem.x.mv(w));
      const Tensor scaled = problem.x * (p * (1 - p)).unsqueeze(1);
      hessian = problem.x.t().mm(scaled) / static_cast<double>(problem.x.size(0));
    }
    const Tensor target = hessian.mv(w) - gradient;  // minimize half v'Hv - target'v + R(v)
    const auto h = hessian.accessor<double, 2>();
    const auto b = target.accessor<double, 1>();
    auto v = w.accessor<double, 1>();
    for (int sweep = 0; sweep < 5000; ++sweep) {
      double change = 0;
      for (int64_t j = 0; j < d; ++j) {
        double r = b[j] + h[j][j] * v[j];
        for (int64_t k = 0; k < d; ++k) r -= h[j][k] * v[k];
        const double old = v[j], size = std::abs(r) - l1;
        v[j] = size > 0 ? std::copysign(size, r) / (h[j][j] + l2) : 0;
        change = std::max(change, std::abs(v[j] - old));
      }
      if (change < 1e-16) break;
    }
  }
  return w;
}

struct Run {
  int steps = 5000;
  double lr_end = 1e-9;  ///< relative to the start
  int64_t memory = 256;
  double max_norm = 0;  ///< 0: gradients are not clipped
  bool tells_scale = true;
  int steps_a_call = 1;
  double start = 0;  ///< of all coefficients
};

/// Trains with ProximalStep in full batch, with a learning rate that is constant for the first
/// half and decays geometrically in the second.
template <class Penalty>
Tensor train(const Problem& problem, const support::OptimizerCase& optimizer_case, Penalty penalty,
             double lr, const Run& run, double weight_decay = 0) {
  const Tensor w = torch::full({problem.x.size(1)}, run.start, torch::kDouble).requires_grad_();
  const auto optimizer = optimizer_case.make({w}, lr);
  if (weight_decay > 0) {
    auto& options = optimizer->param_groups()[0].options();
    if (auto* sgd = dynamic_cast<optim::SGDOptions*>(&options)) sgd->weight_decay(weight_decay);
    if (auto* adam = dynamic_cast<optim::AdamOptions*>(&options)) adam->weight_decay(weight_decay);
    if (auto* ada = dynamic_cast<optim::AdagradOptions*>(&options)) ada->weight_decay(weight_decay);
    if (auto* rms = dynamic_cast<optim::RMSpropOptions*>(&options)) rms->weight_decay(weight_decay);
  }
  ProximalStep prox(*optimizer, w, penalty);
  prox.options().memory(run.memory);
  const int half = run.steps / 2;
  for (int t = 0; t < run.steps; ++t) {
    const double progress = std::max(0, t - half) / static_cast<double>(run.steps - half);
    support::set_lr(*optimizer, lr * std::pow(run.lr_end, progress));
    {
      torch::NoGradGuard no_grad;
      w.mutable_grad() = problem.gradient(w);
    }
    double scale = 1;
    if (run.max_norm > 0) {
      const double norm = torch::nn::utils::clip_grad_norm_(w, run.max_norm);
      if (run.tells_scale) scale = std::min(1.0, run.max_norm / (norm + 1e-6));
    }
    optimizer->step();
    if (t % run.steps_a_call == run.steps_a_call - 1) prox.step(scale);
  }
  return w.detach();
}

double distance(const Tensor& w, const Tensor& solution) {
  return ((w - solution).norm() / solution.norm()).item<double>();
}

bool same_support(const Tensor& w, const Tensor& solution) {
  return torch::equal(w == 0, solution == 0);
}

/// A learning rate with which the optimizer settles where the largest curvature is about this.
double lr_for(const support::Kind& is, double curvature) {
  if (is.sgd && is.momentum && !is.dampened) return 0.03 / curvature;
  if (is.sgd) return 0.3 / curvature;
  if (is.adagrad) return 0.3;
  if (is.rmsprop && is.momentum && !is.centered) return 1e-3;
  return 1e-2;
}

}  // namespace

TEST_CASE("Theorem: every optimizer solves lasso, elastic net and L1-logistic regression",
          "[theorem]") {
  struct Case {
    const char* name;
    bool logistic;
    double l1, l2;
  };
  const double spread = 4;
  for (const auto& [problem_name, logistic, l1, l2] :
       {Case{"lasso", false, 0.3, 0}, Case{"elastic net", false, 0.2, 0.1},
        Case{"logistic", true, 0.05, 0}}) {
    const Problem problem = make_problem(200, 20, spread, logistic);
    const Tensor solution = coordinate_descent(problem, l1, l2);
    const auto zeros = (solution == 0).sum().item<int64_t>();
    REQUIRE(zeros > 5);
    REQUIRE(zeros < 18);
    for (const auto& optimizer_case : optimizer_cases()) {
      for (const int64_t memory : {0, 256}) {
        CAPTURE(problem_name, optimizer_case.name, memory);
        Run run;
        run.memory = memory;
        // LibTorch's own centered RMSprop gives NaN after some 3000 steps of a constant gradient,
        // where square_avg - grad_avg^2 is rounded to less than zero.
        if (optimizer_case.is.centered) run.steps = 2500;
        const double curvature = logistic ? 0.1 * spread * spread : spread * spread;
        const Tensor w = train(problem, optimizer_case, ElasticNet(l1, l2),
                               lr_for(optimizer_case.is, curvature), run);
        if (!optimizer_case.is.settles) {
          REQUIRE(w.isfinite().all().item<bool>());
          continue;
        }
        CAPTURE(distance(w, solution));
        REQUIRE(same_support(w, solution));
        REQUIRE(distance(w, solution) < 1e-6);
      }
    }
  }
}

TEST_CASE("Theorem: every optimizer solves group lasso and sparse group lasso", "[theorem]") {
  const Problem problem = make_problem(200, 20, 4);
  const double step = 1 / torch::linalg_eigvalsh(problem.gram).max().item<double>();
  for (const auto& [l1, group] : {std::pair{0.0, 0.2}, {0.1, 0.12}}) {
    // Proximal gradient descent with the textbook's prox, to machine precision.
    Tensor solution = torch::zeros({5, 4}, torch::kDouble);
    for (int k = 0; k < 60000; ++k) {
      const Tensor moved = solution - step * problem.gradient(solution.view(-1)).view({5, 4});
      const Tensor soft = moved.sign() * (moved.abs() - step * l1).clamp_min(0);
      const Tensor norm = soft.norm(2, 1, true);
      solution = soft * (1 - 2 * step * group / norm).clamp_min(0).masked_fill(norm == 0, 0);
    }
    solution = solution.view(-1);
    const auto zero_groups = (solution.view({5, 4}) == 0).all(1).sum().item<int64_t>();
    REQUIRE(zero_groups >= 1);
    REQUIRE(zero_groups <= 3);
    for (const auto& optimizer_case : optimizer_cases()) {
      for (const int64_t memory : {0, 256}) {
        CAPTURE(l1, optimizer_case.name, memory);
        Run run;
        run.memory = memory;
        if (optimizer_case.is.centered) run.steps = 2500;
        const Tensor w = train(problem, optimizer_case, SparseGroupLasso(l1, group, runs(4)),
                               lr_for(optimizer_case.is, 16), run);
        if (!optimizer_case.is.settles) {
          REQUIRE(w.isfinite().all().item<bool>());
          continue;
        }
        CAPTURE(distance(w, solution));
        REQUIRE(same_support(w, solution));
        REQUIRE(distance(w, solution) < 1e-6);
      }
    }
  }
}

TEST_CASE("Theorem: the adaptive lasso by factors is the lasso of scaled columns", "[theorem]") {
  const Problem problem = make_problem(200, 20, 4);
  const Tensor factors = torch::rand({20}, torch::kDouble) + 0.5;
  Problem scaled = problem;  // w_j = v_j / factor_j: another solver's own way
  scaled.x = problem.x / factors;
  scaled.gram = scaled.x.t().mm(scaled.x) / 200;
  scaled.correlation = scaled.x.t().mv(scaled.y) / 200;
  const Tensor solution = coordinate_descent(scaled, 0.2, 0) / factors;
  for (const auto& optimizer_case : optimizer_cases()) {
    if (!optimizer_case.is.settles || !optimizer_case.is.common) continue;
    CAPTURE(optimizer_case.name);
    const auto penalty = L1(0.2).scaled_by([&](const Parameter&) { return factors; });
    const Tensor w = train(problem, optimizer_case, penalty, lr_for(optimizer_case.is, 16), Run());
    REQUIRE(same_support(w, solution));
    REQUIRE(distance(w, solution) < 1e-6);
  }
}

TEST_CASE("Theorem: clipped gradients with their scale reach the same minimizer", "[theorem]") {
  const Problem problem = make_problem(200, 20, 4);
  const Tensor solution = coordinate_descent(problem, 0.3, 0);
  for (const auto& optimizer_case : optimizer_cases()) {
    if (!optimizer_case.is.settles) continue;
    for (const int64_t memory : {0, 256}) {
      CAPTURE(optimizer_case.name, memory);
      Run run;
      run.memory = memory;
      run.max_norm = 0.5;
      run.steps = 20000;  // small gradients go slowly under SGD
      if (optimizer_case.is.centered) run.steps = 2500;
      const double lr = lr_for(optimizer_case.is, 16);
      const Tensor w = train(problem, optimizer_case, L1(0.3), lr, run);
      CAPTURE(distance(w, solution));
      REQUIRE(same_support(w, solution));
      REQUIRE(distance(w, solution) < 1e-6);
      run.tells_scale = false;
      run.steps = 2500;
      REQUIRE(distance(train(problem, optimizer_case, L1(0.3), lr, run), solution) > 0.1);
    }
  }
}

TEST_CASE("Theorem: a call after every fifth step reaches the solution where steps are counted",
          "[theorem]") {
  const Problem problem = make_problem(200, 20, 4);
  const Tensor solution = coordinate_descent(problem, 0.3, 0);
  for (const auto& optimizer_case : optimizer_cases()) {
    if (!optimizer_case.is.settles || optimizer_case.is.sgd) continue;
    CAPTURE(optimizer_case.name);
    Run run;
    run.steps_a_call = 5;
    if (optimizer_case.is.centered) run.steps = 2500;
    const Tensor w = train(problem, optimizer_case, L1(0.3), lr_for(optimizer_case.is, 16), run);
    CAPTURE(distance(w, solution));
    REQUIRE(same_support(w, solution));
    REQUIRE(distance(w, solution) < 5e-3);
  }
}

TEST_CASE("Theorem: coefficients of inputs that are always zero are zero in the end", "[theorem]") {
  Problem problem = make_problem(200, 20, 4);
  const std::vector<int64_t> dark = {0, 7, 19};
  for (const int64_t j : dark) problem.x.select(1, j).zero_();
  problem.gram = problem.x.t().mm(problem.x) / 200;
  problem.correlation = problem.x.t().mv(problem.y) / 200;
  const Tensor solution = coordinate_descent(problem, 0.3, 0);
  for (const int64_t j : dark) REQUIRE(solution[j].item<double>() == 0);
  for (const auto& optimizer_case : optimizer_cases()) {
    if (!optimizer_case.is.settles) continue;
    for (const int64_t memory : {0, 256}) {
      CAPTURE(optimizer_case.name, memory);
      Run run;
      run.memory = memory;
      run.start = 0.2;
      if (optimizer_case.is.centered) run.steps = 2500;
      const Tensor w = train(problem, optimizer_case, L1(0.3), lr_for(optimizer_case.is, 16), run);
      CAPTURE(distance(w, solution));
      REQUIRE(same_support(w, solution));
      REQUIRE(distance(w, solution) < 1e-6);
    }
  }
}

TEST_CASE("Theorem: under minibatch noise the support is the solution's, and stays", "[theorem]") {
  const Problem problem = make_problem(2000, 50, 1);
  const double l1 = 0.3;
  const Tensor solution = coordinate_descent(problem, l1, 0);
  const auto support_size = (solution != 0).sum().item<int64_t>();
  REQUIRE(support_size == 4);
  for (const auto& optimizer_case : optimizer_cases()) {
    if (!optimizer_case.is.settles) continue;
    CAPTURE(optimizer_case.name);
    torch::manual_seed(11);
    const Tensor w = torch::zeros({50}, torch::kDouble).requires_grad_();
    const double lr = contains(optimizer_case.name, "Adagrad") ? 0.3 : 5e-3;
    const auto optimizer = optimizer_case.make({w}, lr);
    ProximalStep prox(*optimizer, w, L1(l1));
    const int steps = 8000;
    int64_t changes = 0, wrong = 0;
    Tensor support = w.detach() != 0;
    for (int t = 0; t < steps; ++t) {
      const Tensor rows = torch::randint(2000, {8}, torch::kLong);
      {
        torch::NoGradGuard no_grad;
        w.mutable_grad() = problem.gradient_of_batch(w, rows);
      }
      optimizer->step();
      prox.step();
      const Tensor now = w.detach() != 0;
      if (t >= steps / 2) {
        changes += (now != support).sum().item<int64_t>();
        wrong += (now != (solution != 0)).sum().item<int64_t>();
      }
      support = now;
    }
    CAPTURE(changes, wrong);
    REQUIRE(same_support(w.detach(), solution));
    REQUIRE(changes < 0.05 * steps / 2);
    REQUIRE(wrong < 0.05 * steps / 2);
  }
}

TEST_CASE("Theorem: coupled weight decay with a prox L1 is the elastic net", "[theorem]") {
  const Problem problem = make_problem(200, 20, 4);
  const double l1 = 0.2, l2 = 0.1;
  const Tensor solution = coordinate_descent(problem, l1, l2);
  for (const auto& optimizer_case : optimizer_cases()) {
    if (!optimizer_case.is.settles || optimizer_case.is.adamw) continue;
    CAPTURE(optimizer_case.name);
    Run run;
    if (optimizer_case.is.centered) run.steps = 2500;
    const Tensor w = train(problem, optimizer_case, L1(l1), lr_for(optimizer_case.is, 16), run, l2);
    CAPTURE(distance(w, solution));
    REQUIRE(same_support(w, solution));
    REQUIRE(distance(w, solution) < 1e-6);
  }
}

TEST_CASE("Theorem: the term of the loss approaches the same minimizer as the prox", "[theorem]") {
  const Problem problem = make_problem(200, 20, 4);
  const ElasticNet penalty(0.2, 0.1);
  const Tensor solution = coordinate_descent(problem, 0.2, 0.1);
  for (const auto& optimizer_case : optimizer_cases()) {
    if (!optimizer_case.is.settles || optimizer_case.is.centered) continue;
    CAPTURE(optimizer_case.name);
    const Tensor w = torch::zeros({20}, torch::kDouble).requires_grad_();
    const double lr = lr_for(optimizer_case.is, 16);
    const auto optimizer = optimizer_case.make({w}, lr);
    const int steps = 5000;
    for (int t = 0; t < steps; ++t) {
      support::set_lr(*optimizer, lr * std::pow(1e-5, std::max(0.0, 2.0 * t / steps - 1)));
      optimizer->zero_grad();
      penalty(w).backward();
      torch::NoGradGuard no_grad;
      w.mutable_grad() += problem.gradient(w);
      optimizer->step();
    }
    CAPTURE(distance(w.detach(), solution));
    REQUIRE(distance(w.detach(), solution) < 1e-3);
    REQUIRE((w == 0).sum().item<int64_t>() == 0);  // near, and never at zero
  }
}

TEST_CASE("Theorem: two parameter groups of different learning rates reach one solution",
          "[theorem]") {
  const Problem problem = make_problem(200, 20, 4);
  const Tensor solution = coordinate_descent(problem, 0.3, 0);
  const Tensor a = torch::zeros({8}, torch::kDouble).requires_grad_();
  const Tensor b = torch::zeros({12}, torch::kDouble).requires_grad_();
  std::vector<optim::OptimizerParamGroup> groups;
  groups.emplace_back(std::vector<Tensor>{a},
                      std::make_unique<optim::SGDOptions>(optim::SGDOptions(0.02).momentum(0.5)));
  groups.emplace_back(std::vector<Tensor>{b}, std::make_unique<optim::SGDOptions>(0.005));
  optim::SGD sgd(groups, optim::SGDOptions(0.1));
  ProximalStep prox(sgd, {a, b}, L1(0.3));
  for (int t = 0; t < 20000; ++t) {
    const Tensor gradient = problem.gradient(torch::cat({a, b}).detach());
    a.mutable_grad() = gradient.slice(0, 0, 8);
    b.mutable_grad() = gradient.slice(0, 8);
    sgd.step();
    prox.step();
  }
  const Tensor w = torch::cat({a, b}).detach();
  CAPTURE(distance(w, solution));
  REQUIRE(same_support(w, solution));
  REQUIRE(distance(w, solution) < 1e-6);
}

TEST_CASE("Theorem: a schedule of lambda ends at the last lambda's solution, up or down",
          "[theorem]") {
  const Problem problem = make_problem(200, 20, 4);
  const Tensor solution = coordinate_descent(problem, 0.3, 0);
  for (const double first : {0.0, 2.0}) {
    for (const auto& optimizer_case : optimizer_cases()) {
      if (!optimizer_case.is.common) continue;
      CAPTURE(first, optimizer_case.name);
      const Tensor w = torch::zeros({20}, torch::kDouble).requires_grad_();
      const double lr = lr_for(optimizer_case.is, 16);
      const auto optimizer = optimizer_case.make({w}, lr);
      ProximalStep prox(*optimizer, w, L1(first));
      const int steps = 6000;
      for (int t = 0; t < steps; ++t) {
        prox.penalty().formula().lambda = first + (0.3 - first) * std::min(1.0, 3.0 * t / steps);
        support::set_lr(*optimizer, lr * std::pow(1e-9, std::max(0.0, 3.0 * t / steps - 2)));
        {
          torch::NoGradGuard no_grad;
          w.mutable_grad() = problem.gradient(w);
        }
        optimizer->step();
        prox.step();
      }
      CAPTURE(distance(w.detach(), solution));
      REQUIRE(same_support(w.detach(), solution));
      REQUIRE(distance(w.detach(), solution) < 1e-6);
    }
  }
}

TEST_CASE("Theorem: every(3) with momentum reaches the same solution", "[theorem]") {
  const Problem problem = make_problem(200, 20, 4);
  const Tensor solution = coordinate_descent(problem, 0.3, 0);
  for (const auto& optimizer_case : optimizer_cases()) {
    if (!optimizer_case.is.common || optimizer_case.is.rmsprop) continue;
    CAPTURE(optimizer_case.name);
    const Tensor w = torch::zeros({20}, torch::kDouble).requires_grad_();
    const double lr = lr_for(optimizer_case.is, 16);
    const auto optimizer = optimizer_case.make({w}, lr);
    ProximalStep prox(*optimizer, w, L1(0.3));
    prox.options().every(3);
    const int steps = 9000;
    for (int t = 0; t < steps; ++t) {
      support::set_lr(*optimizer, lr * std::pow(1e-7, std::max(0.0, 2.0 * t / steps - 1)));
      {
        torch::NoGradGuard no_grad;
        w.mutable_grad() = problem.gradient(w);
      }
      optimizer->step();
      prox.step();
    }
    prox.flush();
    CAPTURE(distance(w.detach(), solution));
    REQUIRE(same_support(w.detach(), solution));
    REQUIRE(distance(w.detach(), solution) < 1e-3);
  }
}

TEST_CASE("Limits: strong noise at a constant learning rate holds entries that should leave zero",
          "[theorem]") {
  const double lambda = 0.1, lr = 0.01;
  const auto zeros = [&](double lr_end) {
    torch::manual_seed(12);
    const Tensor gradient_at_zero = (2 + torch::rand({1000}, torch::kDouble)) * lambda;
    const Tensor w = torch::zeros({1000}, torch::kDouble).requires_grad_();
    optim::SGD sgd({w}, optim::SGDOptions(lr).momentum(0.9));
    ProximalStep prox(sgd, w, L1(lambda));
    const int steps = 20000;
    double sum = 0;
    for (int t = 0; t < steps; ++t) {
      support::set_lr(sgd, lr * std::pow(lr_end, std::max(0.0, 2.0 * t / steps - 1)));
      const Tensor noise = 10 * lambda * torch::randn({1000}, torch::kDouble);
      w.mutable_grad() = w.detach() - gradient_at_zero + noise;
      sgd.step();
      prox.step();
      if (t >= steps * 9 / 10) sum += static_cast<double>(sparsity(w).zeros);
    }
    return sum / (steps / 10) / 1000;
  };
  REQUIRE(zeros(1) == Approx(2 / 3.0).margin(0.05));
  REQUIRE(zeros(0.01) < 0.01);
}

TEST_CASE("Limits: rare gradients are too small for Adam, in a term as in a step", "[theorem]") {
  const auto trained = [](auto options, auto make, int gap, bool as_term) {
    const Tensor w = torch::zeros({1}, torch::kDouble).requires_grad_();
    const auto optimizer = make(w, options);
    const double lambda = 0.5 / gap, lr = options.lr();
    ProximalStep prox(*optimizer, w, L1(lambda));
    const int steps = std::max(200000, 60 * gap);
    double sum = 0;
    for (int t = 0; t < steps; ++t) {
      support::set_lr(*optimizer, lr * std::pow(1e-3, std::max(0.0, 2.0 * t / steps - 1)));
      Tensor gradient = t % gap == 0 ? w.detach() - 1 : torch::zeros_like(w);
      if (as_term) gradient = gradient + lambda * w.detach().sign();
      w.mutable_grad() = gradient;
      optimizer->step();
      if (!as_term) prox.step();
      if (t >= steps * 9 / 10) sum += w.item<double>();
    }
    return sum / (steps / 10);
  };
  const auto adam = [](const Tensor& w, const optim::AdamOptions& options) {
    return std::make_unique<optim::Adam>(std::vector<Tensor>{w}, options);
  };
  const auto sgd = [](const Tensor& w, const optim::SGDOptions& options) {
    return std::make_unique<optim::SGD>(std::vector<Tensor>{w}, options);
  };
  const auto rmsprop = [](const Tensor& w, const optim::RMSpropOptions& options) {
    return std::make_unique<optim::RMSprop>(std::vector<Tensor>{w}, options);
  };
  for (const auto& [gap, expected] : {std::pair{300, 0.47}, {2000, 0.14}, {6000, 0.0}}) {
    CAPTURE(gap);
    const double by_step = trained(optim::AdamOptions(1e-3), adam, gap, false);
    REQUIRE(by_step == Approx(expected).margin(0.01));
    if (gap > 300) continue;
    REQUIRE(trained(optim::AdamOptions(1e-3), adam, gap, true) == Approx(by_step).margin(0.01));
    REQUIRE(trained(optim::RMSpropOptions(1e-3), rmsprop, gap, false) < 0.01);
  }
  REQUIRE(trained(optim::SGDOptions(0.1), sgd, 300, false) == Approx(0.5).margin(0.01));
}
