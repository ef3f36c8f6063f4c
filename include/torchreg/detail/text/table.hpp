#pragma once

#include <algorithm>
#include <cstddef>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include <torchreg/detail/text/text.hpp>

namespace torchreg::detail {

/// The columns of a terminal that a character takes: two of East Asian scripts and of pictures,
/// none of combining marks. By blocks of Unicode.
inline std::size_t width_of(char32_t character) {
  using Blocks = std::initializer_list<std::pair<char32_t, char32_t>>;
  const auto is_in = [&](const Blocks& blocks) {
    return std::any_of(blocks.begin(), blocks.end(), [&](const auto& block) {
      return character >= block.first && character <= block.second;
    });
  };
  if (is_in({{0x300, 0x36f}, {0x200b, 0x200f}, {0xfe00, 0xfe0f}})) return 0;
  const bool is_wide = is_in({{0x1100, 0x115f},
                              {0x2e80, 0xa4cf},
                              {0xac00, 0xd7a3},
                              {0xf900, 0xfaff},
                              {0xfe30, 0xfe6f},
                              {0xff00, 0xff60},
                              {0xffe0, 0xffe6},
                              {0x1f300, 0x1faff},
                              {0x20000, 0x3fffd}});
  return is_wide ? 2 : 1;
}

/// The same of a text of UTF-8.
inline std::size_t width_of(const std::string& text) {
  std::size_t width = 0;
  for (std::size_t i = 0; i < text.size();) {
    const auto byte = static_cast<unsigned char>(text[i++]);
    const int more = byte >= 0xf0 ? 3 : byte >= 0xe0 ? 2 : byte >= 0xc0 ? 1 : 0;
    char32_t character = more == 0 ? byte : byte & (0x3fU >> more);
    for (int k = 0; k < more && i < text.size(); ++k) {
      character = character << 6 | (static_cast<unsigned char>(text[i++]) & 0x3fU);
    }
    width += width_of(character);
  }
  return width;
}

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
  std::vector<std::vector<std::string>> rows_;
  std::vector<std::size_t> widths_;
};

}  // namespace torchreg::detail
