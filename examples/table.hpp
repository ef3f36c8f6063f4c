// The numbers of a CSV file for the examples
#pragma once

#include <torch/torch.h>

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

// Its rows below the line of names.
inline torch::Tensor read_table(const std::string& path, int64_t columns) {
  std::ifstream file(path);
  TORCH_CHECK(file, "cannot read ", path);
  std::vector<double> numbers;
  std::string line, cell;
  std::getline(file, line);
  while (std::getline(file, line)) {
    std::istringstream cells(line);
    while (std::getline(cells, cell, ',')) numbers.push_back(std::stod(cell));
  }
  return torch::tensor(numbers, torch::kDouble).view({-1, columns});
}
