// Times the penalties and the step beside the memory limit, the naive way and LibTorch's nearest
// call, in one process and in turn. benchmark FILE.csv appends to a table.
#include <torchreg/torchreg.hpp>

#include <cstdio>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "lists.hpp"
#include "stopwatch.hpp"

namespace {

using benchmark::List;
using benchmark::Way;
using torch::Tensor;

#ifdef __OPTIMIZE__
constexpr const char* kBuild = "release";
#else
constexpr const char* kBuild = "debug";
#endif

constexpr double kLambda = 1e-6, kLr = 1e-3;

/// Parameters with gradients, and the optimizers that have moved them.
struct Model {
  std::vector<Tensor> parameters;
  torch::optim::SGD sgd;
  torch::optim::Adam adam;

  Model(const List& list, torch::Device device)
      : parameters(make(list, device)),
        sgd(parameters, torch::optim::SGDOptions(kLr)),
        adam(parameters, torch::optim::AdamOptions(kLr)) {
    for (Tensor& w : parameters) w.mutable_grad() = torch::randn_like(w);
    adam.step();
  }

  /// Lets a ProximalStep see a move, without the time that one takes.
  void pretend_adam_step() {
    for (const auto& state : adam.state()) {
      auto& adam_state = static_cast<torch::optim::AdamParamState&>(*state.second);
      adam_state.step(adam_state.step() + 1);
    }
  }

  void clear_gradients() {
    for (Tensor& w : parameters) w.mutable_grad() = Tensor();
  }

 private:
  static std::vector<Tensor> make(const List& list, torch::Device device) {
    std::vector<Tensor> parameters;
    for (const auto& shape : list.shapes) {
      parameters.push_back(torch::randn(shape, device).requires_grad_());
    }
    return parameters;
  }
};

struct Report {
  std::string file, list, device;
  int threads = 1;

