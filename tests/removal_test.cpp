// chain(), remove_zero_groups() and what is refused.
#include <torchreg/torchreg.hpp>

#include <cstdint>
#include <limits>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "support.hpp"

namespace {

using namespace torchreg;
namespace nn = torch::nn;
using support::contains;
using support::error_of;
using support::Tensor;

/// A Sequential inside of one must say what its forward takes.
struct BlockImpl : nn::SequentialImpl {
  using SequentialImpl::SequentialImpl;
  Tensor forward(const Tensor& x) { return SequentialImpl::forward(x); }
};
TORCH_MODULE(Block);

int64_t random_to(int64_t end) { return torch::randint(end, {1}).item<int64_t>(); }

/// One of the modules that keep zeros, for so many dimensions behind the channels.
void add_activation(nn::Sequential& net) {
  switch (random_to(18)) {
    case 0:
      return net->push_back(nn::ReLU());
    case 1:
      return net->push_back(nn::ReLU6());
    case 2:
      return net->push_back(nn::LeakyReLU());
    case 3:
      return net->push_back(nn::ELU());
    case 4:
      return net->push_back(nn::SELU());
    case 5:
      return net->push_back(nn::CELU());
    case 6:
      return net->push_back(nn::GELU());
    case 7:
      return net->push_back(nn::SiLU());
    case 8:
      return net->push_back(nn::Mish());
    case 9:
      return net->push_back(nn::Tanh());
    case 10:
      return net->push_back(nn::Tanhshrink());
    case 11:
      return net->push_back(nn::Softshrink(0.1));
    case 12:
      return net->push_back(nn::Hardshrink(0.1));
    case 13:
      return net->push_back(nn::Softsign());
    case 14:
      return net->push_back(nn::PReLU());
    case 15:
      return net->push_back(nn::Identity());
    case 16:
      return net->push_back(nn::Dropout(0.0));
    default:
      return net->push_back(Block(nn::ReLU(), nn::Identity()));
  }
}

template <class Conv, class ConvOptions, class Norm, class... Pools>
void add_convolutions(nn::Sequential& net, int64_t& channels, const Pools&... pools) {
  for (int64_t i = random_to(2); i >= 0; --i) {
    const int64_t width = 3 + random_to(6);
    net->push_back(Conv(ConvOptions(channels, width, 3).padding(1).bias(random_to(2) == 0)));
    channels = width;
    if (random_to(2) == 0) net->push_back(Norm(width));
    add_activation(net);
    const int64_t wanted = random_to(6);
    int64_t index = 0;
    ((index++ == wanted ? net->push_back(pools) : void()), ...);
  }
}

/// Layers of every supported kind, ending in a Linear; the input's shape.
std::vector<int64_t> random_chain(nn::Sequential& net) {
  const int64_t dimensions = random_to(4), side = 6;
  int64_t channels = 2;
  std::vector<int64_t> sizes{5, channels};
  sizes.resize(static_cast<std::size_t>(2 + dimensions), side);
  if (dimensions == 1) {
    add_convolutions<nn::Conv1d, nn::Conv1dOptions, nn::BatchNorm1d>(
        net, channels, nn::MaxPool1d(nn::MaxPool1dOptions(3).stride(1).padding(1)),
        nn::AvgPool1d(nn::AvgPool1dOptions(3).stride(1).padding(1)), nn::AdaptiveAvgPool1d(side),
        nn::AdaptiveMaxPool1d(side));
  } else if (dimensions == 2) {
    add_convolutions<nn::Conv2d, nn::Conv2dOptions, nn::BatchNorm2d>(
        net, channels, nn::MaxPool2d(nn::MaxPool2dOptions(3).stride(1).padding(1)),
        nn::AvgPool2d(nn::AvgPool2dOptions(3).stride(1).padding(1)), nn::AdaptiveAvgPool2d(side),
        nn::AdaptiveMaxPool2d(side), nn::Dropout2d(0.0));
  } else if (dimensions == 3) {
    add_convolutions<nn::Conv3d, nn::Conv3dOptions, nn::BatchNorm3d>(
        net, channels, nn::MaxPool3d(nn::MaxPool3dOptions(3).stride(1).padding(1)),
        nn::AvgPool3d(nn::AvgPool3dOptions(3).stride(1).padding(1)), nn::AdaptiveAvgPool3d(side),
        nn::AdaptiveMaxPool3d(side), nn::Dropout3d(0.0));
  }
  int64_t features = channels;
  for (int64_t d = 0; d < dimensions; ++d) features *= side;
  if (dimensions > 0) net->push_back(nn::Flatten());
  if (dimensions > 0 && random_to(2) == 0) net->push_back(nn::BatchNorm1d(features));
  for (int64_t i = random_to(2); i >= 0; --i) {
    const int64_t width = 4 + random_to(9);
    net->push_back(nn::Linear(nn::LinearOptions(features, width).bias(random_to(2) == 0)));
    features = width;
    if (random_to(2) == 0) net->push_back(nn::BatchNorm1d(width));
    add_activation(net);
    if (random_to(3) == 0) net->push_back(nn::Flatten());
  }
  net->push_back(nn::Linear(features, 3));
  net->push_back(nn::LogSoftmax(1));  // behind the last layer it is not in the way
  return sizes;
}

/// Gives a module random weights and statistics, and zeros to some groups; how many of each link.
std::vector<int64_t> kill_some(const nn::Module& module, const Links& links) {
  torch::NoGradGuard no_grad;
  for (const auto& parameter : module.named_parameters()) parameter.value().normal_();
  for (const auto& buffer : module.named_buffers()) {
    if (buffer.value().dim() == 1) buffer.value().uniform_(0.5, 2);
  }
  const auto parameters = module.named_parameters();
  std::vector<int64_t> dead;
  for (const Links::Link& link : links.list()) {
    const int64_t groups = parameters[link.members[0].path].size(0);
    int64_t killed = 0;
    for (int64_t g = 0; g < groups; ++g) {
      if (random_to(2) == 0 || killed == groups - 1) continue;
      ++killed;
      for (const Slices& slices : link.members) {
        const Tensor& tensor = parameters[slices.path];
        const int64_t k = tensor.size(0) / groups;
        tensor.narrow(0, g * k, k).zero_();
      }
    }
    dead.push_back(killed);
  }
  return dead;
}

/// Gives a module another one's parameters and buffers.
void assign(nn::Module& to, const nn::Module& from) {
  torch::NoGradGuard no_grad;
  for (std::size_t i = 0; i < to.parameters().size(); ++i) {
    to.parameters()[i].copy_(from.parameters()[i]);
  }
  for (std::size_t i = 0; i < to.buffers().size(); ++i) to.buffers()[i].copy_(from.buffers()[i]);
}

nn::Sequential perceptron() {
  return nn::Sequential(nn::Linear(4, 6), nn::ReLU(), nn::Linear(6, 3));
}

/// What chain() says about these modules between two layers of 6 units.
template <class... Modules>
std::string refusal(const Modules&... modules) {
  nn::Sequential net(nn::Linear(4, 6));
  (net->push_back(modules), ...);
  net->push_back(nn::Linear(6, 3));
  return error_of([&] { chain(net); });
}

struct ShiftImpl : nn::Module {
  Tensor forward(const Tensor& x) { return x + 1; }
};
TORCH_MODULE(Shift);

/// Derived from a layer, with another forward.
struct OneMinusReLUImpl : nn::ReLUImpl {
  Tensor forward(const Tensor& x) { return 1 - x.relu(); }
};
TORCH_MODULE(OneMinusReLU);

/// Flattens channels last, so that a unit has no columns side by side.
struct ChannelsLastFlattenImpl : nn::FlattenImpl {
  Tensor forward(const Tensor& x) { return x.permute({0, 2, 3, 1}).flatten(1); }
};
TORCH_MODULE(ChannelsLastFlatten);

/// A unit of zeros gives no zeros.
struct CenteredImpl : nn::LinearImpl {
  using LinearImpl::LinearImpl;
  Tensor forward(const Tensor& x) { return torch::linear(x, weight - weight.mean(0), bias); }
};
TORCH_MODULE(Centered);

struct ResidualImpl : nn::Module {
  nn::Conv2d stem{nn::Conv2dOptions(1, 6, 3).padding(1)};
  nn::Conv2d inner{nn::Conv2dOptions(6, 5, 3).padding(1)};
  nn::BatchNorm2d norm{5};
  nn::Conv2d outer{nn::Conv2dOptions(5, 6, 3).padding(1).bias(false)};
  nn::Linear head{6 * 4, 3};
  ResidualImpl() {
    register_module("stem", stem), register_module("inner", inner);
    register_module("norm", norm), register_module("outer", outer);
    register_module("head", head);
  }
  Tensor forward(const Tensor& x) {
    const Tensor h = stem->forward(x).relu();
    const Tensor z = h + outer->forward(norm->forward(inner->forward(h)).relu());
    return head->forward(torch::adaptive_avg_pool2d(z, {2, 2}).flatten(1));
  }
};
TORCH_MODULE(Residual);

Links residual_links() {
  Links links = linked({{"stem.weight", 0}, {"stem.bias", 0}, {"outer.weight", 0}},
                       {{"inner.weight", 1}, {"head.weight", 1}});
  return links.add({{"inner.weight", 0}, {"inner.bias", 0}, {"norm.weight", 0}, {"norm.bias", 0}},
                   {{"outer.weight", 1}});
}

std::vector<Tensor> all_of(const nn::Module& module) {
  std::vector<Tensor> all;
  for (const Tensor& tensor : module.parameters()) all.push_back(tensor.detach().clone());
  for (const Tensor& tensor : module.buffers()) all.push_back(tensor.clone());
  return all;
}

}  // namespace

