#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace torchreg::detail {

/// Rows of text in columns: the first column is aligned to the left, the others to the right.
class Table {
 public:
  explicit Table(std::vector<std::string> header) { row(std::move(header)); }

  void row(std::vector<std::string> cells) {
    widths_.resize(std::max(widths_.size(), cells.size()));
    for (std::size_t i = 0; i < cells.size(); ++i) {
      widths_[i] = std::max(widths_[i], cells[i].size());
    }
    rows_.push_back(std::move(cells));
  }

  std::string str() const {
    std::string text;
    for (const auto& cells : rows_) {
      for (std::size_t i = 0; i < cells.size(); ++i) {
        const std::string padding(widths_[i] - cells[i].size(), ' ');
        const bool last = i + 1 == cells.size();
        text += i == 0 ? cells[i] + (last ? "" : padding) : "  " + padding + cells[i];
      }
      text += '\n';
    }
    return text;
  }

 private:
  std::vector<std::vector<std::string>> rows_;
  std::vector<std::size_t> widths_;
};

}  // namespace torchreg::detail
