// A sparse MLP on Fashion-MNIST or MNIST: accuracy and zeros of each layer while it learns
#include <torch/torch.h>
#include <torchreg/torchreg.hpp>

#include <CLI/CLI.hpp>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <vector>

using torch::Tensor;
namespace data = torch::data;

struct Options {
  std::string data = FASHION_MNIST, log, penalty = "l1", way = "prox", optimizer = "adam";
  double lambda = 1e-4, lr = 1e-3;
  int64_t epochs = 6, batch = 64, images = 60000, memory = 256;
  uint64_t seed = 0;
};

void declare(CLI::App& app, Options& options) {
  app.option_defaults()->always_capture_default();
  app.add_option("--data", options.data, "folder with the four uncompressed idx files");
  app.add_option("--penalty", options.penalty, "on the weights, not the biases")
      ->check(CLI::IsMember({"none", "l1", "l2", "elastic-net"}));
  app.add_option("--lambda", options.lambda, "its strength")->check(CLI::Range(0.0, 1e6));
  app.add_option("--way", options.way, "proximal step or term of the loss")
      ->check(CLI::IsMember({"prox", "term"}));
  app.add_option("--optimizer", options.optimizer)
      ->check(CLI::IsMember({"sgd", "momentum", "adagrad", "rmsprop", "adam", "adamw"}));
  app.add_option("--lr", options.lr, "learning rate")->check(CLI::Range(0.0, 1e6));
  app.add_option("--epochs", options.epochs)->check(CLI::Range(1, 1000000));
  app.add_option("--batch", options.batch)->check(CLI::Range(1, 1000000));
  app.add_option("--images", options.images, "train on the first so many")
      ->check(CLI::Range(1, 60000));
  app.add_option("--memory", options.memory, "of the proximal step, in optimizer steps")
      ->check(CLI::Range(0, 1000000));
  app.add_option("--seed", options.seed);
  app.add_option("--log", options.log, "CSV file with a line an epoch, for plot.py");
}

/// Why the options cannot be followed; empty if they can.
std::string problem_with(const Options& options, const std::ofstream& log) {
  for (const char* part : {"train-images-idx3-ubyte", "train-labels-idx1-ubyte",
                           "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"}) {
    if (!std::ifstream(options.data + "/" + part)) {
      return "--data: no " + std::string(part) + " in " + options.data;
    }
  }
  return options.log.empty() || log ? "" : "--log: cannot write " + options.log;
}

torch::nn::Sequential make_model() {
  using namespace torch::nn;
  return Sequential({{"flatten", Flatten()},
                     {"fc1", Linear(784, 200)},
                     {"act1", LeakyReLU()},
                     {"drop1", Dropout(0.3)},
                     {"fc2", Linear(200, 200)},
                     {"act2", LeakyReLU()},
                     {"drop2", Dropout(0.4)},
                     {"fc3", Linear(200, 10)}});
}

std::unique_ptr<torch::optim::Optimizer> make_optimizer(const Options& options,
                                                        const std::vector<Tensor>& parameters) {
  using namespace torch::optim;
  const double lr = options.lr;
  if (options.optimizer == "sgd") return std::make_unique<SGD>(parameters, SGDOptions(lr));
  if (options.optimizer == "momentum")
    return std::make_unique<SGD>(parameters, SGDOptions(lr).momentum(0.9));
  if (options.optimizer == "adagrad")
    return std::make_unique<Adagrad>(parameters, AdagradOptions(lr));
  if (options.optimizer == "rmsprop")
    return std::make_unique<RMSprop>(parameters, RMSpropOptions(lr));
  if (options.optimizer == "adam") return std::make_unique<Adam>(parameters, AdamOptions(lr));
  // The decay of AdamW is part of no objective; the penalty takes its place.
  return std::make_unique<AdamW>(parameters, AdamWOptions(lr).weight_decay(0));
}

// All four are elastic nets.
torchreg::ElasticNet make_penalty(const Options& options) {
  if (options.penalty == "none") return torchreg::ElasticNet(0, 0);
  const std::map<std::string, double> l1_ratio{{"l1", 1}, {"l2", 0}, {"elastic-net", 0.5}};
  return torchreg::ElasticNet::from_alpha(options.lambda, l1_ratio.at(options.penalty));
}

data::datasets::MNIST read(const std::string& folder, data::datasets::MNIST::Mode mode) {
  try {
    return data::datasets::MNIST(folder, mode);
  } catch (const c10::Error& error) {  // no such files, or damaged ones
    std::cerr << "--data: " << folder << ": " << error.what_without_backtrace() << "\n";
    std::exit(EXIT_FAILURE);
  }
}

