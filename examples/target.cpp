// 90 % zeros without a lambda: TargetSparsity, a certificate, then a refit with the zeros held
#include <torch/torch.h>
#include <torchreg/torchreg.hpp>

#include <CLI/CLI.hpp>

#include <cstdio>
#include <string>

#include "images.hpp"

double fraction(int64_t part, int64_t whole) {
  return static_cast<double>(part) / static_cast<double>(whole);
}

int main(int argc, char** argv) {
  std::string folder = FASHION_MNIST;
  int64_t images = 20000, epochs = 5;
  double goal = 0.9;
  CLI::App app("784-200-200-10 on Fashion-MNIST with a given share of zeros");
  app.option_defaults()->always_capture_default();
  app.add_option("--data", folder, "folder with the four uncompressed idx files");
  app.add_option("--images", images, "train on the first so many")->check(CLI::Range(64, 60000));
  app.add_option("--epochs", epochs, "of the search; of the run with its lambda; of the refit")
      ->check(CLI::Range(1, 1000000));
  app.add_option("--target", goal, "fraction of zeros among the weights")
      ->check(CLI::Range(0.01, 0.99));
  CLI11_PARSE(app, argc, argv);

  torch::manual_seed(0);
  const Images train = load_images(folder, true, images);
  const Images test = load_images(folder, false, 10000);
  auto model = make_mlp();
  const auto backward = [](const torch::Tensor& loss) { loss.backward(); };
  torch::optim::Adam adam(model->parameters(), 1e-3);
  torchreg::ProximalStep prox(adam, model, torchreg::L1(1e-5));  // too small rather than too large
  torchreg::TargetSparsity target(prox, goal);

  std::printf("epoch   lambda    zeros   accuracy   entries that changed\n");
  torch::optim::StepLR decay(adam, 1, 0.5);
  torchreg::Support before(model);
  for (int64_t epoch = 1; epoch <= 2 * epochs; ++epoch) {
    if (epoch == epochs + 1) target.hold();  // from here on, one problem, and a falling rate
    if (epoch > epochs) decay.step();
    train_epoch(model, adam, train, backward, [&] { prox.step(), target.step(); });
    const torchreg::Support now(model);
    std::printf("%5d%9.1e%9.3f%11.4f%23d\n", static_cast<int>(epoch), 1e-5 * target.factor(),
                1 - fraction(now.nonzeros(), now.entries()), accuracy_on(model, test),
                static_cast<int>(before.changes(now)));
    before = now;
  }

  adam.zero_grad();
  loss_on(model, train).backward();
  const double lambda = 1e-5 * target.factor();
  std::printf("\nhow far from a solution, in units of lambda:\n");
  for (const auto& tensor : torchreg::stationarity(prox).tensors) {
    std::printf("  %-9s largest%8.2f, at zeros%8.2f\n", tensor.path.c_str(),
                tensor.largest / lambda, tensor.largest_at_zeros / lambda);
  }

  // The same zeros, without the shrinkage of L1.
  torch::optim::Adam again(model->parameters(), 2e-4);
  torchreg::ProximalStep refit(again, model, torchreg::FixedSupport(before));
  const double shrunk = accuracy_on(model, test);
  for (int64_t epoch = 1; epoch <= epochs; ++epoch) {
    train_epoch(model, again, train, backward, [&] { refit.step(); });
  }
  std::printf("\naccuracy %.4f with L1, %.4f after the refit with %d of %d weights\n", shrunk,
              accuracy_on(model, test), static_cast<int>(before.nonzeros()),
              static_cast<int>(before.entries()));
  return before.changes(torchreg::Support(model)) == 0 ? 0 : 1;
}
