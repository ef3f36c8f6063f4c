#pragma once

#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <torchreg/parameters.hpp>

namespace torchreg {

namespace detail {

/// How tightly C++ binds the outermost operator of an expression.
enum class Binding { kOr, kAnd, kUnary };

/// One tensor under all its paths, in the module's order.
using Aliases = std::vector<Parameter>;

/// What a Selector shares: the predicate, its text, a check that a whole module's parameters hold
/// every name in it, and whether it holds for a tensor that is in it by its very name.
struct Rule {
  std::function<bool(const Aliases&)> holds;
  std::string text;
  Binding binding = Binding::kUnary;
  std::function<void(const std::vector<Parameter>&)> check_names = [](const auto&) {};
  std::function<bool(const Aliases&)> names = [](const auto&) { return false; };

  std::string text_within(Binding outer) const { return binding < outer ? "(" + text + ")" : text; }
};

}  // namespace detail

/// A predicate on a Parameter that can describe itself; combined with &&, || and !.
///
/// A tensor that a module holds under several paths is asked about once: a rule holds for it if it
/// holds under any of its paths, and the connectives act on those answers. Cheap to copy, and safe
/// for concurrent use as long as the predicates given to it are.
class Selector {
 public:
  explicit Selector(detail::Rule rule)
      : rule_(std::make_shared<const detail::Rule>(std::move(rule))) {}

  /// Any `bool(const Parameter&)`, such as a lambda.
  template <class Predicate,
            class = std::enable_if_t<
                !std::is_base_of_v<Selector, std::decay_t<Predicate>> &&
                std::is_invocable_r_v<bool, const std::decay_t<Predicate>&, const Parameter&>>>
  Selector(Predicate predicate, std::string text = "where(predicate)")
      : Selector(detail::Rule{[predicate = std::move(predicate)](const detail::Aliases& aliases) {
                                for (const Parameter& alias : aliases) {
                                  if (predicate(alias)) return true;
                                }
                                return false;
                              },
                              std::move(text)}) {}

  /// The expression as C++ source, with the parentheses that C++ needs.
  const std::string& describe() const { return rule_->text; }

  bool operator()(const Parameter& parameter) const { return rule_->holds({parameter}); }

  const detail::Rule& rule() const { return *rule_; }

  friend Selector operator!(const Selector& a) {
    return Selector({[a](const auto& aliases) { return !a.rule().holds(aliases); },
                     c10::str("!", a.rule().text_within(detail::Binding::kUnary)),
                     detail::Binding::kUnary, a.rule().check_names});
  }

  friend Selector operator&&(const Selector& a, const Selector& b) {
    detail::Rule rule = joined(a, " && ", b, detail::Binding::kAnd);
    rule.holds = [a, b](const auto& t) { return a.rule().holds(t) && b.rule().holds(t); };
    rule.names = [a, b, both = rule.holds](const auto& t) {
      return both(t) && (a.rule().names(t) || b.rule().names(t));
    };
    return Selector(std::move(rule));
  }

  friend Selector operator||(const Selector& a, const Selector& b) {
    detail::Rule rule = joined(a, " || ", b, detail::Binding::kOr);
    rule.holds = [a, b](const auto& t) { return a.rule().holds(t) || b.rule().holds(t); };
    rule.names = [a, b](const auto& t) { return a.rule().names(t) || b.rule().names(t); };
    return Selector(std::move(rule));
  }

 private:
  /// The text of both, and the check of their names.
  static detail::Rule joined(const Selector& a, const char* connective, const Selector& b,
                             detail::Binding binding) {
    detail::Rule rule;
    rule.text = a.rule().text_within(binding) + connective + b.rule().text_within(binding);
    rule.binding = binding;
    rule.check_names = [a, b](const std::vector<Parameter>& parameters) {
      a.rule().check_names(parameters);
      b.rule().check_names(parameters);
    };
    return rule;
  }

  std::shared_ptr<const detail::Rule> rule_;
};

}  // namespace torchreg
