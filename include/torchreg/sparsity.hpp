#pragma once

#include <cstdint>
#include <cstdio>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include <torchreg/detail/solution/counts.hpp>
#include <torchreg/detail/text/checks.hpp>
#include <torchreg/detail/text/table.hpp>
#include <torchreg/select.hpp>

namespace torchreg {

/// The exact zeros of a list of tensors. -0.0 counts as a zero, a small number does not.
struct Sparsity {
  struct Tensor {
    std::string path;
    int64_t zeros = 0;
    int64_t entries = 0;
    int64_t zero_rows = 0;     ///< all-zero rows of a matrix: w[i, :]
    int64_t zero_columns = 0;  ///< all-zero columns of a matrix: w[:, j]
    int64_t zero_filters = 0;  ///< all-zero slices w[i] of a tensor of three or more dimensions
    int64_t nonfinite = 0;     ///< NaN and infinite entries
    int64_t groups = 0;        ///< of a grouping, where one was asked for
    int64_t zero_groups = 0;
  };

  int64_t zeros = 0;
  int64_t entries = 0;
  int64_t groups = 0;
  int64_t zero_groups = 0;
  std::vector<Tensor> tensors;

  /// zeros / entries; 0 where there are no entries.
  double fraction() const {
    return entries == 0 ? 0 : static_cast<double>(zeros) / static_cast<double>(entries);
  }
};

/// Counts the exact zeros of these tensors. Waits once for their device.
inline Sparsity sparsity(const Parameters& parameters) {
  torch::NoGradGuard no_grad;
  detail::check_floating("sparsity", parameters);
  std::vector<torch::Tensor> counts;
  for (const auto& [path, tensor, owner] : parameters) {
    counts.push_back(detail::counts_of(tensor).to(parameters[0].tensor.device()));
  }
  const torch::Tensor all = torch::stack(counts).cpu();
  Sparsity total;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const auto& [path, tensor, owner] = parameters[i];
    const int64_t* count = all.data_ptr<int64_t>() + 4 * i;
    Sparsity::Tensor one;
    one.path = path;
    one.zeros = count[0];
    one.entries = tensor.numel();
    one.nonfinite = one.entries - count[1];
    (tensor.dim() == 2 ? one.zero_rows : one.zero_filters) = count[2];
    one.zero_columns = count[3];
    total.zeros += one.zeros;
    total.entries += one.entries;
    total.tensors.push_back(std::move(one));
  }
  return total;
}

namespace detail {

/// Frozen or not.
template <class Module>
Parameters floating_parameters(const Module& module) {
  std::vector<Parameter> floating;
  for (const Parameter& parameter : parameters_of(module)) {
    if (parameter.tensor.is_floating_point()) floating.push_back(parameter);
  }
  return Parameters(floating);
}

}  // namespace detail

/// Counts the exact zeros of every floating-point parameter of a module, frozen or not.
template <class Module, class = detail::IfNoTensors<Module>>
Sparsity sparsity(const Module& module) {
  return sparsity(detail::floating_parameters(detail::as_module(module)));
}

/// A table, a row for each tensor, and the total.
inline std::ostream& operator<<(std::ostream& stream, const Sparsity& sparsity) {
  const auto percent = [](int64_t zeros, int64_t entries) {
    char text[16];
    const double share =
        entries == 0 ? 0 : 100.0 * static_cast<double>(zeros) / static_cast<double>(entries);
    std::snprintf(text, sizeof text, "%.2f", share);
    return std::string(text);
  };
  if (sparsity.groups > 0) {
    detail::Table table({"path", "zeros", "entries", "%", "zero groups", "groups", "%"});
    const auto row = [&](const std::string& path, const auto& of) {
      table.row({path, std::to_string(of.zeros), std::to_string(of.entries),
                 percent(of.zeros, of.entries), std::to_string(of.zero_groups),
                 std::to_string(of.groups), percent(of.zero_groups, of.groups)});
    };
    for (const Sparsity::Tensor& one : sparsity.tensors) row(one.path, one);
    row("total", sparsity);
    return stream << table.str();
  }
  detail::Table table({"path", "zeros", "entries", "%", "rows", "columns", "filters", "nonfinite"});
  for (const Sparsity::Tensor& one : sparsity.tensors) {
    table.row({one.path, std::to_string(one.zeros), std::to_string(one.entries),
               percent(one.zeros, one.entries), std::to_string(one.zero_rows),
               std::to_string(one.zero_columns), std::to_string(one.zero_filters),
               std::to_string(one.nonfinite)});
  }
  table.row({"total", std::to_string(sparsity.zeros), std::to_string(sparsity.entries),
             percent(sparsity.zeros, sparsity.entries)});
  return stream << table.str();
}

}  // namespace torchreg