TEST_CASE("A removal changes no output, on random chains of every supported layer") {
  for (int seed = 0; seed < 60; ++seed) {
    nn::Sequential net, copy;
    torch::manual_seed(seed);
    const std::vector<int64_t> sizes = random_chain(net);
    torch::manual_seed(seed);
    random_chain(copy);
    const auto type = seed % 2 == 0 ? torch::kFloat : torch::kDouble;
    net->to(type), copy->to(type);
    const Links links = chain(net);
    const std::vector<int64_t> dead = kill_some(*net, links);
    CAPTURE(seed, c10::str(*net), sizes);
    const Tensor x = torch::randn(sizes, type);
    const double error = type == torch::kFloat ? 2e-4 : 1e-11;
    assign(*copy, *net);
    net->eval();
    const Tensor before = net->forward(x);
    copy->train();
    const Tensor trained = copy->forward(x);

    const Removal removal = remove_zero_groups(net, links);
    REQUIRE(removal.links.size() == dead.size());
    for (std::size_t i = 0; i < dead.size(); ++i) {
      REQUIRE(removal.links[i].removed == dead[i]);
      REQUIRE(removal.links[i].groups - dead[i] == removal.links[i].kept.numel());
      REQUIRE(removal.links[i].path == links.list()[i].members[0].path);
    }
    REQUIRE(torch::allclose(net->forward(x), before, error, error));
    // In training, also the statistics that are left.
    net->train();
    REQUIRE(torch::allclose(net->forward(x), trained, 10 * error, 10 * error));
    remove_zero_groups(copy, links);
    const auto ours = net->buffers(), theirs = copy->buffers();
    for (std::size_t i = 0; i < ours.size(); ++i) {
      REQUIRE(torch::allclose(ours[i], theirs[i], 10 * error, 10 * error));
    }
    int64_t entries = 0;
    for (const Tensor& parameter : net->parameters()) entries += parameter.numel();
    REQUIRE(removal.entries_after == entries);
    REQUIRE(remove_zero_groups(net, links).entries_after == entries);  // nothing is left to remove
  }
}

