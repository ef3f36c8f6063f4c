// select() and the selectors: what each rule selects, how it describes itself, and what it refuses.
#include <torchreg/torchreg.hpp>

#include "support.hpp"

using namespace torchreg;
using support::contains;
using support::error_of;
using support::Net;
using support::Tensor;
using Paths = std::vector<std::string>;

namespace {

struct BlockImpl : torch::nn::Module {
  BlockImpl() {
    conv = register_module("conv", torch::nn::Conv2d(torch::nn::Conv2dOptions(2, 3, 3)));
    norm = register_module("norm", torch::nn::BatchNorm2d(3));
    scale = register_parameter("scale", torch::ones({}));
  }
  Tensor forward(const Tensor& x) { return norm(conv(x)) * scale; }
  torch::nn::Conv2d conv{nullptr};
  torch::nn::BatchNorm2d norm{nullptr};
  Tensor scale;
};
TORCH_MODULE(Block);

/// Convolutions, normalization, recurrence, attention and an embedding.
struct ZooImpl : torch::nn::Module {
  ZooImpl() {
    blocks = register_module("blocks", torch::nn::Sequential(Block(), Block()));
    lstm = register_module("lstm", torch::nn::LSTM(3, 2));
    attention = register_module("attention", torch::nn::MultiheadAttention(4, 2));
    layer_norm =
        register_module("layer_norm", torch::nn::LayerNorm(torch::nn::LayerNormOptions({4, 4})));
    embedding = register_module("embedding", torch::nn::Embedding(5, 4));
  }
  torch::nn::Sequential blocks{nullptr};
  torch::nn::LSTM lstm{nullptr};
  torch::nn::MultiheadAttention attention{nullptr};
  torch::nn::LayerNorm layer_norm{nullptr};
  torch::nn::Embedding embedding{nullptr};
};
TORCH_MODULE(Zoo);

struct TiedImpl : torch::nn::Module {
  TiedImpl() {
    encoder = register_module("encoder", torch::nn::Embedding(5, 4));
    decoder = register_module("decoder", torch::nn::Linear(4, 5));
    decoder->weight = decoder->register_parameter("tied", encoder->weight);
  }
  torch::nn::Embedding encoder{nullptr};
  torch::nn::Linear decoder{nullptr};
};
TORCH_MODULE(Tied);

Paths selected(const Zoo& zoo, const Selector& selector) { return select(zoo, selector).paths(); }

}  // namespace

TEST_CASE("select: each rule selects what the contract says, in the module's order") {
  Net net;
  Zoo zoo;
  REQUIRE(select(net, everything()).paths() ==
          Paths{"fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"});
  REQUIRE(select(net, weights()).paths() == Paths{"fc1.weight", "fc2.weight"});
  REQUIRE(select(net, biases()).paths() == Paths{"fc1.bias", "fc2.bias"});
  REQUIRE(select(net, named("fc2.weight", "fc1.bias")).paths() == Paths{"fc1.bias", "fc2.weight"});
  REQUIRE(select(net, matching("fc?.weight")).paths() == Paths{"fc1.weight", "fc2.weight"});
  REQUIRE(select(net, matching_regex("fc[12]\\.bias")).paths() == Paths{"fc1.bias", "fc2.bias"});
  REQUIRE(select(net, under("fc2")).paths() == Paths{"fc2.weight", "fc2.bias"});
  REQUIRE(select(net, leaf("bias")).paths() == Paths{"fc1.bias", "fc2.bias"});
  REQUIRE(select(net, dim(1)).size() == 2);
  REQUIRE(select(net, dim_at_least(1)).size() == 4);
  REQUIRE(select(net, of_type<torch::nn::Linear>()).size() == 4);
  REQUIRE(select(net, of_type<torch::nn::LinearImpl>()).size() == 4);

  REQUIRE(selected(zoo, normalization()) == Paths{"blocks.0.norm.weight", "blocks.0.norm.bias",
                                                  "blocks.1.norm.weight", "blocks.1.norm.bias",
                                                  "layer_norm.weight", "layer_norm.bias"});
  REQUIRE(selected(zoo, biases() && under("lstm", "attention")) ==
          Paths{"lstm.bias_ih_l0", "lstm.bias_hh_l0", "attention.in_proj_bias",
                "attention.out_proj.bias"});
  REQUIRE(selected(zoo, weights()) == Paths{"blocks.0.conv.weight", "blocks.1.conv.weight",
                                            "lstm.weight_ih_l0", "lstm.weight_hh_l0",
                                            "attention.in_proj_weight", "attention.out_proj.weight",
                                            "embedding.weight"});
  REQUIRE(selected(zoo, dim(0)) == Paths{"blocks.0.scale", "blocks.1.scale"});
  REQUIRE(selected(zoo, under("blocks.1.conv")) ==
          Paths{"blocks.1.conv.weight", "blocks.1.conv.bias"});
  REQUIRE(selected(zoo, of_type<Block>()) == Paths{"blocks.0.scale", "blocks.1.scale"});
}

