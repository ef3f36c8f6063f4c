// One lasso, six optimizers, three ways to apply L1: which find the zeros and the solution
#include <torch/torch.h>
#include <torchreg/torchreg.hpp>

#include <cmath>
#include <cstdio>
#include <fstream>
#include <functional>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

using torch::Tensor;

constexpr double lambda = 0.1;

struct Data {
  Tensor x, y;
};

// The columns are brought to mean 0 and variance 1; the last one is y.
Data load_diabetes(const std::string& folder) {
  std::ifstream file(folder + "/diabetes.csv");
  TORCH_CHECK(file, "cannot read ", folder, "/diabetes.csv");
  std::vector<double> numbers;
  std::string line, cell;
  std::getline(file, line);  // the names
  while (std::getline(file, line)) {
    std::istringstream cells(line);
    while (std::getline(cells, cell, ',')) numbers.push_back(std::stod(cell));
  }
  Tensor table = torch::tensor(numbers, torch::kDouble).view({-1, 11});
  table = (table - table.mean(0)) / table.std(0, /*unbiased=*/false);
  return {table.slice(1, 0, 10), table.slice(1, 10)};
}

// The lasso itself, argmin (1/(2n)) |y - Xw|² + lambda |w|₁, one coefficient after the other.
Tensor coordinate_descent(const Data& data) {
  const double n = static_cast<double>(data.x.size(0));
  const Tensor gram = data.x.t().mm(data.x) / n;  // ones on the diagonal
  const Tensor correlation = data.x.t().mv(data.y.squeeze(1)) / n;
  Tensor w = torch::zeros_like(correlation);
  for (int sweep = 0; sweep < 300; ++sweep) {
    for (int64_t j = 0; j < w.size(0); ++j) {
      const double r = (correlation[j] - gram[j].dot(w) + w[j]).item<double>();
      w[j] = std::copysign(std::fmax(std::fabs(r) - lambda, 0.0), r);
    }
  }
  return w;
}

using Optimizer = std::unique_ptr<torch::optim::Optimizer>;

struct Recipe {
  const char* name;
  std::function<Optimizer(const std::vector<Tensor>&, double lr_factor)> make;
};

template <class Algorithm, class Options>
Recipe recipe(const char* name, const Options& options) {
  return {name, [options](const std::vector<Tensor>& parameters, double lr_factor) {
            Options scaled = options;
            scaled.lr(options.lr() * lr_factor);
            return std::make_unique<Algorithm>(parameters, scaled);
          }};
}

const std::vector<Recipe> recipes = {
    recipe<torch::optim::SGD>("SGD", torch::optim::SGDOptions(0.1)),
    recipe<torch::optim::SGD>("SGD, momentum 0.9", torch::optim::SGDOptions(0.01).momentum(0.9)),
    recipe<torch::optim::Adagrad>("Adagrad", torch::optim::AdagradOptions(0.2)),
    recipe<torch::optim::RMSprop>("RMSprop", torch::optim::RMSpropOptions(0.01)),
    recipe<torch::optim::Adam>("Adam", torch::optim::AdamOptions(0.02)),
    // AdamW decays by 0.01 if it is not told otherwise, and that is part of no objective.
    recipe<torch::optim::AdamW>("AdamW", torch::optim::AdamWOptions(0.02).weight_decay(0)),
};

struct Setting {
  const char* title;
  int64_t batch, epochs, halve_lr_every;
  double lr_factor;
};

// The default memory of ProximalStep, 256 steps, is under a tenth of either run.
const std::vector<Setting> settings = {
    {"full batch, 3000 steps, decaying lr", 442, 3000, 300, 1.0},
    {"batches of 8, 3360 steps, constant lr, whose noise stays in the distance", 8, 60, 60, 0.1},
};

enum class Way { loss_term, threshold, proximal_step };  // threshold: as often written by hand

Tensor train(const Data& data, const Recipe& recipe, const Setting& setting, Way way) {
  torch::manual_seed(1);
  torch::nn::Linear model(torch::nn::LinearOptions(10, 1).bias(false));
  model->to(torch::kDouble);
  const Optimizer optimizer = recipe.make(model->parameters(), setting.lr_factor);
  torch::optim::StepLR schedule(*optimizer, static_cast<unsigned>(setting.halve_lr_every), 0.5);

  const torchreg::L1 l1(lambda);
  torchreg::ProximalStep prox(*optimizer, model, l1);
  for (int64_t epoch = 0; epoch < setting.epochs; ++epoch) {
    const Tensor order = torch::randperm(data.x.size(0));
    const auto xs = data.x.index_select(0, order).split(setting.batch);
    const auto ys = data.y.index_select(0, order).split(setting.batch);
    for (size_t i = 0; i < xs.size(); ++i) {
      optimizer->zero_grad();
      Tensor loss = 0.5 * torch::mse_loss(model(xs[i]), ys[i]);
      if (way == Way::loss_term) loss = loss + l1(model);
      loss.backward();
      optimizer->step();
      if (way == Way::proximal_step) prox.step();
      if (way == Way::threshold) {
        const double lr = optimizer->param_groups().front().options().get_lr();
        torchreg::soft_threshold_(model->weight, lr * lambda);
      }
    }
    schedule.step();
  }
  return model->weight.detach().flatten();
}

// Prints the exact zeros of w and its relative distance; tells whether the zeros are the lasso's.
bool print_cell(const Tensor& w, const Tensor& lasso) {
  const bool same_zeros = torch::equal(w == 0, lasso == 0);
  std::printf("%11d%c%10.1e", (w == 0).sum().item<int>(), same_zeros ? '*' : ' ',
              ((w - lasso).norm() / lasso.norm()).item<double>());
  std::fflush(stdout);
  return same_zeros;
}

int main(int argc, char** argv) {
  torch::set_num_threads(1);  // the tensors are too small for more
  const Data data = load_diabetes(argc > 1 ? argv[1] : TORCHREG_EXAMPLE_DATA);
  const Tensor lasso = coordinate_descent(data);
  std::printf(
      "The lasso, lambda %g: %d of %d coefficients are zero.\n"
      "Exact zeros (* the lasso's own) and relative distance to the lasso:\n",
      lambda, (lasso == 0).sum().item<int>(), static_cast<int>(lasso.numel()));

  bool promise_kept = true;
  for (const Setting& setting : settings) {
    std::printf("\n%s\n%-20s%22s%22s%22s\n", setting.title, "", "term of the loss",
                "threshold lr*lambda", "ProximalStep");
    for (const Recipe& recipe : recipes) {
      std::printf("  %-18s", recipe.name);
      print_cell(train(data, recipe, setting, Way::loss_term), lasso);
      print_cell(train(data, recipe, setting, Way::threshold), lasso);
      promise_kept &= print_cell(train(data, recipe, setting, Way::proximal_step), lasso);
      std::printf("\n");
    }
  }
  return promise_kept ? 0 : 1;
}
