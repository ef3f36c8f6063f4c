#pragma once

// Random modules and random selectors, and what is known of them without asking the library.

#include <torchreg/torchreg.hpp>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "support.hpp"

namespace fuzz {

using support::contains;
using torch::Tensor;
using torchreg::Selector;
using Texts = std::vector<std::string>;

inline std::mt19937_64 dice;

inline std::size_t below(std::size_t n) { return dice() % n; }  // the same on every platform
inline bool once_in(std::size_t n) { return below(n) == 0; }
template <class List>
const auto& one_of(const List& list) {
  return list[below(list.size())];
}

struct RowNormImpl : torch::nn::Module {};
struct NormalizerImpl : torch::nn::Module {};
struct WideLinearImpl : torch::nn::LinearImpl {
  WideLinearImpl() : LinearImpl(2, 4) {}
};

struct Class {
  bool is_linear, is_normalization;
  std::function<std::shared_ptr<torch::nn::Module>()> make;
  Texts parameters;  ///< that it comes with; none: it is given some, and children
};

/// A parameter under one of its paths.
struct Place {
  std::string path;
  Tensor tensor;
  const Class* owner;
};
using Places = std::vector<Place>;

struct Tree {
  std::shared_ptr<torch::nn::Module> module;
  Places places;  ///< in the module's order
};

inline const Class& random_class(bool with_children) {
  using namespace torch::nn;
  static const Texts both{"weight", "bias"};
  static const Texts gates{"weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"};
  static const std::vector<Class> classes{
      {false, false, [] { return std::make_shared<Module>("LayerNorm"); }, {}},
      {false, false, [] { return std::make_shared<NormalizerImpl>(); }, {}},
      {false, true, [] { return std::make_shared<RowNormImpl>(); }, {}},
      {false, true,
       [] {
         return LayerNorm(LayerNormOptions({2, 2})).ptr();
       },
       both},
      {false, true, [] { return BatchNorm1d(3).ptr(); }, both},
      {false, false, [] { return LSTM(2, 1).ptr(); }, gates},
      {true, false, [] { return Linear(LinearOptions(2, 1).bias(false)).ptr(); }, {"weight"}},
      {true, false, [] { return std::make_shared<WideLinearImpl>(); }, both},
  };
  return classes[below(with_children ? 3 : classes.size())];
}

inline std::string random_name() {
  static const Texts pieces{"weight", "bias", "bias_", "_bias", "fc", "0",  "*", "**", "?",
                            " ",      "\"",   "\\",    "'",     "é",  "重", "[", "(",  ")",
                            "^",      "$",    "+",     "{2}",   "|",  "\n", "a"};
  std::string name = one_of(pieces);
  while (once_in(2)) name += one_of(pieces);
  return name;
}

inline Tensor random_tensor() {
  static const std::vector types{torch::kDouble, torch::kHalf, torch::kLong, torch::kComplexFloat};
  const std::vector<int64_t> sizes(below(4), 1 + static_cast<int64_t>(below(2)));
  return torch::zeros(sizes, once_in(3) ? one_of(types) : torch::kFloat);
}

/// A module whose tensors and children may be among those that were `grown` before.
inline Tree random_tree(std::size_t depth, std::vector<Tree>& grown) {
  const Class& type = random_class(below(4) < depth);
  Tree tree{type.make(), {}};
  for (const std::string& name : type.parameters) {
    tree.places.push_back({name, tree.module->named_parameters(/*recurse=*/false)[name], &type});
  }
  const std::size_t parameters = type.parameters.empty() ? below(5) : 0;
  const std::size_t children = type.parameters.empty() && depth > 0 ? below(5) : 0;
  std::set<std::string> names;
  for (std::size_t i = 0; i < parameters + children; ++i) {
    const std::string name = random_name();
    if (!names.insert(name).second) continue;
    const bool is_tied = once_in(6) && !grown.empty() && !grown.back().places.empty();
    if (i < parameters) {
      const Tensor tensor = is_tied ? one_of(grown.back().places).tensor : random_tensor();
      tree.module->register_parameter(name, tensor, tensor.scalar_type() != torch::kLong);
      tree.places.push_back({name, tensor, &type});
    } else {
      const Tree child = is_tied ? one_of(grown) : random_tree(depth - 1, grown);
      tree.module->register_module(name, child.module);
      for (const auto& [path, tensor, owner] : child.places) {
        tree.places.push_back({name + "." + path, tensor, owner});
      }
    }
  }
  grown.push_back(tree);
  return tree;
}

inline void freeze_some(const Tree& tree) {
  const std::size_t eighths = once_in(6) ? 8 : below(4);
  for (const Place& place : tree.places) {
    if (below(8) < eighths) place.tensor.set_requires_grad(false);
  }
}

struct Expression {
  std::string verb;  ///< a rule's, or "!", "&&", "||" of the operands
  Texts names = {};  ///< of matching_regex: globs that mean the same
  std::vector<Expression> operands = {};
};

inline std::string leaf_of(const std::string& path) {
  return {std::find(path.rbegin(), path.rend(), '.').base(), path.end()};
}

inline std::string module_of(const std::string& path) {
  return path.substr(0, path.rfind('.', std::max(path.find('.'), below(path.size()))));
}

/// A glob that the path matches, mostly.
inline std::string glob_of(std::string path) {
  for (std::size_t n = below(4); n > 0; --n) {
    const std::size_t start = below(path.size() + 1);
    const std::size_t length = below(std::min<std::size_t>(path.size() - start, 8) + 1);
    const bool has_dot = contains(path.substr(start, length), ".");
    const bool across = has_dot ? !once_in(50) : once_in(4);
    path.replace(start, length, length == 1 && once_in(2) ? "?" : across ? "**" : "*");
  }
  return path;
}

/// The regular expression that means one of these globs.
inline std::string regex_of(const Texts& globs) {
  std::string regex;
  for (const std::string& glob : globs) {
    regex += regex.empty() ? "" : "|";
    for (std::size_t i = 0; i < glob.size(); ++i) {
      const bool across = glob.compare(i, 2, "**") == 0;
      const std::string escape = contains("^$\\.+()[]{}|", {glob[i]}) ? "\\" : "";
      if (glob[i] == '*') regex += across ? "[\\s\\S]*" : "[^.]*";
      if (glob[i] != '*') regex += glob[i] == '?' ? "[^.]" : escape + glob[i];
      i += across;
    }
  }
  return regex;
}

inline Expression random_rule(const Places& places) {
  static const Texts plain{"everything", "weights",       "weights", "biases",
                           "biases",     "normalization", "of_type"};
  static const Texts named{"dim",  "dim_at_least", "where",    "named",
                           "leaf", "under",        "matching", "matching_regex"};
  if (once_in(3)) return {one_of(plain)};
  Expression rule{one_of(named)};
  const bool is_list =
      contains("named leaf under matching_regex", rule.verb) && rule.verb != "matching";
  while (rule.names.size() < (is_list ? 2 : 1)) {
    std::string name = one_of(places).path;
    for (int i = 0; i < 9 && !contains(name, "."); ++i) name = one_of(places).path;
    if (rule.verb == "leaf") name = leaf_of(name);
    if (rule.verb == "under") name = module_of(name);
    if (contains(rule.verb, "matching")) name = glob_of(name);
    if (contains(rule.verb, "dim")) name = std::to_string(below(4));
    if (is_list && once_in(200)) name.insert(below(name.size() + 1), random_name());
    rule.names.push_back(name);
  }
  return rule;
}

inline Expression random_expression(const Places& places, int depth) {
  static const Texts connectives{"!", "&&", "||", "||"};
  if (depth == 0 || once_in(4)) return random_rule(places);
  Expression e{one_of(connectives), {}, {random_expression(places, depth - 1)}};
  if (e.verb != "!") e.operands.push_back(random_expression(places, depth - 1));
  return e;
}

/// What a user would write.
inline Selector selector_of(const Expression& e) {
  using namespace torchreg;
  const auto operand = [&](std::size_t i) { return selector_of(e.operands[i]); };
  if (e.verb == "!") return !operand(0);
  if (e.verb == "&&") return operand(0) && operand(1);
  if (e.verb == "||") return operand(0) || operand(1);
  if (e.verb == "everything") return everything();
  if (e.verb == "weights") return weights();
  if (e.verb == "biases") return biases();
  if (e.verb == "normalization") return normalization();
  if (e.verb == "of_type") return of_type<torch::nn::Linear>();
  if (e.verb == "matching_regex") return matching_regex(regex_of(e.names));
  const std::string &first = e.names.front(), &last = e.names.back();
  if (e.verb == "dim") return dim(std::stoi(first));
  if (e.verb == "dim_at_least") return dim_at_least(std::stoi(first));
  if (e.verb == "matching") return matching(first);
  if (e.verb == "named") return named(first, last);
  if (e.verb == "leaf") return leaf(first, last);
  if (e.verb == "under") return under(first, last);
  return where([=](const Parameter& p) { return p.path > first; }, first);
}

}  // namespace fuzz
