#pragma once

#include <torch/types.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

#include <torchreg/detail/engine/bind.hpp>
#include <torchreg/detail/engine/pieces.hpp>
#include <torchreg/detail/solution/group_distance.hpp>

namespace torchreg::detail {

/// Gives the updates one small step, and the data that a formula finds from all as they are after
/// it: those of w itself could bound what has moved by what it was.
template <class Formula>
void bind_moved(const Formula& formula, Updates& updates) {
  torch::Tensor small;
  Tensors moved, steps;
  for (const Update& update : updates) {
    const torch::Tensor& w = update.tensors.w;
    const auto type = exact_type(w);
    const torch::Tensor own =
        small_step_like<Formula>(w.to(type), update.tensors.gradient.to(type), w.scalar_type());
    small = small.defined() ? torch::minimum(small, own.to(small.options())) : own;
  }
  for (Update& update : updates) {
    const auto options = update.tensors.w.options().dtype(exact_type(update.tensors.w));
    update.tensors.given = small.to(options);
    moved.push_back(update.tensors.w.to(options) -
                    update.tensors.given * update.tensors.gradient.to(options));
    steps.push_back(update.tensors.given.expand_as(moved.back()));
  }
  const Tensors data = data_of_all(formula, moved, steps);
  for (std::size_t i = 0; i < updates.size(); ++i) {
    updates[i].tensors.data = data[i].to(moved[i].options()).expand_as(moved[i]);
  }
}

template <class Formula>
void append_distances(const Formula& formula, Updates updates, std::vector<Distances>& all) {
  for (auto& [tensors, numbers, parameter] : updates) {
    tensors.gradient = gradient_for("stationarity", *parameter);
    tensors.w = tensors.w.detach();
    numbers.rate = kSmallStep;
  }
  if constexpr (is_grouped<Formula>) return append_distances_of_groups(formula, updates, all);
  if constexpr (has_data_of_all<Formula> && !is_by_slope<Formula>) {
    bind_moved(formula, updates);
  } else {
    bind_all(formula, updates, /*with_steps=*/true);
  }
  for (const auto& update : updates) {
    std::vector<torch::Tensor> rows;
    const auto add = [&](const Operands<torch::Tensor>& piece) {
      rows.push_back(distances_of(formula, piece, update.numbers, update.path()));
    };
    const auto& w = update.tensors.w;
    const bool in_pieces = is_separable<Formula> && has_slope<Formula> && w.is_cpu();
    if (in_pieces) {
      for_each_piece(update.tensors, kPiece, add);
    } else {
      add(update.tensors);
    }
    all.push_back({update.path(), torch::stack(rows)});
  }
}

/// Path, largest, norm and largest at zeros of each parameter, with one wait.
inline std::vector<std::tuple<std::string, double, double, double>> distances_on_cpu(
    const std::vector<Distances>& all) {
  std::vector<torch::Tensor> rows;
  for (const Distances& one : all) {
    const auto largest = one.rows.amax(0), sum = one.rows.sum(0);
    rows.push_back(torch::stack({largest[0], sum[1].sqrt(), largest[2]})
                       .to(all[0].rows.device(), all[0].rows.scalar_type()));
  }
  const torch::Tensor numbers = torch::stack(rows).cpu().to(torch::kDouble);
  const auto number = numbers.accessor<double, 2>();
  std::vector<std::tuple<std::string, double, double, double>> result;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const auto row = number[static_cast<int64_t>(i)];
    result.emplace_back(all[i].path, row[0], row[1], row[2]);
  }
  return result;
}

}  // namespace torchreg::detail