TEST_CASE("matching: * stays within a part of the path, ** does not, ? is one character") {
  Zoo zoo;
  REQUIRE(selected(zoo, matching("blocks.*.conv.weight")).size() == 2);
  REQUIRE(selected(zoo, matching("blocks.**")).size() == 10);
  REQUIRE(selected(zoo, matching("**.weight_*")).size() == 2);
  REQUIRE(selected(zoo, matching("**")).size() == select(zoo, everything()).size());
  REQUIRE(selected(zoo, matching("blocks.?.scale")).size() == 2);
  REQUIRE(contains(error_of([&] { selected(zoo, matching("blocks.*")); }), "matches no parameter"));
  REQUIRE(contains(error_of([&] { selected(zoo, matching("blocks?0.scale")); }),
                   "matches no parameter"));
  REQUIRE(contains(error_of([&] { selected(zoo, matching("")); }), "matches no parameter"));
}

TEST_CASE("select: takes the module, a holder, pointers and a Sequential as they are") {
  Net net;
  REQUIRE(select(*net, weights()).size() == 2);
  REQUIRE(select(net, weights()).size() == 2);
  REQUIRE(select(net.ptr(), weights()).size() == 2);
  REQUIRE(select(net.get(), weights()).size() == 2);
  const std::shared_ptr<torch::nn::Module> base = net.ptr();
  REQUIRE(select(base, weights()).size() == 2);
  const torch::nn::Module& reference = *net;
  REQUIRE(select(reference, weights()).size() == 2);
  torch::nn::Sequential sequential(torch::nn::Linear(2, 2), torch::nn::Dropout(0.5), Net());
  REQUIRE(select(sequential, weights()).paths() ==
          Paths{"0.weight", "2.fc1.weight", "2.fc2.weight"});
  torch::nn::ModuleList list{Net(), Net()};
  REQUIRE(select(list, weights()).size() == 4);
  const std::shared_ptr<torch::nn::Module> null;
  REQUIRE(contains(error_of([&] { select(null, weights()); }), "null pointer"));
}

TEST_CASE("Selector: describes itself as C++ source with the parentheses that C++ needs") {
  const auto is_large = [](const Parameter& p) { return p.tensor.numel() > 5; };
  REQUIRE(weights().describe() == "weights()");
  REQUIRE((weights() && !named("a", "b")).describe() == "weights() && !named(\"a\", \"b\")");
  REQUIRE(((biases() || dim(1)) && under("x")).describe() ==
          "(biases() || dim(1)) && under(\"x\")");
  REQUIRE((biases() || (dim(1) && leaf("y"))).describe() == "biases() || dim(1) && leaf(\"y\")");
  REQUIRE((!(everything() && normalization())).describe() == "!(everything() && normalization())");
  REQUIRE((!!dim_at_least(2)).describe() == "!!dim_at_least(2)");
  REQUIRE((where(is_large, "large") && matching("**")).describe() ==
          "where(\"large\") && matching(\"**\")");
  REQUIRE(of_type<torch::nn::Linear>().describe() == "of_type<torch::nn::Linear>()");
  REQUIRE(named("a\"b\\c").describe() == "named(\"a\\\"b\\\\c\")");
  REQUIRE(matching_regex("a|b").describe() == "matching_regex(\"a|b\")");
}

TEST_CASE("Selector: a lambda is one, and connectives combine") {
  Net net;
  const Selector large = [](const Parameter& p) { return p.tensor.numel() > 8; };
  REQUIRE(select(net, large).paths() == Paths{"fc1.weight"});
  REQUIRE(select(net, [](const Parameter& p) { return p.path == "fc2.bias"; }).size() == 1);
  REQUIRE(select(net, weights() && !large).paths() == Paths{"fc2.weight"});
  REQUIRE(select(net, !weights() || large).size() == 3);
}

