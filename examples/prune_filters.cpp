// Which filters of a CNN are needed? Group lasso on filters with their bias and normalization
#include <torch/torch.h>
#include <torchreg/torchreg.hpp>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include "images.hpp"

int main(int argc, char** argv) {
  std::string folder = FASHION_MNIST, log_path;
  int64_t images = 10000, epochs = 4;
  std::vector<double> lambdas{0, 1e-3, 3e-3, 1e-2, 2e-2};
  CLI::App app("A CNN on Fashion-MNIST with fewer filters");
  app.option_defaults()->always_capture_default();
  app.add_option("--data", folder, "folder with the four uncompressed idx files");
  app.add_option("--images", images, "train on the first so many")->check(CLI::Range(64, 60000));
  app.add_option("--epochs", epochs, "passes over them, for each lambda")
      ->check(CLI::Range(1, 1000000));
  app.add_option("--lambda", lambdas, "strengths of the group lasso")->check(CLI::Range(0.0, 1e6));
  app.add_option("--log", log_path, "CSV file with a line for each lambda");
  CLI11_PARSE(app, argc, argv);

  // A filter is zero where its weights, its bias, and the scale and shift behind it are.
  const torchreg::Links filters = torchreg::chain(make_cnn());
  std::ofstream log = open_log(log_path);
  const Images train = load_images(folder, true, images);
  const Images test = load_images(folder, false, std::min<int64_t>(images, 10000));
  log << "lambda,dead_1,dead_2,accuracy\n";
  std::printf("  lambda   dead of 16   dead of 32   accuracy\n");
  int64_t most = 0;
  for (const double lambda : lambdas) {
    torch::manual_seed(0);
    auto model = make_cnn();
    torch::optim::Adam adam(model->parameters(), torch::optim::AdamOptions(2e-3));
    torchreg::ProximalStep prox(adam, model, torchreg::GroupLasso(lambda, filters));
    for (int64_t epoch = 0; epoch < epochs; ++epoch) {
      model->train();
      train_epoch(
          model, adam, train, [](const torch::Tensor& loss) { loss.backward(); },
          [&] { prox.step(); });
    }
    model->eval();
    const auto dead = torchreg::sparsity(model, filters).tensors;
    const double accuracy = accuracy_on(model, test);
    std::printf("%8.0e%13d%13d%11.4f\n", lambda, static_cast<int>(dead[0].zero_groups),
                static_cast<int>(dead[1].zero_groups), accuracy);
    log << lambda << "," << dead[0].zero_groups << "," << dead[1].zero_groups << "," << accuracy
        << "\n";
    most = std::max(most, dead[0].zero_groups + dead[1].zero_groups);
  }
  return most > 0 ? 0 : 1;
}