TEST_CASE("chain() links each layer's tensors, and who reads them") {
  nn::Sequential net(nn::BatchNorm2d(1), nn::Conv2d(nn::Conv2dOptions(1, 8, 3).bias(false)),
                     nn::BatchNorm2d(8), nn::ReLU(), nn::MaxPool2d(2), nn::Flatten(),
                     nn::Linear(8 * 9, 5), Block(nn::Tanh(), nn::Linear(5, 4)), nn::Sigmoid(),
                     Shift());
  std::string text;
  for (const Links::Link& link : chain(net).list()) {
    for (const Slices& one : link.members) text += one.path + ":" + std::to_string(one.dim) + " ";
    text += "-> ";
    for (const Slices& one : link.readers) text += one.path + ":" + std::to_string(one.dim) + "; ";
  }
  REQUIRE(text ==
          "1.weight:0 2.weight:0 2.bias:0 -> 6.weight:1; 6.weight:0 6.bias:0 -> 7.1.weight:1; ");
  REQUIRE(chain(*net).list().size() == 2);
  torch::optim::SGD sgd(net->parameters(), 0.1);
  ProximalStep prox(sgd, net, GroupLasso(1e-3, chain(net)));
  REQUIRE(contains(prox.describe(), "2.bias"));
}

TEST_CASE("What would be silently wrong in a chain is refused by name") {
  REQUIRE(refusal(nn::Sigmoid()) == "chain: Sigmoid (\"1\") does not keep zeros");
  REQUIRE(refusal(Shift()) == "chain: Shift (\"1\") is unknown; use linked(...)");
  REQUIRE(refusal(nn::ReLU(), OneMinusReLU()) ==
          "chain: OneMinusReLU (\"2\") is unknown; use linked(...)");
  for (const auto& text :
       {refusal(nn::Softplus()), refusal(nn::LogSigmoid()), refusal(nn::Softmax(1)),
        refusal(nn::LogSoftmax(1)), refusal(nn::Hardtanh()), refusal(nn::Threshold(0.1, 1)),
        refusal(nn::AlphaDropout()), refusal(nn::Softmin(1))}) {
    REQUIRE(contains(text, "does not keep zeros"));
  }
  REQUIRE(contains(refusal(nn::PReLU(nn::PReLUOptions().num_parameters(6))),
                   "PReLU (\"1\") has a slope for each unit"));
  REQUIRE(contains(refusal(nn::BatchNorm1d(nn::BatchNorm1dOptions(6).affine(false))),
                   "BatchNorm1d (\"1\") is not affine"));
  REQUIRE(contains(refusal(nn::BatchNorm1d(7)), "has 7 features for 6 units"));
  REQUIRE(contains(refusal(nn::LayerNorm(nn::LayerNormOptions({6}))), "normalizes over the units"));
  REQUIRE(contains(refusal(nn::MaxPool1d(2)), "MaxPool1d (\"1\") is behind features"));
  REQUIRE(contains(refusal(nn::Flatten(nn::FlattenOptions().start_dim(0))), "other dimensions"));
  REQUIRE(refusal(nn::Flatten()).empty());

  nn::Sequential direct(nn::Conv2d(1, 6, 3), nn::ReLU(), nn::Linear(6, 2));
  REQUIRE(error_of([&] { chain(direct); }) ==
          "chain: Linear (\"2\") is directly behind a convolution; put a Flatten in between");
  nn::Sequential columns(nn::Linear(4, 6), nn::Flatten(), nn::Linear(18, 2));
  REQUIRE(contains(error_of([&] { chain(columns); }), "Flatten (\"1\")"));
  nn::Sequential image(nn::Conv1d(1, 6, 3), nn::MaxPool2d(3), nn::Conv1d(6, 2, 3));
  REQUIRE(error_of([&] { chain(image); }) ==
          "chain: MaxPool2d (\"1\") pools over other dimensions than the convolution's");
  nn::Sequential fractional(
      nn::Conv2d(1, 6, 3),
      nn::FractionalMaxPool2d(nn::FractionalMaxPool2dOptions(2).output_size(3)),
      nn::Conv2d(6, 2, 1));  // draws samples for each channel
  REQUIRE(contains(error_of([&] { chain(fractional); }), "is unknown; use linked(...)"));
  nn::Sequential last(nn::Conv2d(1, 6, 3), ChannelsLastFlatten(), nn::Linear(24, 2));
  REQUIRE(contains(error_of([&] { chain(last); }), "ChannelsLastFlatten (\"1\") is unknown"));
  nn::Sequential groups(nn::Conv2d(1, 6, 3), nn::ReLU(),
                        nn::Conv2d(nn::Conv2dOptions(6, 6, 3).groups(2)));
  REQUIRE(contains(error_of([&] { chain(groups); }), "Conv2d (\"2\") is a convolution in groups"));
  nn::Sequential first(nn::Conv2d(nn::Conv2dOptions(6, 6, 3).groups(2)), nn::Conv2d(6, 6, 3));
  REQUIRE(contains(error_of([&] { chain(first); }), "Conv2d (\"0\") is a convolution in groups"));
  nn::Sequential behind(nn::Linear(4, 6), nn::Conv1d(6, 2, 1));
  REQUIRE(contains(error_of([&] { chain(behind); }), "Conv1d (\"1\") is behind features"));
  nn::Sequential sizes(nn::Conv2d(1, 6, 3), nn::Flatten(), nn::Linear(7, 2));
  REQUIRE(contains(error_of([&] { chain(sizes); }), "reads 7 inputs, and there are 6 units"));
  nn::Linear twice(6, 6);
  nn::Sequential shared(twice, nn::ReLU(), twice);
  REQUIRE(contains(error_of([&] { chain(shared); }), "Linear (\"2\") is in it twice"));
  nn::Sequential one(nn::Linear(4, 6), nn::ReLU());
  REQUIRE(contains(error_of([&] { chain(one); }), "there are no hidden units"));
  REQUIRE(error_of([&] { chain(Residual()); }) ==
          "chain: Residual is no Sequential; use linked(...)");
}