TEST_CASE("select: a tied tensor counts once, and a rule holds under any of its paths") {
  Tied tied;
  REQUIRE(select(tied, everything()).paths() ==
          Paths{"encoder.weight", "decoder.weight", "decoder.bias"});
  REQUIRE(select(tied, named("decoder.tied")).paths() == Paths{"encoder.weight"});
  REQUIRE(select(tied, under("decoder")).paths() ==
          Paths{"encoder.weight", "decoder.weight", "decoder.bias"});
  REQUIRE(select(tied, weights() && !leaf("tied")).paths() == Paths{"decoder.weight"});
  REQUIRE(select(tied, of_type<torch::nn::Embedding>() && of_type<torch::nn::Linear>()).paths() ==
          Paths{"encoder.weight"});
  const Tensor& w = tied->encoder->weight;
  REQUIRE(Parameters({w, w, tied->decoder->bias}).paths() == Paths{"tensor 0", "tensor 2"});
}

TEST_CASE("select: frozen parameters are not selected") {
  Net net;
  net->fc1->weight.set_requires_grad(false);
  REQUIRE(select(net, weights()).paths() == Paths{"fc2.weight"});
  REQUIRE(error_of([&] { select(net, named("fc1.weight")); }) ==
          "select: named(\"fc1.weight\") selects only frozen parameters (requires_grad is false): "
          "\"fc1.weight\"");
  for (auto& p : net->parameters()) p.set_requires_grad(false);
  REQUIRE(contains(error_of([&] { select(net, weights()); }),
                   "select: weights() selects only frozen parameters (requires_grad is false): "
                   "\"fc1.weight\", \"fc2.weight\""));
}

TEST_CASE("select: a name that matches nothing throws with the nearest names") {
  Net net;
  REQUIRE(error_of([&] { select(net, named("fc1.weigth")); }) ==
          "select: named(\"fc1.weigth\") matches no parameter; did you mean \"fc1.weight\"? (or "
          "\"fc2.weight\", \"fc1.bias\")");
  REQUIRE(contains(error_of([&] { select(net, !named("fc3.bias")); }),
                   "named(\"fc3.bias\") matches no parameter; did you mean \"fc1.bias\"? (or "
                   "\"fc2.bias\", "));
  REQUIRE(contains(error_of([&] { select(net, weights() || under("fc")); }),
                   "under(\"fc\") matches no parameter; did you mean \"fc1\"? (or \"fc2\")"));
  REQUIRE(
      contains(error_of([&] { select(net, leaf("wieght")); }),
               "leaf(\"wieght\") matches no parameter; did you mean \"weight\"? (or \"bias\")"));
  REQUIRE(contains(error_of([&] { select(net, weights() && !of_type<torch::nn::Conv2d>()); }),
                   "of_type<torch::nn::Conv2d>() matches no parameter"));
  REQUIRE(contains(error_of([&] { select(net, matching_regex("fc3.*")); }),
                   "matching_regex(\"fc3.*\") matches no parameter; did you mean"));
  REQUIRE(contains(error_of([&] { select(net, named("fc1.weight", "typo")); }),
                   "named(\"typo\") matches no parameter"));
}

TEST_CASE("select: the other errors say what was required and what came") {
  Net net;
  REQUIRE(error_of([&] { select(net, dim(3)); }) ==
          "select: dim(3) selects none of the 4 trainable parameters: \"fc1.weight\", "
          "\"fc1.bias\", \"fc2.weight\", \"fc2.bias\"; everything() takes them all, and a tensor "
          "itself can be passed too");
  REQUIRE(contains(error_of([] { matching_regex("("); }),
                   "select: matching_regex(\"(\") is not a valid regular expression: "));
  torch::nn::Module empty;
  REQUIRE(error_of([&] { select(empty, weights()); }) ==
          "select: the module has no parameters; were its submodules registered with "
          "register_module?");
  torch::nn::Sequential deep;
  for (int i = 0; i < 30; ++i) deep->push_back(torch::nn::Linear(1, 1));
  const std::string error = error_of([&] { select(deep, dim(3)); });
  REQUIRE(contains(error, "none of the 60 trainable parameters"));
  REQUIRE(contains(error, "\"9.bias\", ..."));
  REQUIRE_FALSE(contains(error, "\"10.weight\""));
}

