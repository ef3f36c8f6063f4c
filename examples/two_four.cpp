// Two of four weights at zero, as GPUs want them: TopK on an MLP, accuracy before and after
#include <torch/torch.h>
#include <torchreg/torchreg.hpp>

#include <CLI/CLI.hpp>

#include <cstdio>
#include <string>

#include "images.hpp"

int main(int argc, char** argv) {
  std::string folder = FASHION_MNIST;
  int64_t images = 20000, epochs = 3;
  CLI::App app("784-200-200-10 on Fashion-MNIST, two of each four weights at zero");
  app.option_defaults()->always_capture_default();
  app.add_option("--data", folder, "folder with the four uncompressed idx files");
  app.add_option("--images", images, "train on the first so many")->check(CLI::Range(64, 60000));
  app.add_option("--epochs", epochs, "dense, and again with the constraint")
      ->check(CLI::Range(1, 1000000));
  CLI11_PARSE(app, argc, argv);

  torch::manual_seed(0);
  const Images train = load_images(folder, true, images), test = load_images(folder, false, 10000);
  auto model = make_mlp();
  const auto backward = [](const torch::Tensor& loss) { loss.backward(); };
  torch::optim::Adam adam(model->parameters(), torch::optim::AdamOptions(1e-3));
  for (int64_t epoch = 0; epoch < epochs; ++epoch) {
    train_epoch(model, adam, train, backward, [] {});
  }
  std::printf("dense                   %.4f\n", accuracy_on(model, test));

  const torchreg::TopK two_of_four(2, torchreg::runs(4));
  two_of_four.prox_(model, 1);
  std::printf("cut to 2:4 at once      %.4f\n", accuracy_on(model, test));

  torchreg::ProximalStep prox(adam, model, two_of_four);
  for (int64_t epoch = 0; epoch < epochs; ++epoch) {
    train_epoch(model, adam, train, backward, [&] { prox.step(); });
  }
  const torch::Tensor runs = model[0]->as<torch::nn::Linear>()->weight.view({-1, 4});
  const bool holds = ((runs != 0).sum(1) <= 2).all().item<bool>();
  std::printf("trained under 2:4       %.4f, %s\n", accuracy_on(model, test),
              holds ? "two of each four are zero" : "but more than two of four are not zero");
  return holds ? 0 : 1;
}
