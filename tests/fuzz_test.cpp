// Random selectors on random modules, against a second evaluator of the same expressions, slow and
// simple, that shares nothing with the library but the contract. Another run, or a longer one:
//   TORCHREG_FUZZ_SEED=7 TORCHREG_FUZZ_COUNT=1000000 torchreg_tests "Fuzz*"
#include "fuzz.hpp"

#include <cstdlib>
#include <iostream>

using namespace fuzz;

namespace {

template <class List, class Predicate>
bool any_of(const List& list, const Predicate& predicate) {
  return std::any_of(list.begin(), list.end(), predicate);
}

/// Follows every character that the glob may have come to.
bool glob_holds(const std::string& glob, const std::string& path) {
  std::set<std::size_t> reached{0}, next;
  for (std::size_t i = 0; i < glob.size(); ++i, reached.swap(next), next.clear()) {
    const bool across = glob.compare(i, 2, "**") == 0;
    for (std::size_t at : reached) {
      const bool same = glob[i] == '?' ? path[at] != '.' : path[at] == glob[i];
      if (glob[i] == '*') next.insert(at);
      if (glob[i] != '*' && at < path.size() && same) next.insert(at + 1);
      while (glob[i] == '*' && at < path.size() && (across || path[at] != '.')) next.insert(++at);
    }
    i += across;
  }
  return reached.count(path.size()) > 0;
}

bool rule_holds(const std::string& verb, const std::string& name, const Place& place) {
  const auto& [path, tensor, owner] = place;
  const std::string leaf = leaf_of(path), bounded = "." + leaf + ".";
  if (verb == "everything") return tensor.is_floating_point();
  if (verb == "normalization") return owner->is_normalization;
  if (verb == "of_type") return owner->is_linear;
  if (verb == "biases") {
    return leaf == "bias" || contains(bounded, ".bias_") || contains(bounded, "_bias.");
  }
  if (verb == "dim") return tensor.dim() == std::stoi(name);
  if (verb == "dim_at_least") return tensor.dim() >= std::stoi(name);
  if (verb == "where") return path > name;
  if (verb == "named") return path == name;
  if (verb == "leaf") return leaf == name;
  if (verb == "under") return path.find(name + ".") == 0;
  return glob_holds(name, path);
}

/// Whether it holds for a tensor at these places.
bool holds(const Expression& e, const Places& places) {
  const auto operand = [&](std::size_t i) { return holds(e.operands[i], places); };
  const auto somewhere = [&](const std::string& verb, const std::string& name = "") {
    return any_of(places, [&](const Place& place) { return rule_holds(verb, name, place); });
  };
  if (e.verb == "!") return !operand(0);
  if (e.verb == "&&") return operand(0) && operand(1);
  if (e.verb == "||") return operand(0) || operand(1);
  if (e.verb == "weights") {
    return somewhere("everything") && somewhere("dim_at_least", "2") && !somewhere("biases") &&
           !somewhere("normalization");
  }
  if (e.names.empty()) return somewhere(e.verb);
  return any_of(e.names, [&](const std::string& name) { return somewhere(e.verb, name); });
}

std::string quote(const std::string& text) {
  static const std::map<char, std::string> escapes{{'"', "\\\""}, {'\\', "\\\\"}, {'\n', "\\n"}};
  std::string inside;
  for (const char c : text) inside += escapes.count(c) ? escapes.at(c) : std::string(1, c);
  return '"' + inside + '"';
}

std::string text_of(const Expression& e) {
  const auto operand = [&](std::size_t i) {
    const std::string& inner = e.operands[i].verb;
    const bool is_looser =
        e.verb == "!" ? inner == "&&" || inner == "||" : e.verb == "&&" && inner == "||";
    return is_looser ? c10::str("(", text_of(e.operands[i]), ")") : text_of(e.operands[i]);
  };
  if (e.operands.size() == 1) return c10::str("!", operand(0));
  if (e.operands.size() == 2) return operand(0) + " " + e.verb + " " + operand(1);
  if (e.verb == "of_type") return "of_type<torch::nn::Linear>()";
  if (e.verb == "matching_regex") return c10::str("matching_regex(", quote(regex_of(e.names)), ")");
  std::string list;
  for (const std::string& name : e.names) {
    list += (list.empty() ? "" : ", ") + (contains(e.verb, "dim") ? name : quote(name));
  }
  return e.verb + "(" + list + ")";
}

/// The first words of the error of the first name that matches nothing.
std::string typo_in(const Expression& e, const Places& places) {
  for (const Expression& operand : e.operands) {
    const std::string typo = typo_in(operand, places);
    if (!typo.empty()) return typo;
  }
  std::vector<Expression> clauses;
  if (contains("of_type, matching, matching_regex", e.verb)) clauses = {e};
  if (contains("named, leaf, under", e.verb)) {
    clauses = {{e.verb, {e.names[0]}}, {e.verb, {e.names[1]}}};
  }
  for (const Expression& clause : clauses) {
    if (any_of(places, [&](const Place& place) { return holds(clause, {place}); })) continue;
    return c10::str("select: ", text_of(clause), " matches no parameter");
  }
  return "";
}

/// Whether a tensor is selected by its very name.
bool names(const Expression& e, const Places& same) {
  if (e.verb == "named") return holds(e, same);
  if (e.verb == "!" || e.operands.empty() || !holds(e, same)) return false;
  return names(e.operands[0], same) || names(e.operands[1], same);
}

/// The paths that are selected, or the first words of the error.
struct Outcome {
  Texts paths;
  std::string error;
};

Outcome outcome_of(const Expression& e, const Places& places) {
  const std::string typo = typo_in(e, places);
  if (!typo.empty()) return {{}, typo};
  Texts selected, frozen, unfit;
  std::set<c10::TensorImpl*> seen;
  int trainable = 0;
  for (const auto& [path, tensor, owner] : places) {
    if (!seen.insert(tensor.unsafeGetTensorImpl()).second) continue;
    Places same;
    for (const Place& place : places) {
      if (place.tensor.is_same(tensor)) same.push_back(place);
    }
    const bool is_floating = tensor.is_floating_point(), trains = tensor.requires_grad();
    trainable += is_floating && trains;
    if (!is_floating && names(e, same)) return {{}, c10::str("select: ", quote(path), " is ")};
    if (holds(e, same)) (!is_floating ? unfit : trains ? selected : frozen).push_back(path);
  }
  if (!selected.empty()) return {selected, ""};
  if (!unfit.empty()) return {{}, c10::str("select: ", quote(unfit[0]), " is ")};
  const std::string text = c10::str("select: ", text_of(e), " selects ");
  if (!frozen.empty())
    return {{}, text + "only frozen parameters (requires_grad is false): " + quote(frozen[0])};
  return {{}, text + "none of the " + std::to_string(trainable) + " trainable parameters"};
}

uint64_t number_in(const char* variable, uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

}  // namespace

TEST_CASE("Fuzz: a second evaluator of random selectors selects, describes and refuses the same",
          "[fuzz]") {
  const uint64_t seed = number_in("TORCHREG_FUZZ_SEED", 1);
  const uint64_t count = number_in("TORCHREG_FUZZ_COUNT", 100000);
  std::cout << "TORCHREG_FUZZ_SEED=" << seed << " TORCHREG_FUZZ_COUNT=" << count << '\n';
  dice.seed(seed);
  uint64_t selected = 0, refused = 0;
  while (selected + refused < count) {
    std::vector<Tree> grown;
    const Tree tree = random_tree(4, grown);
    if (tree.places.empty()) continue;
    freeze_some(tree);
    for (int i = 0; i < 200; ++i) {
      const Expression e = random_expression(tree.places, 4);
      const Selector selector = selector_of(e);
      const auto [paths, error] = outcome_of(e, tree.places);
      Texts found;
      const std::string refusal =
          support::error_of([&] { found = torchreg::select(tree.module, selector).paths(); });
      ++(error.empty() ? selected : refused);
      const bool same =
          found == paths && refusal.find(error) == 0 && refusal.empty() == error.empty();
      if (same && selector.describe() == text_of(e)) continue;
      for (const Place& place : tree.places) UNSCOPED_INFO(quote(place.path));
      CAPTURE(text_of(e), selector.describe(), error, refusal, paths, found);
      FAIL("the library and the second evaluator differ");
    }
  }
  REQUIRE(selected > count / 4);
  REQUIRE(refused > count / 4);
}