TEST_CASE(
    "select: integer and complex parameters are no candidates, and are named when asked for") {
  torch::nn::Module module;
  module.register_parameter("ids", torch::arange(3), /*requires_grad=*/false);
  module.register_parameter("phase", torch::ones({2, 2}, torch::kComplexFloat));
  module.register_parameter("w", torch::ones({2, 2}));
  REQUIRE(select(module, everything()).paths() == Paths{"w"});
  REQUIRE(select(module, !named("ids")).paths() == Paths{"w"});
  REQUIRE(error_of([&] {
            L1(1, named("ids"))(module);
          }) == "L1: \"ids\" is Long; a floating-point tensor is required");
  REQUIRE(contains(error_of([&] {
                     L2(1, named("phase"))
                     (module);
                   }),
                   "L2: \"phase\" is ComplexFloat; a floating-point tensor is required"));
}

TEST_CASE("Parameters: iterable, convertible from tensors, and described by a table") {
  Net net;
  const Parameters parameters = select(net, weights());
  int64_t entries = 0;
  for (const Parameter& parameter : parameters) entries += parameter.tensor.numel();
  REQUIRE(entries == 20);
  REQUIRE(parameters.tensors()[1].is_same(net->fc2->weight));
  REQUIRE(parameters.describe() ==
          "path         shape  entries\n"
          "fc1.weight  [4, 3]       12\n"
          "fc2.weight  [2, 4]        8\n"
          "total                    20\n");
  const std::vector<Tensor> vector = net->parameters();
  REQUIRE(Parameters(vector).size() == 4);
  REQUIRE(Parameters(vector).paths()[3] == "tensor 3");
}

TEST_CASE("matching_regex: the whole path is matched, whatever the alternatives are") {
  Net net;
  REQUIRE(select(net, matching_regex("fc1.weight|fc2")).paths() == Paths{"fc1.weight"});
  REQUIRE(contains(error_of([&] { select(net, matching_regex("fc1|weight")); }),
                   "matching_regex(\"fc1|weight\") matches no parameter"));
}

TEST_CASE("of_type: holds for a class that is derived from the type") {
  struct WideImpl : torch::nn::LinearImpl {
    WideImpl() : LinearImpl(2, 3) {}
  };
  torch::nn::Module module;
  module.register_module("wide", std::make_shared<WideImpl>());
  REQUIRE(select(module, of_type<torch::nn::Linear>()).paths() ==
          Paths{"wide.weight", "wide.bias"});
}

TEST_CASE("select: names that are equally near come in the module's order") {
  torch::nn::Module module;
  module.register_parameter("wb", torch::ones({2}));
  module.register_parameter("wa", torch::ones({2}));
  REQUIRE(error_of([&] { select(module, named("wc")); }) ==
          "select: named(\"wc\") matches no parameter; did you mean \"wb\"? (or \"wa\")");
}

TEST_CASE("select: an integer tensor that is named is an error, beside real ones too") {
  struct WithIdsImpl : torch::nn::Module {
    WithIdsImpl() {
      register_parameter("a", torch::ones({2, 2}));
      register_parameter("ids", torch::arange(4).view({2, 2}), /*requires_grad=*/false);
    }
  };
  WithIdsImpl module;
  const std::string message = " is Long; a floating-point tensor is required";
  REQUIRE(
      contains(error_of([&] { select(module, named("a", "ids")); }), "select: \"ids\"" + message));
  REQUIRE(contains(error_of([&] { select(module, weights() || named("ids")); }),
                   "select: \"ids\"" + message));
  REQUIRE(contains(error_of([&] {
                     L1(1, named("a") || named("ids"))
                     (module);
                   }),
                   "L1: \"ids\"" + message));
  REQUIRE(contains(error_of([&] { select(module, named("a", "ids") && dim(2)); }), message));
  for (const Selector& fine : {everything(), dim(2), leaf("a"), named("a", "ids") && !named("ids"),
                               dim(2) && !named("ids"), matching("**")}) {
    CAPTURE(fine.describe());
    REQUIRE(select(module, fine).paths() == std::vector<std::string>{"a"});
  }
}