auto load(const std::string& folder, data::datasets::MNIST::Mode mode) {
  return read(folder, mode)
      .map(data::transforms::Normalize<>(0.2860, 0.3530))
      .map(data::transforms::Stack<>());
}

double fraction(int64_t part, int64_t whole) {
  return static_cast<double>(part) / static_cast<double>(whole);
}

template <class Loader>
double test_accuracy(torch::nn::Sequential& model, Loader& loader) {
  const torch::NoGradGuard no_grad;
  model->eval();
  int64_t right = 0, images = 0;
  for (const auto& batch : loader) {
    const Tensor is_right = model->forward(batch.data).argmax(1) == batch.target;
    right += is_right.sum().item<int64_t>();
    images += batch.target.size(0);
  }
  model->train();
  return fraction(right, images);
}

void show_progress(int64_t epoch, double done, double data_loss, double penalty, double zeros) {
  const auto bar = static_cast<size_t>(20 * done);
  std::fprintf(stderr, "\repoch %d [%s%s] data loss %.4f  penalty %.4f  zeros %4.1f %%",
               static_cast<int>(epoch), std::string(bar, '=').c_str(),
               std::string(20 - bar, ' ').c_str(), data_loss, penalty, 100 * zeros);
}

void write_names(std::ostream& log, const torchreg::Parameters& weights) {
  log << "epoch,data_loss,penalty,test_accuracy,zeros";
  for (const auto& path : weights.paths()) log << "," << path;
  log << std::endl;
}

void write_epoch(std::ostream& log, int64_t epoch, double data_loss, double penalty,
                 double accuracy, const torchreg::Sparsity& sparsity) {
  log << epoch << "," << data_loss << "," << penalty << "," << accuracy << ","
      << sparsity.fraction();
  for (const auto& one : sparsity.tensors) log << "," << fraction(one.zeros, one.entries);
  log << std::endl;
}

int main(int argc, char** argv) {
  Options options;
  CLI::App app("784-200-200-10 on Fashion-MNIST or MNIST, with sparse weights");
  declare(app, options);
  CLI11_PARSE(app, argc, argv);
  std::ofstream log(options.log);  // without a name it writes nothing
  const std::string problem = problem_with(options, log);
  if (!problem.empty()) {
    std::cerr << problem << "\n";
    return EXIT_FAILURE;
  }

  torch::manual_seed(options.seed);
  const auto train = data::make_data_loader(load(options.data, data::datasets::MNIST::Mode::kTrain),
                                            data::samplers::RandomSampler(options.images),
                                            data::DataLoaderOptions(options.batch));
  const auto test = data::make_data_loader<data::samplers::SequentialSampler>(
      load(options.data, data::datasets::MNIST::Mode::kTest), data::DataLoaderOptions(1000));

  auto model = make_model();
  const auto optimizer = make_optimizer(options, model->parameters());
  const auto penalty = make_penalty(options);
  torchreg::ProximalStep prox(*optimizer, model, penalty);
  prox.options().memory(options.memory);

  const auto train_on = [&](const data::Example<>& batch) {
    optimizer->zero_grad();
    const Tensor data_loss = torch::cross_entropy_loss(model->forward(batch.data), batch.target);
    (options.way == "term" ? data_loss + penalty(model) : data_loss).backward();
    optimizer->step();
    if (options.way == "prox") prox.step();
    return data_loss.item<double>();
  };

  const auto weights = prox.parameters();
  write_names(log, weights);
  for (int64_t epoch = 1; epoch <= options.epochs; ++epoch) {
    double loss_sum = 0, penalty_now = 0;
    int64_t seen = 0, batches = 0;
    for (const auto& batch : *train) {
      const auto size = batch.target.size(0);
      loss_sum += train_on(batch) * static_cast<double>(size);
      seen += size;
      if (++batches % 20 == 0 || seen == options.images) {
        penalty_now = penalty(weights).item<double>();
        show_progress(epoch, fraction(seen, options.images), loss_sum / static_cast<double>(seen),
                      penalty_now, torchreg::sparsity(weights).fraction());
      }
    }
    const double accuracy = test_accuracy(model, *test);
    std::fprintf(stderr, "  test accuracy %.4f\n", accuracy);
    write_epoch(log, epoch, loss_sum / static_cast<double>(seen), penalty_now, accuracy,
                torchreg::sparsity(weights));
  }
  std::cout << torchreg::sparsity(weights) << "\n";
  if (options.log.empty() || log) return EXIT_SUCCESS;
  std::cerr << "--log: could not write all of " << options.log << "\n";
  return EXIT_FAILURE;
}
