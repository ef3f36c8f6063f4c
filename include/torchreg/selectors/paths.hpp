#pragma once

#include <algorithm>
#include <functional>
#include <regex>
#include <string>
#include <utility>
#include <vector>

#include <torchreg/detail/text/text.hpp>
#include <torchreg/selectors/selector.hpp>

namespace torchreg {

namespace detail {

inline std::string last_part(const std::string& path) { return path.substr(path.rfind('.') + 1); }

/// The modules on the way to the parameter: "a" and "a.b" for "a.b.weight".
inline std::vector<std::string> modules_above(const std::string& path) {
  std::vector<std::string> modules;
  for (auto dot = path.find('.'); dot != std::string::npos; dot = path.find('.', dot + 1)) {
    modules.push_back(path.substr(0, dot));
  }
  return modules;
}

/// `*`: any characters but a dot, `**`: any characters, `?`: one character but a dot.
inline bool glob_matches(const char* pattern, const char* text) {
  if (*pattern == '\0') return *text == '\0';
  if (*pattern == '*') {
    const bool across_dots = pattern[1] == '*';
    const char* rest = pattern + (across_dots ? 2 : 1);
    for (;; ++text) {
      if (glob_matches(rest, text)) return true;
      if (*text == '\0' || (*text == '.' && !across_dots)) return false;
    }
  }
  const bool same = *pattern == '?' ? *text != '.' && *text != '\0' : *pattern == *text;
  return same && glob_matches(pattern + 1, text + 1);
}

/// A rule on the path that names something: `matches(name, path)` must hold somewhere for each of
/// `names`; `meant(path)` lists what a mistyped name may have meant there.
template <class Matches, class Meant>
Selector naming(const std::string& verb, const std::vector<std::string>& names, Matches matches,
                Meant meant) {
  Rule rule;
  rule.text = verb + "(" + literals(names) + ")";
  rule.holds = [names, matches](const Aliases& aliases) {
    for (const Parameter& alias : aliases) {
      for (const std::string& name : names) {
        if (matches(name, alias.path)) return true;
      }
    }
    return false;
  };
  rule.check_names = [verb, names, matches, meant](const std::vector<Parameter>& parameters) {
    for (const std::string& name : names) {
      const auto found = [&](const Parameter& parameter) { return matches(name, parameter.path); };
      if (std::any_of(parameters.begin(), parameters.end(), found)) continue;
      std::vector<std::string> candidates;
      for (const Parameter& parameter : parameters) {
        for (std::string& candidate : meant(parameter.path)) {
          candidates.push_back(std::move(candidate));
        }
      }
      TORCH_CHECK_VALUE(false, "select: ", verb, "(", literal(name), ") matches no parameter",
                        did_you_mean(name, candidates));
    }
  };
  return Selector(std::move(rule));
}

inline std::vector<std::string> whole_path(const std::string& path) { return {path}; }

}  // namespace detail

/// Selects exactly these dotted paths: named("fc1.weight", "fc2.weight").
template <class... Paths>
Selector named(const std::string& path, const Paths&... more) {
  detail::Rule rule =
      detail::naming("named", {path, more...}, std::equal_to<std::string>(), detail::whole_path)
          .rule();
  rule.names = rule.holds;
  return Selector(std::move(rule));
}

/// Selects by a glob on the whole path: `*` any characters within one part of the path, `**` any
/// characters including dots, `?` one character other than a dot.
inline Selector matching(const std::string& glob) {
  return detail::naming(
      "matching", {glob},
      [](const std::string& pattern, const std::string& path) {
        return detail::glob_matches(pattern.c_str(), path.c_str());
      },
      detail::whole_path);
}

/// Selects by an ECMAScript regular expression on the whole path. A template, as regular
/// expressions take a second to compile, which only who selects by one should wait for.
template <class Regex = std::regex>
Selector matching_regex(const std::string& expression) {
  Regex regex;
  try {
    regex = Regex(expression);
  } catch (const std::regex_error& error) {
    TORCH_CHECK_VALUE(false, "select: matching_regex(", detail::literal(expression),
                      ") is not a valid regular expression: ", error.what());
  }
  return detail::naming(
      "matching_regex", {expression},
      [regex](const std::string&, const std::string& path) {
        return std::regex_match(path, regex);
      },
      detail::whole_path);
}

/// Selects all parameters of the submodules at these paths: under("encoder.layers.0").
template <class... Paths>
Selector under(const std::string& path, const Paths&... more) {
  return detail::naming(
      "under", {path, more...},
      [](const std::string& module, const std::string& parameter) {
        return detail::starts_with(parameter, module + ".");
      },
      detail::modules_above);
}

/// Selects by the last part of the path: leaf("weight").
template <class... Names>
Selector leaf(const std::string& name, const Names&... more) {
  return detail::naming(
      "leaf", {name, more...},
      [](const std::string& leaf, const std::string& path) {
        return leaf == detail::last_part(path);
      },
      [](const std::string& path) { return std::vector<std::string>{detail::last_part(path)}; });
}

}  // namespace torchreg
