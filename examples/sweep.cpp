// Accuracy against zeros for 8 lambdas: the term of the loss, the textbook prox, and the memory
#include <torch/torch.h>
#include <torchreg/torchreg.hpp>

#include <CLI/CLI.hpp>

#include <cstdio>
#include <fstream>
#include <string>

#include "images.hpp"

struct Way {
  const char* name;
  bool is_term;
  int64_t memory;
};

int main(int argc, char** argv) {
  std::string folder = FASHION_MNIST, log_path;
  int64_t images = 20000, epochs = 6;
  uint64_t seeds = 3;
  CLI::App app("784-200-200-10 on Fashion-MNIST, L1 in three ways, 8 lambdas, some seeds");
  app.option_defaults()->always_capture_default();
  app.add_option("--data", folder, "folder with the four uncompressed idx files");
  app.add_option("--images", images, "train on the first so many")->check(CLI::Range(64, 60000));
  app.add_option("--epochs", epochs)->check(CLI::Range(1, 1000000));
  app.add_option("--seeds", seeds)->check(CLI::Range(1, 1000000));
  app.add_option("--log", log_path, "CSV file, for plot.py");
  CLI11_PARSE(app, argc, argv);
  std::ofstream log(log_path);
  if (!log_path.empty() && !log) {
    std::fprintf(stderr, "--log: cannot write %s\n", log_path.c_str());
    return 1;
  }

  const Images train = load_images(folder, true, images), test = load_images(folder, false, 10000);
  log << "way,strength,seed,zeros,test_accuracy\n";
  std::printf("%-10s%9s%9s%11s   (means of %d seeds)\n", "", "lambda", "zeros", "accuracy",
              static_cast<int>(seeds));
  for (const Way& way :
       {Way{"term", true, 0}, Way{"textbook", false, 0}, Way{"memory", false, 256}}) {
    for (const double lambda : {1e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2}) {
      double zeros = 0, accuracy = 0;
      for (uint64_t seed = 0; seed < seeds; ++seed) {
        torch::manual_seed(seed);
        auto model = make_mlp();
        torch::optim::Adam adam(model->parameters(), 1e-3);
        const torchreg::L1 l1(lambda);
        torchreg::ProximalStep prox(adam, model, l1);
        prox.options().memory(way.memory);
        for (int64_t epoch = 0; epoch < epochs; ++epoch) {
          train_epoch(
              model, adam, train,
              [&](const torch::Tensor& loss) {
                loss.backward();
                if (way.is_term) l1.add_gradient_(model);
              },
              [&] {
                if (!way.is_term) prox.step();
              });
        }
        const double z = torchreg::sparsity(prox.parameters()).fraction();
        const double right = accuracy_on(model, test);
        log << way.name << "," << lambda << "," << seed << "," << z << "," << right << std::endl;
        zeros += z / static_cast<double>(seeds);
        accuracy += right / static_cast<double>(seeds);
      }
      std::printf("%-10s%9.0e%9.3f%11.4f\n", way.name, lambda, zeros, accuracy);
      std::fflush(stdout);
    }
  }
}
