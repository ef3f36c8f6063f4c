#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include <torchreg/detail/text/text.hpp>

namespace torchreg::detail {

/// Rows of text in columns: the first column is aligned to the left, the others to the right.
class Table {
 public:
  explicit Table(std::vector<std::string> header) { row(std::move(header)); }

  void row(std::vector<std::string> cells) {
    widths_.resize(std::max(widths_.size(), cells.size()));
    for (std::size_t i = 0; i < cells.size(); ++i) {
      cells[i] = printable(cells[i]);
      widths_[i] = std::max(widths_[i], width_of(cells[i]));
    }
    rows_.push_back(std::move(cells));
  }

  std::string str() const {
    std::string text;
    for (const auto& cells : rows_) {
      for (std::size_t i = 0; i < cells.size(); ++i) {
        const std::string padding(widths_[i] - width_of(cells[i]), ' ');
        const bool last = i + 1 == cells.size();
        text += i == 0 ? cells[i] + (last ? "" : padding) : "  " + padding + cells[i];
      }
      text += '\n';
    }
    return text;
  }

 private:
  /// In characters, of UTF-8 as of ASCII.
  static std::size_t width_of(const std::string& text) {
    const auto begins = [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; };
    return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), begins));
  }

  std::vector<std::vector<std::string>> rows_;
  std::vector<std::size_t> widths_;
};

}  // namespace torchreg::detail
