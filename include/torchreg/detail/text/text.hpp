#pragma once

#include <c10/util/StringUtil.h>
#include <c10/util/Type.h>

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <string>
#include <typeinfo>
#include <unordered_set>
#include <utility>
#include <vector>

namespace torchreg::detail {

/// Whether a byte of UTF-8 is of a control character: of U+0000 to U+001F, or U+007F to U+009F.
inline bool is_control(const std::string& text, std::size_t i) {
  const auto byte = [&](std::size_t k) { return static_cast<unsigned char>(text[k]); };
  const auto ends_one = [&](std::size_t k) {
    return k > 0 && k < text.size() && byte(k - 1) == 0xc2 && byte(k) >= 0x80 && byte(k) < 0xa0;
  };
  return byte(i) < 0x20 || byte(i) == 0x7f || ends_one(i) || ends_one(i + 1);
}

/// The text with its control characters as C++ writes them.
inline std::string printable(const std::string& text) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\n' || c == '\t') {
      result += c == '\n' ? "\\n" : "\\t";
    } else if (is_control(text, i)) {  // in three octal digits, so that it ends there
      result += {'\\', char('0' + byte / 64), char('0' + byte / 8 % 8), char('0' + byte % 8)};
    } else {
      result += c;
    }
  }
  return result;
}

/// The text as a C++ string literal.
inline std::string literal(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '"' || c == '\\') escaped += '\\';
    escaped += c;
  }
  return c10::str('"', printable(escaped), '"');
}

inline std::string literals(const std::vector<std::string>& texts) {
  std::string list;
  for (const std::string& text : texts) list += (list.empty() ? "" : ", ") + literal(text);
  return list;
}

inline bool starts_with(const std::string& text, const std::string& prefix) {
  return text.compare(0, prefix.size(), prefix) == 0;
}

inline bool ends_with(const std::string& text, const std::string& suffix) {
  return text.size() >= suffix.size() &&
         text.compare(text.size() - suffix.size(), suffix.size(), suffix) == 0;
}

/// A class's name as C++ has it, without the word that MSVC puts in front.
inline std::string qualified_name(const std::type_info& type) {
  const std::string name = c10::demangle(type.name());
  return name.substr(starts_with(name, "class ") ? 6 : starts_with(name, "struct ") ? 7 : 0);
}

/// The class name without what it is nested in: "LayerNormImpl" for torch::nn::LayerNormImpl.
inline std::string unqualified_name(const std::type_info& type) {
  const std::string name = qualified_name(type);
  std::size_t start = 0;
  int depth = 0;  // inside brackets, :: belongs to an argument
  for (std::size_t i = 0; i + 1 < name.size(); ++i) {
    if (name[i] == '<' || name[i] == '(') ++depth;
    if (name[i] == '>' || name[i] == ')') --depth;
    if (depth == 0 && name[i] == ':' && name[i + 1] == ':') start = i + 2;
  }
  return name.substr(start);
}

/// Levenshtein's distance: insertions, deletions and substitutions of one character.
inline std::size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t substituted = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = std::exchange(row[j], std::min({row[j] + 1, row[j - 1] + 1, substituted}));
    }
  }
  return row.back();
}

/// "; did you mean "a"? (or "b", "c")": the three names nearest to `name`, ties in their order.
inline std::string did_you_mean(const std::string& name, const std::vector<std::string>& names) {
  std::vector<std::pair<std::size_t, std::string>> ranked;
  std::unordered_set<std::string> known;
  for (const std::string& candidate : names) {
    if (known.insert(candidate).second)
      ranked.emplace_back(edit_distance(name, candidate), candidate);
  }
  std::stable_sort(ranked.begin(), ranked.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<std::string> others;
  for (std::size_t i = 1; i < std::min<std::size_t>(ranked.size(), 3); ++i) {
    others.push_back(ranked[i].second);
  }
  if (ranked.empty()) return "";
  return c10::str("; did you mean ", literal(ranked[0].second), "?",
                  others.empty() ? "" : c10::str(" (or ", literals(others), ")"));
}

}  // namespace torchreg::detail
