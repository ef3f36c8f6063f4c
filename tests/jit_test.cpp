// jit.hpp: TorchScript modules in place of torch::nn ones.
#include <torch/script.h>
#include <torchreg/jit.hpp>
#include <torchreg/torchreg.hpp>

#include <cstddef>
#include <sstream>
#include <string>
#include <vector>

#include "support.hpp"

using namespace torchreg;
using support::contains;
using support::error_of;
using support::Tensor;

namespace {

/// fc2(relu(fc1(x))), as a script of Python's would be.
torch::jit::Module scripted() {
  const auto linear = [](int64_t in, int64_t out) {
    torch::jit::Module layer("Layer");
    layer.register_parameter("weight", (torch::randn({out, in}) / 4).requires_grad_(),
                             /*is_buffer=*/false);
    layer.register_parameter("bias", torch::zeros({out}).requires_grad_(), /*is_buffer=*/false);
    layer.define("def forward(self, x):\n    return torch.linear(x, self.weight, self.bias)\n");
    return layer;
  };
  torch::jit::Module net("Net");
  net.register_module("fc1", linear(10, 8));
  net.register_module("fc2", linear(8, 1));
  net.register_buffer("seen", torch::zeros({1}));
  net.define(
      "def forward(self, x):\n    return self.fc2.forward(torch.relu(self.fc1.forward(x)))\n");
  return net;
}

std::vector<Tensor> tensors_of(const torch::jit::Module& module) {
  std::vector<Tensor> tensors;
  for (const Tensor& tensor : module.parameters()) tensors.push_back(tensor);
  return tensors;
}

}  // namespace

TEST_CASE("A scripted module is selected by path, penalized, stepped and counted") {
  torch::manual_seed(0);
  torch::jit::Module net = scripted();
  REQUIRE(select(net, weights()).paths() == std::vector<std::string>{"fc1.weight", "fc2.weight"});
  REQUIRE(contains(error_of([&] { select(net, named("fc1.wieght")); }),
                   "did you mean \"fc1.weight\"?"));
  const auto w = net.attr("fc1").toModule().attr("weight").toTensor();
  REQUIRE(L1(2, named("fc1.weight"))(net).item<double>() ==
          Approx(2 * w.abs().sum().item<double>()));

  const Tensor x = torch::randn({200, 10}), y = 2 * x.narrow(1, 0, 1).relu();
  torch::optim::Adam adam(tensors_of(net), 1e-2);
  ProximalStep prox(adam, net, L1(1e-2));
  for (int step = 0; step < 400; ++step) {
    adam.zero_grad();
    torch::mse_loss(net.forward({x}).toTensor(), y).backward();
    adam.step();
    prox.step();
  }
  REQUIRE(contains(prox.describe(), "fc1.weight"));
  const Sparsity zeros = sparsity(net);
  REQUIRE(zeros.tensors.size() == 4);
  REQUIRE(zeros.tensors[0].zero_columns == 9);  // all inputs but the one
  REQUIRE(Support(net).entries() == 88);
  adam.zero_grad();
  torch::mse_loss(net.forward({x}).toTensor(), y).backward();
  REQUIRE(stationarity(prox).largest < 0.1);
  REQUIRE(lambda_max(net, L1(1)) > 0);

  std::stringstream file;
  net.save(file);
  const torch::jit::Module again = torch::jit::load(file);
  REQUIRE(Support(net).changes(Support(again)) == 0);
}

TEST_CASE("A list of parameters with paths is selected from, typos throw") {
  const Tensor a = torch::ones({2, 2}).requires_grad_(), b = torch::ones({2}).requires_grad_();
  const std::vector<Parameter> list{{"enc.weight", a}, {"enc.bias", b}, {"again.weight", a}};
  REQUIRE(select(list, weights()).paths() == std::vector<std::string>{"enc.weight"});
  REQUIRE(select(list, under("enc")).size() == 2);
  REQUIRE(select(list, named("again.weight")).paths() == std::vector<std::string>{"enc.weight"});
  REQUIRE(select(Parameters(list), biases()).paths() == std::vector<std::string>{"enc.bias"});
  REQUIRE(contains(error_of([&] { select(list, named("enc.wieght")); }),
                   "did you mean \"enc.weight\"?"));
  REQUIRE(contains(error_of([&] { select(list, of_type<torch::nn::Linear>()); }),
                   "matches no parameter"));
  REQUIRE(error_of([&] { select(std::vector<Parameter>{}, weights()); }) ==
          "select: the list of parameters is empty");
  REQUIRE(error_of([&] {
            select(std::vector<Parameter>{{"c", {}}}, weights());
          }) == "select: \"c\" is undefined");
  REQUIRE(select(std::vector<Tensor>{a, b}, weights()).paths() ==
          std::vector<std::string>{"tensor 0"});
  const Tensor frozen = torch::ones({2, 2});
  REQUIRE(contains(error_of([&] {
                     select(std::vector<Parameter>{{"f", frozen}}, weights());
                   }),
                   "only frozen parameters"));
  torch::optim::SGD sgd({a, b}, 0.1);
  ProximalStep prox(sgd, select(list, weights()), L1(1));
  REQUIRE(contains(prox.describe(), "enc.weight"));
}

TEST_CASE("decay_groups decays what is selected, and nothing else") {
  torch::nn::Sequential net(torch::nn::Linear(3, 4), torch::nn::BatchNorm1d(4),
                            torch::nn::Linear(4, 2));
  net->ptr<torch::nn::LinearImpl>(2)->bias.set_requires_grad(false);
  using torch::optim::AdamW;
  using torch::optim::AdamWOptions;
  AdamW adam(decay_groups(net, weights(), 0.25, AdamWOptions(1e-3).eps(0.5)));
  REQUIRE(adam.param_groups().size() == 2);
  const auto& decayed = adam.param_groups()[0];
  const auto& others = adam.param_groups()[1];
  REQUIRE(decayed.params().size() == 2);
  REQUIRE(others.params().size() == 3);  // without the frozen one
  for (const auto* group : {&decayed, &others}) {
    const auto& options = static_cast<const AdamWOptions&>(group->options());
    REQUIRE(options.lr() == 1e-3);
    REQUIRE(options.eps() == 0.5);
    REQUIRE(options.weight_decay() == (group == &decayed ? 0.25 : 0));
  }
  const Tensor bias = net->ptr<torch::nn::LinearImpl>(0)->bias.detach().clone();
  const Tensor weight = net->ptr<torch::nn::LinearImpl>(0)->weight.detach().clone();
  for (const Tensor& parameter : net->parameters()) {
    if (parameter.requires_grad()) parameter.mutable_grad() = torch::zeros_like(parameter);
  }
  adam.step();
  REQUIRE(torch::equal(net->ptr<torch::nn::LinearImpl>(0)->bias, bias));
  REQUIRE(torch::allclose(net->ptr<torch::nn::LinearImpl>(0)->weight, weight * (1 - 0.25e-3)));
  using torch::optim::SGDOptions;
  REQUIRE(decay_groups(net, everything(), 1, SGDOptions(0.1)).size() == 1);
  REQUIRE(contains(error_of([&] { decay_groups(net, weights(), -1, SGDOptions(0.1)); }),
                   "decay_groups: weight_decay must be finite and >= 0, got -1"));
}