TEST_CASE("The tensors stay the same objects, and training goes on") {
  torch::manual_seed(1);
  nn::Sequential net = perceptron();
  const Links units = chain(net);
  const auto parameters = net->parameters();
  {
    torch::NoGradGuard no_grad;
    for (const int64_t unit : {0, 2, 5}) parameters[0][unit].zero_(), parameters[1][unit].zero_();
  }
  const Tensor x = torch::randn({8, 4}), y = torch::randint(3, {8});
  const auto loss = [&] { return torch::nll_loss(net->forward(x).log_softmax(1), y); };
  const Tensor old = loss();
  old.backward({}, /*retain_graph=*/true);  // a graph of before, which is alive
  const Removal removal = remove_zero_groups(net, units);
  REQUIRE(torch::equal(removal.links[0].kept, torch::tensor({1, 3, 4})));
  REQUIRE(removal.entries_before == 4 * 6 + 6 + 6 * 3 + 3);
  REQUIRE(removal.entries_after == 4 * 3 + 3 + 3 * 3 + 3);
  REQUIRE(removal.describe() ==
          "path      groups  removed  left\n"
          "0.weight       6        3     3\n"
          "entries       51       24    27\n");
  std::ostringstream stream;
  stream << removal;
  REQUIRE(stream.str() == removal.describe());
  const auto now = net->parameters();
  for (std::size_t i = 0; i < now.size(); ++i) {
    REQUIRE(now[i].is_same(parameters[i]));
    REQUIRE(now[i].grad().defined() == (i == 3));  // of the bias that did not change
    REQUIRE(now[i].requires_grad());
  }
  REQUIRE(net->ptr<nn::LinearImpl>(0)->options.out_features() == 3);
  REQUIRE(net->ptr<nn::LinearImpl>(2)->options.in_features() == 3);
  torch::optim::Adam adam(net->parameters(), 0.05);
  ProximalStep prox(adam, net, L1(1e-4));
  const double start = loss().item<double>();
  for (int step = 0; step < 30; ++step) {
    adam.zero_grad();
    loss().backward();
    adam.step(), prox.step();
  }
  REQUIRE(loss().item<double>() < 0.7 * start);

  std::stringstream file;
  torch::save(net, file);
  nn::Sequential smaller(nn::Linear(4, 3), nn::ReLU(), nn::Linear(3, 3));
  torch::load(smaller, file);
  REQUIRE(torch::equal(smaller->forward(x), net->forward(x)));
}

