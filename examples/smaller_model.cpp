// What do zeros buy? A CNN that loses its dead filters: parameters, file, time and accuracy
#include <torch/torch.h>
#include <torchreg/torchreg.hpp>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "images.hpp"
#include "timing.hpp"

std::string saved(const torch::nn::Sequential& model) {
  std::ostringstream file;
  torch::save(model, file);
  return file.str();
}

// Parameters and buffers by name, for Python's dict(torch.load(path)): pairs need no trust there,
// which a Dict of LibTorch's does.
void export_state(const torch::nn::Sequential& model, const std::string& path) {
  std::vector<c10::IValue> pairs;
  const auto add = [&](const auto& item) {
    pairs.emplace_back(c10::ivalue::Tuple::create(item.key(), item.value().detach()));
  };
  for (const auto& item : model->named_parameters()) add(item);
  for (const auto& item : model->named_buffers()) add(item);
  const std::vector<char> bytes = torch::pickle_save(c10::ivalue::Tuple::create(std::move(pairs)));
  std::ofstream(path, std::ios::binary).write(bytes.data(), std::streamsize(bytes.size()));
}

int main(int argc, char** argv) {
  std::string folder = FASHION_MNIST, log_path, state_path;
  int64_t images = 10000, epochs = 6, refit_epochs = 2;
  double wanted = 0.6, lambda = 1e-4;
  CLI::App app("A CNN on Fashion-MNIST that becomes smaller");
  app.option_defaults()->always_capture_default();
  app.add_option("--data", folder, "folder with the four uncompressed idx files");
  app.add_option("--images", images, "train on the first so many")->check(CLI::Range(64, 60000));
  app.add_option("--epochs", epochs, "passes over them")->check(CLI::Range(1, 1000000));
  app.add_option("--refit", refit_epochs, "passes of the smaller model")
      ->check(CLI::Range(1, 1000000));
  app.add_option("--target", wanted, "fraction of the filters to be zero")
      ->check(CLI::Range(.05, .95));
  app.add_option("--lambda", lambda, "strength of the group lasso at the start")
      ->check(CLI::Range(1e-9, 1e6));
  app.add_option("--log", log_path, "CSV file with a line for each model");
  app.add_option("--state", state_path, "file for Python's torch.load()");
  CLI11_PARSE(app, argc, argv);

  std::ofstream log = open_log(log_path);
  const Images train = load_images(folder, true, images);
  const Images test = load_images(folder, false, std::min<int64_t>(images, 10000));
  log << "model,filters,parameters,kilobytes,ms_256,ms_1,accuracy\n";
  std::printf("%-12s%8s%12s%8s%11s%10s%10s\n", "", "filters", "parameters", "kB", "batch 256",
              "batch 1", "accuracy");
  const auto report = [&](const char* name, torch::nn::Sequential& model) {
    model->eval();
    int64_t parameters = 0;
    for (const torch::Tensor& parameter : model->parameters()) parameters += parameter.numel();
    const int64_t filters = model->ptr<torch::nn::Conv2dImpl>(1)->options.out_channels() +
                            model->ptr<torch::nn::Conv2dImpl>(5)->options.out_channels();
    const double kilobytes = double(saved(model).size()) / 1000,
                 accuracy = accuracy_on(model, test);
    const torch::NoGradGuard no_grad;
    const auto passes = [&](int64_t count) {
      return time_of(30, [&, x = test.x.slice(0, 0, count)] { model->forward(x); });
    };
    const double many = passes(256), one = passes(1);
    std::printf("%-12s%8d%12d%8.0f%8.2f ms%7.3f ms%10.4f\n", name, int(filters), int(parameters),
                kilobytes, many, one, accuracy);
    log << name << "," << filters << "," << parameters << "," << kilobytes << "," << many << ","
        << one << "," << accuracy << "\n";
  };

  torch::manual_seed(0);
  auto model = make_cnn();
  const torchreg::Links filters = torchreg::chain(model);
  {
    torch::optim::Adam adam(model->parameters(), torch::optim::AdamOptions(2e-3));
    torchreg::ProximalStep prox(adam, model, torchreg::GroupLasso(lambda, filters));
    torchreg::TargetSparsity target(prox, wanted, filters);
    target.options().every(16);
    for (int64_t epoch = 0; epoch < epochs; ++epoch) {
      if (epoch + 1 == epochs) target.hold();
      model->train();
      train_epoch(
          model, adam, train, [](const torch::Tensor& loss) { loss.backward(); },
          [&] { prox.step(), target.step(); });
    }
  }
  report("trained", model);
  const torch::Tensor before = model->forward(test.x).detach();
  const torchreg::Removal removal = torchreg::remove_zero_groups(model, filters);
  report("smaller", model);
  const double change = (model->forward(test.x) - before).abs().max().item<double>();

  torch::optim::Adam adam(model->parameters(), torch::optim::AdamOptions(5e-4));  // made anew
  for (int64_t epoch = 0; epoch < refit_epochs; ++epoch) {
    model->train();
    train_epoch(
        model, adam, train, [](const torch::Tensor& loss) { loss.backward(); }, [] {});
  }
  report("fine-tuned", model);

  auto loaded = make_cnn(removal.links[0].kept.numel(), removal.links[1].kept.numel());
  std::istringstream file(saved(model));
  torch::load(loaded, file);
  loaded->eval();
  const bool is_same = torch::equal(loaded->forward(test.x), model->forward(test.x));
  std::printf(
      "\n%s\nlargest change of an output by the removal %.0e; a model made smaller and loaded is "
      "%s\n",
      removal.describe().c_str(), change, is_same ? "the same" : "another");
  if (!state_path.empty()) export_state(model, state_path);
  return is_same && change < 1e-3 && removal.entries_after < removal.entries_before ? 0 : 1;
}
