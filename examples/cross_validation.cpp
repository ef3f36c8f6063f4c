// Which lambda? An MLP with none, L1 and L2, by 5-fold cross-validation below lambda_max
#include <torch/torch.h>
#include <torchreg/torchreg.hpp>

#include <CLI/CLI.hpp>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include "images.hpp"

struct Score {
  double accuracy = 0, zeros = 0;
};

// How long the rest will take, on the terminal.
class Progress {
 public:
  explicit Progress(int64_t total) : total_(total) {}
  void advance() {
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start_;
    ++done_;
    const double left =
        spent.count() * static_cast<double>(total_ - done_) / static_cast<double>(done_);
    std::fprintf(stderr, "\r%3d of %d runs, %4.0f s left ", static_cast<int>(done_),
                 static_cast<int>(total_), left);
    if (done_ == total_) std::fprintf(stderr, "\n");
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  int64_t total_, done_ = 0;
};

// All three penalties are elastic nets. Returns accuracy on `test` and zeros of the weights.
Score train(const Images& images, const Images& test, double l1, double l2, int64_t epochs) {
  torch::manual_seed(0);
  auto model = make_mlp();
  torch::optim::Adam adam(model->parameters(), 1e-3);
  torchreg::ProximalStep prox(adam, model, torchreg::ElasticNet(l1, l2));
  for (int64_t epoch = 0; epoch < epochs; ++epoch) {
    train_epoch(
        model, adam, images, [](const torch::Tensor& loss) { loss.backward(); },
        [&] { prox.step(); });
  }
  return {accuracy_on(model, test), torchreg::sparsity(prox.parameters()).fraction()};
}

int main(int argc, char** argv) {
  std::string folder = FASHION_MNIST, log_path;
  int64_t count = 5000, epochs = 4;
  CLI::App app("none, L1 and L2 on Fashion-MNIST, lambda by 5-fold cross-validation");
  app.option_defaults()->always_capture_default();
  app.add_option("--data", folder, "folder with the four uncompressed idx files");
  app.add_option("--images", count, "of the first so many")->check(CLI::Range(64, 60000));
  app.add_option("--epochs", epochs)->check(CLI::Range(1, 1000000));
  app.add_option("--log", log_path, "CSV file with a line a run, for live.html");
  CLI11_PARSE(app, argc, argv);
  std::ofstream log(log_path);
  if (!log_path.empty() && !log) {
    std::fprintf(stderr, "--log: cannot write %s\n", log_path.c_str());
    return 1;
  }

  const Images all = load_images(folder, true, count), test = load_images(folder, false, 10000);
  torch::manual_seed(0);
  auto fresh = make_mlp();
  loss_on(fresh, all).backward();
  const double most = torchreg::lambda_max(fresh, torchreg::L1(1));
  std::printf("lambda_max at the first weights %.4f\n", most);

  const std::vector<double> shares{1, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001};
  const auto folds = torch::randperm(count).chunk(5);
  Progress progress(5 * (2 * static_cast<int64_t>(shares.size()) + 1));
  int run = 0;
  log << "run,accuracy,zeros\n";
  const auto validate = [&](double l1, double l2) {
    Score mean;
    for (std::size_t held = 0; held < folds.size(); ++held) {
      std::vector<torch::Tensor> others;
      for (std::size_t k = 0; k < folds.size(); ++k) {
        if (k != held) others.push_back(folds[k]);
      }
      const Score score =
          train(all.rows(torch::cat(others)), all.rows(folds[held]), l1, l2, epochs);
      mean.accuracy += score.accuracy / 5, mean.zeros += score.zeros / 5;
      log << ++run << "," << score.accuracy << "," << score.zeros << std::endl;
      progress.advance();
    }
    return mean;
  };

  const auto print = [](const char* name, double lambda, const Score& score) {
    std::printf("%-5s%12.6f%11.4f%9.3f\n", name, lambda, score.accuracy, score.zeros);
  };
  std::printf("\n           lambda   accuracy    zeros   (held out, mean of 5 folds)\n");
  const Score none = validate(0, 0);
  print("none", 0, none);
  double best_l1 = 0, best_l2 = 0, best_accuracy = none.accuracy;
  for (const bool is_l1 : {true, false}) {
    for (const double share : shares) {
      const double lambda = share * most;
      const Score score = is_l1 ? validate(lambda, 0) : validate(0, lambda);
      print(is_l1 ? "L1" : "L2", lambda, score);
      if (score.accuracy <= best_accuracy) continue;
      best_accuracy = score.accuracy;
      best_l1 = is_l1 ? lambda : 0, best_l2 = is_l1 ? 0 : lambda;
    }
  }
  const Score chosen = train(all, test, best_l1, best_l2, epochs);
  const Score without = train(all, test, 0, 0, epochs);
  const Score too_much = train(all, test, most, 0, epochs);
  std::printf("\non the test images: L1 %.6f, L2 %.6f: accuracy %.4f, zeros %.3f\n", best_l1,
              best_l2, chosen.accuracy, chosen.zeros);
  std::printf(
      "without a penalty %.4f; with L1 of lambda_max %.4f, as %.1f %% of the weights are zero:\n"
      "nothing passes through, and every image is taken for one class\n",
      without.accuracy, too_much.accuracy, 100 * too_much.zeros);
}