TEST_CASE("A removal in InferenceMode leaves tensors that can be trained, in their memory format") {
  torch::manual_seed(5);
  nn::Sequential net(nn::Conv2d(3, 6, 3), nn::ReLU(), nn::Conv2d(6, 4, 3));
  const Links units = chain(net);
  kill_some(*net, units);
  net->parameters()[2].set_data(
      net->parameters()[2].detach().contiguous(torch::MemoryFormat::ChannelsLast));
  {
    const c10::InferenceMode inference;
    REQUIRE(remove_zero_groups(net, units).links[0].removed > 0);
  }
  REQUIRE(net->parameters()[2].is_contiguous(torch::MemoryFormat::ChannelsLast));
  net->forward(torch::randn({2, 3, 8, 8})).sum().backward();
  for (const Tensor& parameter : net->parameters()) REQUIRE(parameter.grad().defined());
}

TEST_CASE("Of a link one group stays, and NaN is no zero") {
  torch::NoGradGuard no_grad;
  nn::Sequential net = perceptron();
  for (const Tensor& parameter : net->parameters()) parameter.zero_();
  const Removal removal = remove_zero_groups(*net, chain(net));
  REQUIRE(removal.links[0].removed == 5);
  REQUIRE(net->forward(torch::ones({2, 4})).sizes() == torch::IntArrayRef({2, 3}));
  nn::Sequential other = perceptron();
  for (const Tensor& parameter : other->parameters()) parameter.zero_();
  other->parameters()[1][4] = std::numeric_limits<float>::quiet_NaN();
  REQUIRE(remove_zero_groups(other, chain(other)).links[0].kept.item<int64_t>() == 4);
}

