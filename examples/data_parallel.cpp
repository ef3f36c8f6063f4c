// Several processes, each with a part of the data: the same bits everywhere, one process's zeros
#include <sys/wait.h>
#include <torch/torch.h>
#include <unistd.h>
#include <torch/csrc/distributed/c10d/FileStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torchreg/torchreg.hpp>

#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

using torch::Tensor;

using Group = c10::intrusive_ptr<c10d::ProcessGroupGloo>;

// As TCPStore does between machines, the file is where the processes of one machine meet.
Group join(const std::string& file, int rank, int world) {
  const auto options = c10d::ProcessGroupGloo::Options::create();
  options->devices.push_back(c10d::ProcessGroupGloo::createDeviceForHostname("127.0.0.1"));
  const auto store = c10::make_intrusive<c10d::FileStore>(file, world);
  return c10::make_intrusive<c10d::ProcessGroupGloo>(store, rank, world, options);
}

Tensor sum_over_all(const Group& group, const Tensor& tensor) {
  std::vector<Tensor> list{tensor};
  group->allreduce(list)->wait();
  return tensor;
}

struct Result {
  bool has_same_bits;
  Tensor weight;
};

// 40 inputs of which 8 matter, in batches of 64. Each process has every so-manyth row of a batch.
Result train(const Group& group, int rank, int world) {
  torch::manual_seed(0);  // the same data, and the same start, in all processes
  const Tensor x = torch::randn({4096, 40}, torch::kDouble);
  const Tensor truth = torch::cat({torch::randn({8, 1}), torch::zeros({32, 1})}).to(torch::kDouble);
  const Tensor y = x.mm(truth) + 0.5 * torch::randn({4096, 1}, torch::kDouble);
  torch::nn::Linear model(40, 1);
  model->to(torch::kDouble);

  torch::optim::Adam adam(model->parameters(), torch::optim::AdamOptions(1e-2));
  torchreg::ProximalStep prox(adam, model, torchreg::L1(0.05));  // the same lambda as for one
  for (int step = 0; step < 1000; ++step) {
    const Tensor batch = torch::randint(4096, {64}).slice(0, rank, 64, world);
    adam.zero_grad();
    const Tensor error = model->forward(x.index_select(0, batch)) - y.index_select(0, batch);
    (error.square().mean() / 2).backward();
    for (const Tensor& parameter : model->parameters()) {
      sum_over_all(group, parameter.grad()).div_(world);  // the mean, before the optimizer sees it
    }
    adam.step();
    prox.step();  // in every process, without a word to the others
  }

  // Equal, if the largest and the smallest of all processes are.
  const Tensor weight = model->weight.detach().clone();
  std::vector<Tensor> least{weight.clone()}, most{weight.clone()};
  c10d::AllreduceOptions options;
  options.reduceOp = c10d::ReduceOp::MIN;
  group->allreduce(least, options)->wait();
  options.reduceOp = c10d::ReduceOp::MAX;
  group->allreduce(most, options)->wait();
  return {torch::equal(least[0], most[0]), weight};
}

// In processes of its own; the weight goes into a file, by which the parent compares.
bool run(int world, const std::string& folder) {
  const std::string meeting = folder + "/meeting-" + std::to_string(world);
  std::vector<pid_t> children;
  for (int rank = 0; rank < world; ++rank) {
    const pid_t child = fork();
    if (child == 0) {
      torch::set_num_threads(1);
      const Group group = join(meeting, rank, world);
      const Result result = train(group, rank, world);
      if (rank == 0) torch::save(result.weight, folder + "/weight-" + std::to_string(world));
      sum_over_all(group, torch::zeros({1}));  // none leaves before all are done
      _exit(result.has_same_bits ? 0 : 1);
    }
    children.push_back(child);
  }
  bool is_equal = true;
  for (const pid_t child : children) {
    int status = 0;
    waitpid(child, &status, 0);
    is_equal = is_equal && WIFEXITED(status) && WEXITSTATUS(status) == 0;
  }
  return is_equal;
}

int main() {
  const auto scratch =
      std::filesystem::temp_directory_path() / ("data_parallel-" + std::to_string(getpid()));
  std::filesystem::create_directory(scratch);
  const std::string folder = scratch.string();
  bool is_right = true;
  Tensor alone;
  std::printf("processes   same bits in all   zeros of 40   as one process's   farthest weight\n");
  for (const int world : {1, 2, 4}) {
    const bool is_equal = run(world, folder);
    Tensor weight;
    torch::load(weight, folder + "/weight-" + std::to_string(world));
    if (world == 1) alone = weight;
    const bool has_same_zeros = torch::equal(weight == 0, alone == 0);
    const double distance = (weight - alone).abs().max().item<double>();
    std::printf("%9d%19s%14d%19s%18.1e\n", world, is_equal ? "yes" : "no",
                (weight == 0).sum().item<int>(), has_same_zeros ? "yes" : "no", distance);
    is_right = is_right && is_equal && has_same_zeros && distance < 1e-9;
  }
  std::filesystem::remove_all(scratch);
  return is_right ? 0 : 1;
}
