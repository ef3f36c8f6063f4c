// The solutions that scikit-learn and glmnet publish are reached, zeros included.
#include "catch.hpp"
#include "published/diabetes_groups.hpp"
#include "published/diabetes_solutions.hpp"

#include <torchreg/torchreg.hpp>

#include <cmath>

#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

namespace {

using published::Scaling;
using published::Solution;
using torch::Tensor;

// (1/(2n)) |y - X w|² = ½ wᵀ gram w - correlationᵀ w + constant
struct Problem {
  Tensor gram, correlation;
};

Tensor diabetes_table() {
  std::ifstream file(std::string(TORCHREG_EXAMPLE_DATA) + "/diabetes.csv");
  REQUIRE(file);
  std::vector<double> numbers;
  std::string line, cell;
  std::getline(file, line);
  while (std::getline(file, line)) {
    std::istringstream cells(line);
    while (std::getline(cells, cell, ',')) numbers.push_back(std::stod(cell));
  }
  REQUIRE(numbers.size() == 442 * 11);
  return torch::tensor(numbers, torch::kDouble).view({442, 11});
}

Problem diabetes(Scaling scaling) {
  const Tensor table = diabetes_table();
  const Tensor centred = table - table.mean(0);
  Tensor x = centred.slice(1, 0, 10), y = centred.select(1, 10);
  if (scaling == Scaling::unit_norm) {
    x = x / x.square().sum(0).sqrt();
  } else {
    x = x / x.square().mean(0).sqrt();
    y = y / y.square().mean().sqrt();
  }
  return {x.t().mm(x) / 442, x.t().mv(y) / 442};
}

Tensor coordinate_descent(const Problem& problem, double l1, double l2) {
  const auto gram = problem.gram.accessor<double, 2>();
  const auto correlation = problem.correlation.accessor<double, 1>();
  Tensor solution = torch::zeros({10}, torch::kDouble);
  auto w = solution.accessor<double, 1>();
  for (int sweep = 0; sweep < 10000; ++sweep) {
    for (int64_t j = 0; j < 10; ++j) {
      double r = correlation[j];
      for (int64_t k = 0; k < 10; ++k) r -= k == j ? 0 : gram[j][k] * w[k];
      w[j] = r > l1 ? (r - l1) / (gram[j][j] + l2) : r < -l1 ? (r + l1) / (gram[j][j] + l2) : 0;
    }
  }
  return solution;
}

// A step that suits every scaling of the problem: 1 / trace is below 1 / (largest eigenvalue).
std::unique_ptr<torch::optim::Optimizer> make(const std::string& name, const Problem& problem,
                                              const Tensor& w) {
  const double step = 0.2 / problem.gram.trace().item<double>();
  const double steepest = problem.correlation.abs().max().item<double>();
  const std::vector<Tensor> parameters{w};
  if (name == "Adam")
    return std::make_unique<torch::optim::Adam>(parameters,
                                                torch::optim::AdamOptions(step * steepest));
  return std::make_unique<torch::optim::SGD>(parameters,
                                             torch::optim::SGDOptions(step).momentum(0.9));
}

template <class Penalty>
Tensor proximal_descent(const std::string& optimizer_name, const Problem& problem,
                        const Penalty& penalty) {
  const Tensor w = torch::zeros({10}, torch::dtype(torch::kDouble).requires_grad(true));
  const auto optimizer = make(optimizer_name, problem, w);
  torchreg::ProximalStep prox(*optimizer, w, penalty);
  for (int step = 0; step < 4000; ++step) {
    w.mutable_grad() = problem.gram.mv(w.detach()) - problem.correlation;
    optimizer->step();
    prox.step();
  }
  return w.detach();
}

double distance(const Tensor& w, const Tensor& expected) {
  return ((w - expected).norm() / expected.norm()).item<double>();
}

bool same_zeros(const Tensor& w, const Tensor& expected) {
  return torch::equal(w == 0, expected == 0);
}

}  // namespace