TEST_CASE("Links by hand: a residual network") {
  torch::manual_seed(2);
  Residual net;
  const Links links = residual_links();
  const std::vector<int64_t> dead = kill_some(*net, links);
  REQUIRE(dead[0] + dead[1] > 0);
  net->eval();
  const Tensor x = torch::randn({3, 1, 7, 7});
  const Tensor before = net->forward(x);
  const Removal removal = remove_zero_groups(*net, links);
  REQUIRE(removal.links[0].removed == dead[0]);
  REQUIRE(removal.links[1].removed == dead[1]);
  REQUIRE(torch::allclose(net->forward(x), before, 1e-4, 1e-4));
  REQUIRE(net->norm->options.num_features() == 5 - dead[1]);
  REQUIRE(net->norm->running_mean.size(0) == 5 - dead[1]);
  REQUIRE(net->stem->options.out_channels() == 6 - dead[0]);
  REQUIRE(net->inner->options.in_channels() == 6 - dead[0]);
  REQUIRE(net->head->options.in_features() == 4 * (6 - dead[0]));
}

TEST_CASE("What cannot be removed is refused by name, and nothing is written") {
  torch::manual_seed(3);
  struct Net : nn::Module {
    nn::Linear fc1{4, 6}, fc2{6, 6}, fc3{6, 2};
    nn::LayerNorm norm{nn::LayerNormOptions({6})};
    nn::Conv2d conv{nn::Conv2dOptions(6, 6, 1).groups(2)};
    Tensor own;
    Net() {
      register_module("fc1", fc1), register_module("fc2", fc2), register_module("fc3", fc3);
      register_module("norm", norm), register_module("conv", conv);
      own = register_parameter("own", torch::zeros({6, 6}));
    }
  } net;
  {
    torch::NoGradGuard no_grad;
    for (const Tensor& parameter : net.parameters()) parameter.narrow(0, 0, 1).zero_();
  }
  const auto before = all_of(net);
  const auto text = [&](const Links& links) {
    // A good link before it: nothing of that is written either.
    Links both = linked({{"fc2.weight", 0}, {"fc2.bias", 0}}, {{"fc3.weight", 1}});
    for (const Links::Link& link : links.list()) both.add(link.members, link.readers);
    std::string error = error_of([&] { remove_zero_groups(net, both); });
    const auto after = all_of(net);
    for (std::size_t i = 0; i < after.size(); ++i) REQUIRE(torch::equal(before[i], after[i]));
    return error;
  };
  const std::vector<Slices> fc1{{"fc1.weight", 0}, {"fc1.bias", 0}};
  REQUIRE(contains(text(linked(fc1)), "the link of \"fc1.weight\" has no readers"));
  REQUIRE(contains(text(linked({{"fc1.weight", 0}}, {{"fc2.weight", 1}})),
                   "\"fc1.bias\" is not in the link of \"fc1.weight\""));
  REQUIRE(contains(text(linked({{"fc1.wieght", 0}}, {{"fc2.weight", 1}})),
                   "\"fc1.wieght\" is no parameter of the module; did you mean \"fc1.weight\"?"));
  REQUIRE(contains(text(linked(fc1, {{"norm.weight", 0}})), "\"norm.weight\" of LayerNorm cannot"));
  std::vector<Slices> with_norm = fc1;
  with_norm.push_back({"norm.weight", 0});
  REQUIRE(contains(text(linked(with_norm, {{"fc2.weight", 1}})), "\"norm.weight\" of LayerNorm"));
  REQUIRE(contains(text(linked(fc1, {{"conv.weight", 0}})), "conv.weight"));
  std::vector<Slices> with_conv = fc1;
  with_conv.push_back({"conv.weight", 0});
  REQUIRE(contains(text(linked(with_conv, {{"fc2.weight", 1}})), "in 2 groups"));
  REQUIRE(contains(text(linked(fc1, {{"own", 1}})), "\"own\" of "));
  REQUIRE(contains(text(linked(fc1, {{"fc2.weight", 0}})), "cannot become smaller along"));
  REQUIRE(contains(text(linked({{"fc1.weight", 1}}, {{"fc2.weight", 1}})), "its slices are no"));
  REQUIRE(contains(text(linked(fc1, {{"fc2.weight", 1}, {"fc2.weight", -1}})),
                   "\"fc2.weight\" is linked twice along dimension 1"));
  REQUIRE(contains(text(linked(fc1, {{"fc3.weight", 1}})), "linked twice"));
  REQUIRE(contains(text(linked(fc1, {{"fc2.weight", 3}})), "has no dimension 3"));

  nn::Sequential centered(Centered(4, 6), nn::ReLU(), nn::Linear(6, 2));
  REQUIRE(contains(
      error_of([&] {
        remove_zero_groups(centered, linked({{"0.weight", 0}, {"0.bias", 0}}, {{"2.weight", 1}}));
      }),
      "\"0.weight\" of Centered cannot become smaller"));
  struct Shared : nn::Module {
    nn::Linear fc{6, 6};
    Shared() { register_module("a", fc), register_module("b", fc); }
  } shared;
  REQUIRE(contains(
      error_of([&] {
        remove_zero_groups(shared, linked({{"a.weight", 0}, {"a.bias", 0}}, {{"b.weight", 1}}));
      }),
      "\"a.weight\" and \"b.weight\" are one tensor"));
}

TEST_CASE("A ProximalStep whose tensors changed their shape says so") {
  torch::manual_seed(4);
  nn::Sequential net = perceptron();
  const Links units = chain(net);
  torch::optim::SGD sgd(net->parameters(), 0.1);
  ProximalStep prox(sgd, net, GroupLasso(1e-3, units));
  const auto step = [&] {
    sgd.zero_grad();
    net->forward(torch::ones({2, 4})).square().mean().backward();
    sgd.step(), prox.step();
  };
  step();
  {
    torch::NoGradGuard no_grad;
    net->parameters()[0][1].zero_(), net->parameters()[1][1].zero_();
  }
  remove_zero_groups(net, units);
  REQUIRE(contains(error_of([&] { prox.reset(); }), "has changed its shape"));
  std::stringstream file;
  REQUIRE(contains(error_of([&] { torch::save(prox, file); }), "has changed its shape"));
  for (const Tensor& parameter : net->parameters()) {
    parameter.mutable_grad() = torch::zeros_like(parameter);
  }
  REQUIRE(contains(error_of([&] { stationarity(prox); }), "has changed its shape"));
  REQUIRE(error_of(step) == "ProximalStep: \"0.weight\" has changed its shape; construct anew");
}