  /// One line for each way: median time, the ratio to the first way with its quartiles, and the
  /// memory that the way took.
  void add(const std::string& work, const std::vector<Way>& ways) const {
    const auto times = benchmark::interleave(ways);
    std::ofstream table(file, std::ios::app);
    for (std::size_t i = 0; i < ways.size(); ++i) {
      const auto ratios = benchmark::ratios(times[i], times[0]);
      ways[i].prepare();
      const double memory = benchmark::peak_memory(ways[i].run);
      char line[300];
      std::snprintf(line, sizeof line, "%s,%s,%d,%s,%s,%s,%.4g,%.3f,%.3f,%.3f,%.1f", kBuild,
                    device.c_str(), threads, list.c_str(), work.c_str(), ways[i].name.c_str(),
                    benchmark::quantile(times[i], 0.5), benchmark::quantile(ratios, 0.25),
                    benchmark::quantile(ratios, 0.5), benchmark::quantile(ratios, 0.75), memory);
      table << line << '\n';
      std::puts(line);
    }
  }
};

template <class Run>
std::function<void()> for_each(const std::vector<Tensor>& tensors, Run run) {
  return [&tensors, run] {
    torch::NoGradGuard no_grad;
    for (const Tensor& w : tensors) run(w);
  };
}

Tensor naive_threshold(const Tensor& w, const Tensor& t) {
  return w.sign() * (w.abs() - t).clamp_min(0);
}

Tensor naive_term(const std::vector<Tensor>& tensors) {
  Tensor sum = torch::zeros({}, tensors[0].options().requires_grad(false));
  for (const Tensor& w : tensors) sum = sum + w.abs().sum();
  return kLambda * sum;
}

void time_terms(const Report& report, Model& model) {
  const auto& tensors = model.parameters;
  const torchreg::L1 l1(kLambda);
  const torchreg::Parameters list(tensors);
  const auto naive = [&] { return naive_term(tensors); };
  const auto norm = [&] {
    Tensor sum = torch::zeros({}, tensors[0].options().requires_grad(false));
    for (const Tensor& w : tensors) sum = sum + w.norm(1);
    return kLambda * sum;
  };
  const auto without_graph = [](auto term) {
    return [term] {
      torch::NoGradGuard no_grad;
      term();
    };
  };
  const auto ours = [&] { return l1(list); };
  report.add("L1 value", {{"limit", for_each(tensors, [](const Tensor& w) { w.sum(); })},
                          {"naive", without_graph(naive)},
                          {"LibTorch", without_graph(norm)},
                          {"torchreg", without_graph(ours)}});
  const auto clear = [&] { model.clear_gradients(); };
  report.add("L1 term and gradient", {{"limit",
                                       [&] {
                                         torch::NoGradGuard no_grad;
                                         for (const Tensor& w : tensors) w.sum();
                                         for (Tensor w : tensors) w.mutable_grad() = w.mul(kLambda);
                                       },
                                       clear},
                                      {"naive", [&] { naive().backward(); }, clear},
                                      {"LibTorch", [&] { norm().backward(); }, clear},
                                      {"torchreg", [&] { ours().backward(); }, clear}});
  clear();
}

template <class Penalty, class Naive>
void time_prox(const Report& report, const Model& model, const Penalty& penalty, Naive naive,
               std::vector<Way> others = {}) {
  const auto& tensors = model.parameters;
  std::vector<Way> ways = {
      {"limit", for_each(tensors, [](Tensor w) { w.mul_(1.0000001); })},
      {"naive", for_each(tensors, [naive](const Tensor& w) { w.copy_(naive(w)); })}};
  ways.insert(ways.end(), others.begin(), others.end());
  const torchreg::Parameters list(tensors);
  ways.push_back({"torchreg", [&] { penalty.prox_(list, kLr); }});
  report.add(penalty.formula().name + std::string(" prox_"), ways);
}

void time_proxes(const Report& report, const Model& model) {
  constexpr double t = kLr * kLambda;
  const auto soft = [](const Tensor& w) { return w.sign() * (w.abs() - t).clamp_min(0); };
  time_prox(
      report, model, torchreg::L1(kLambda), soft,
      {{"LibTorch", for_each(model.parameters, [](Tensor w) { torch::softshrink_out(w, w, t); })}});
  time_prox(report, model, torchreg::L2(kLambda), [](const Tensor& w) { return w / (1 + t); });
  time_prox(report, model, torchreg::ElasticNet(kLambda, kLambda),
            [&](const Tensor& w) { return soft(w) / (1 + t); });
}

/// The step after SGD and after Adam, with memory beside without, and beside the optimizer's.
void time_steps(const Report& report, Model& model) {
  const torchreg::L1 l1(kLambda);
  const auto& tensors = model.parameters;
  for (Tensor& w : model.parameters) w.mutable_grad() = torch::zeros_like(w);
  torchreg::ProximalStep sgd(model.sgd, tensors, l1), sgd_memory(model.sgd, tensors, l1);
  torchreg::ProximalStep adam(model.adam, tensors, l1), adam_memory(model.adam, tensors, l1);
  sgd.options().memory(0);
  adam.options().memory(0);

  const auto mul = for_each(tensors, [](Tensor w) { w.mul_(1.0000001); });
  const auto add = for_each(tensors, [](Tensor w) { w.add_(w.grad(), 1e-9); });
  const auto naive = [&] {
    torch::NoGradGuard no_grad;
    for (const Tensor& w : tensors) {
      const auto& state = static_cast<const torch::optim::AdamParamState&>(
          *model.adam.state().at(torchreg::detail::state_key(w)));
      const double unbias = 1 - std::pow(0.999, static_cast<double>(state.step()));
      const Tensor step = kLr / ((state.exp_avg_sq() / unbias).sqrt() + 1e-8);
      w.copy_(naive_threshold(w, step * kLambda));
    }
  };
  const auto moved = [&] { model.pretend_adam_step(); };
  report.add("L1 step after SGD", {{"limit", mul}, {"torchreg", [&] { sgd.step(); }}});
  report.add("memory after SGD",
             {{"without", [&] { sgd.step(); }}, {"torchreg", [&] { sgd_memory.step(); }}});
  report.add("L1 step after Adam",
             {{"limit", add}, {"naive", naive}, {"torchreg", [&] { adam.step(); }, moved}});
  report.add("memory after Adam", {{"without", [&] { adam.step(); }, moved},
                                   {"torchreg", [&] { adam_memory.step(); }, moved}});
  report.add("beside Adam's step", {{"optimizer.step()", [&] { model.adam.step(); }},
                                    {"torchreg", [&] { adam_memory.step(); }, moved}});
}

void time_list(Report report, const List& list, const std::vector<int>& threads) {
  const torch::Device device(report.device);
  report.list = list.name;
  Model model(list, device);
  for (const int count : threads) {
    torch::set_num_threads(count);
    report.threads = count;
    time_terms(report, model);
    time_proxes(report, model);
    time_steps(report, model);
  }
  torch::set_num_threads(1);
}

/// A whole training step of a small network, without and with a penalty.
void time_training(Report report) {
  report.list = "MLP of 784-200-200-10";
  const torch::Device device(report.device);
  torch::nn::Sequential model(torch::nn::Linear(784, 200), torch::nn::ReLU(),
                              torch::nn::Linear(200, 200), torch::nn::ReLU(),
                              torch::nn::Linear(200, 10));
  model->to(device);
  const Tensor x = torch::rand({64, 784}, device);
  const Tensor y = torch::randint(10, {64}, torch::dtype(torch::kLong).device(device));
  torch::optim::Adam adam(model->parameters(), kLr);
  const torchreg::L1 l1(kLambda);
  torchreg::ProximalStep prox(adam, model, l1);
  const auto weights = torchreg::select(model, l1.selector()).tensors();
  const auto train = [&](auto penalized, auto step) {
    return [&, penalized, step] {
      adam.zero_grad();
      penalized(torch::cross_entropy_loss(model->forward(x), y)).backward();
      adam.step();
      step();
    };
  };
  const auto plain = [](const Tensor& loss) { return loss; };
  const auto naive = [&](const Tensor& loss) { return loss + naive_term(weights); };
  const auto with_term = [&](const Tensor& loss) { return loss + l1(model); };
  const auto nothing = [] {};
  report.add("training step", {{"plain", train(plain, nothing)},
                               {"with a naive term", train(naive, nothing)},
                               {"with the term", train(with_term, nothing)},
                               {"with the step", train(plain, [&] { prox.step(); })}});
}

/// The cost that does not grow with the size of the tensors, on a module of 10,000.
void time_fixed_cost(Report report) {
  report.list = "10000 x 16";
  torch::nn::ModuleList module;
  for (int i = 0; i < 5000; ++i) {
    module->push_back(torch::nn::Linear(torch::nn::LinearOptions(4, 4)));
  }
  const auto tensors = module->parameters();
  for (Tensor w : tensors) w.mutable_grad() = torch::randn_like(w);
  const torchreg::L1 l1(kLambda, torchreg::everything());
  const auto term = [&] { l1(module); };
  const auto add = [&](const std::string& name, torch::optim::Optimizer& optimizer,
                       torchreg::ProximalStep<torchreg::L1>& prox) {
    report.add("fixed cost: " + name,
               {{"optimizer.step()", [&] { optimizer.step(); }},
                {"prox.step()", [&] { prox.step(); }, [&] { optimizer.step(); }},
                {"penalty(module)", term}});
  };
  torch::optim::SGD sgd(tensors, torch::optim::SGDOptions(kLr));
  torch::optim::SGD momentum(tensors, torch::optim::SGDOptions(kLr).momentum(0.9));
  torch::optim::Adam adam(tensors, torch::optim::AdamOptions(kLr));
  torchreg::ProximalStep after_sgd(sgd, module, l1), after_momentum(momentum, module, l1),
      after_adam(adam, module, l1);
  add("SGD", sgd, after_sgd);
  add("SGD with momentum", momentum, after_momentum);
  add("Adam", adam, after_adam);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return std::puts("torchreg_benchmark FILE.csv [COUNT ENTRIES]"), 1;
  Report report;
  report.file = argv[1];
  report.device = torch::cuda::is_available() ? "cuda" : "cpu";
  torch::set_num_threads(1);
  const auto time_equal = [&](int64_t count, int64_t entries, const std::vector<int>& threads) {
    time_list(report, benchmark::equal_tensors(count, entries), threads);
  };
  if (argc == 4) {
    time_equal(std::stoll(argv[2]), std::stoll(argv[3]), {1});
    return 0;
  }
  const bool is_release = std::string(kBuild) == "release";
  for (const auto& [count, entries] : {std::pair{4, 16 << 20}, {1000, 4096}}) {
    time_equal(count, entries, is_release ? std::vector<int>{1, 2} : std::vector<int>{1});
  }
  time_training(report);
  if (!is_release) return 0;
  time_fixed_cost(report);
  for (const List& list : {benchmark::mlp(), benchmark::resnet50(), benchmark::gpt2_small()}) {
    time_list(report, list, {1});
  }
  for (int64_t entries = 1024; entries <= 64 << 20; entries *= 4) time_equal(1, entries, {1});
  for (const int64_t count : {10, 100, 10000}) time_equal(count, 1024, {1});
}