TEST_CASE("coordinate descent reaches the published lasso and elastic net", "[published]") {
  for (const Solution& solution : published::solutions) {
    CAPTURE(solution.call);
    const Tensor w = coordinate_descent(diabetes(solution.scaling), solution.l1, solution.l2);
    const Tensor expected = torch::tensor(solution.w, torch::kDouble);
    REQUIRE(distance(w, expected) < 1e-12);
    REQUIRE(same_zeros(w, expected));
  }
}

TEST_CASE("ProximalStep reaches the published lasso and elastic net", "[published]") {
  for (const Solution& solution : published::solutions) {
    for (const std::string optimizer : {"SGD with momentum", "Adam"}) {
      CAPTURE(solution.call, optimizer);
      const Problem problem = diabetes(solution.scaling);
      const Tensor w =
          proximal_descent(optimizer, problem, torchreg::ElasticNet(solution.l1, solution.l2));
      const Tensor expected = torch::tensor(solution.w, torch::kDouble);
      REQUIRE(distance(w, expected) < 1e-10);
      REQUIRE(same_zeros(w, expected));
    }
  }
}

TEST_CASE("ProximalStep reaches skglm's group lasso, sparse group lasso, MCP and SCAD",
          "[published]") {
  const Problem problem = diabetes(Scaling::standardized);
  const auto groups = torchreg::by(torch::tensor({0, 0, 1, 1, 2, 2, 2, 3, 3, 3}));
  for (const auto& [name, first, second, w] : published::of_groups) {
    const Tensor expected = torch::tensor(w, torch::kDouble);
    for (const std::string optimizer : {"SGD with momentum", "Adam"}) {
      CAPTURE(name, first, second, optimizer);
      const auto check = [&, name = name](const auto& penalty) {
        // Adam's steps grow beyond gamma where its gradients vanish, in full batch, and there the
        // prox does not rest in the concave part of MCP and SCAD.
        const bool is_convex = std::string(name).find("Lasso") != std::string::npos;
        if (optimizer == "Adam" && !is_convex) return;
        const Tensor found = proximal_descent(optimizer, problem, penalty);
        CAPTURE(found, expected);
        REQUIRE(distance(found, expected) < 1e-8);
        REQUIRE(same_zeros(found, expected));
      };
      const std::string penalty = name;
      if (penalty == "GroupLasso") check(torchreg::GroupLasso(second, groups));
      if (penalty == "SparseGroupLasso") check(torchreg::SparseGroupLasso(first, second, groups));
      if (penalty == "MCP") check(torchreg::MCP(first, second));
      if (penalty == "SCAD") check(torchreg::SCAD(first, second));
    }
  }
}

TEST_CASE("glmnet's elastic net has the ridge part over sd(y), scikit-learn's has not",
          "[published]") {
  // coef(glmnet(x, y, lambda = 0.5, alpha = 0.5, standardize = FALSE)) and
  // ElasticNet(alpha=0.5, l1_ratio=0.5).fit(x, y).coef_ of x = y = (-1, 0, 1)
  const Tensor x = torch::tensor({-1.0, 0.0, 1.0}, torch::kDouble);
  const double lambda = 0.5, alpha = 0.5, sd = std::sqrt(2.0 / 3);
  for (const auto& [penalty, expected] :
       {std::pair{torchreg::ElasticNet(lambda * alpha, lambda * (1 - alpha) / sd), 0.428294},
        std::pair{torchreg::ElasticNet::from_alpha(lambda, alpha), 0.454545}}) {
    const Tensor w = torch::zeros({1}, torch::dtype(torch::kDouble).requires_grad(true));
    torch::optim::SGD sgd({w}, torch::optim::SGDOptions(0.5));
    torchreg::ProximalStep prox(sgd, w, penalty);
    for (int step = 0; step < 200; ++step) {
      sgd.zero_grad();
      (0.5 * (x * w - x).square().mean()).backward();
      sgd.step();
      prox.step();
    }
    REQUIRE(w.item<double>() == Approx(expected).margin(1e-6));
  }
}
