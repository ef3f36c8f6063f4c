// The path of the lasso with Adam: 50 lambdas, a certificate at each, and glmnet's coefficients
#include <torch/torch.h>
#include <torchreg/torchreg.hpp>

#include <cmath>
#include <cstdio>
#include <fstream>
#include <string>

#include "table.hpp"

using torch::Tensor;

struct Lasso {
  Tensor x, y;
  torch::nn::Linear model{torch::nn::LinearOptions(10, 1).bias(false)};

  explicit Lasso(const Tensor& table) {
    const Tensor scaled = (table - table.mean(0)) / table.std(0, /*unbiased=*/false);
    x = scaled.slice(1, 0, 10);
    y = scaled.slice(1, 10);
    model->to(torch::kDouble);
    model->weight.detach().zero_();
  }

  void backward() {
    model->zero_grad();
    (0.5 * torch::mse_loss(model(x), y)).backward();
  }

  // From where the model is, until the certificate says that this is the solution.
  double solve(double lambda) {
    torch::optim::Adam adam(model->parameters(), torch::optim::AdamOptions(0.02));
    torch::optim::StepLR schedule(adam, 200, 0.5);
    torchreg::ProximalStep prox(adam, model, torchreg::L1(lambda));
    double distance = 1;
    for (int step = 1; step <= 6000 && distance > 1e-8; ++step) {
      backward();
      if (step % 50 == 1) distance = torchreg::stationarity(prox).largest;
      adam.step();
      prox.step();
      schedule.step();
    }
    return distance;
  }
};

int main(int argc, char** argv) {
  torch::set_num_threads(1);  // the tensors are too small for more
  const std::string folder = TORCHREG_EXAMPLE_DATA;
  Lasso lasso(read_table(folder + "/diabetes.csv", 11));
  lasso.backward();
  const double lambda_max = torchreg::lambda_max(lasso.model, torchreg::L1(1));
  std::printf("lambda_max %.6f: there, all coefficients are zero\n", lambda_max);

  std::ofstream log(argc > 1 ? argv[1] : "");
  log << "lambda,age,sex,bmi,bp,s1,s2,s3,s4,s5,s6\n";
  double worst = 0;
  std::printf("\n  lambda   non-zeros   certificate\n");
  for (int k = 0; k < 50; ++k) {
    const double lambda = lambda_max * std::pow(1000, -k / 49.0);
    const double distance = lasso.solve(lambda);
    worst = std::fmax(worst, distance);
    log << lambda;
    for (int j = 0; j < 10; ++j) log << "," << lasso.model->weight[0][j].item<double>();
    log << "\n";
    if (k % 7 == 0) {
      const auto alive = torchreg::Support(lasso.model).nonzeros();
      std::printf("%8.5f%12d%14.1e\n", lambda, static_cast<int>(alive), distance);
    }
  }
  std::printf("largest certificate on the path %.1e\n", worst);

  std::printf("\n  lambda   largest difference from glmnet's coefficients\n");
  const Tensor glmnet = read_table(folder + "/diabetes_glmnet.csv", 11);
  double farthest = 0;
  for (int64_t i = 0; i < glmnet.size(0); ++i) {
    const double lambda = glmnet[i][0].item<double>();
    worst = std::fmax(worst, lasso.solve(lambda));
    const Tensor difference = lasso.model->weight.detach()[0] - glmnet[i].slice(0, 1);
    std::printf("%8.5f%14.1e\n", lambda, difference.abs().max().item<double>());
    farthest = std::fmax(farthest, difference.abs().max().item<double>());
  }
  return worst < 1e-6 && farthest < 1e-6 ? 0 : 1;
}
