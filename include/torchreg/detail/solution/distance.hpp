#pragma once

#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <torchreg/detail/engine/bind.hpp>
#include <torchreg/detail/engine/pieces.hpp>
#include <torchreg/detail/engine/recorded_groups.hpp>

namespace torchreg::detail {

/// The step of a prox that stands for the limit of small ones: a power of 2, so that products with
/// it are exact.
constexpr double kSmallStep = 1.0 / (1 << 30);

/// Double, where the device has it.
inline torch::ScalarType exact_type(const torch::Tensor& w) {
  return w.is_cpu() || w.is_cuda() ? torch::kDouble : compute_type(w.scalar_type());
}

inline torch::Tensor gradient_for(const std::string& who, const Parameter& parameter) {
  const torch::Tensor gradient = parameter.tensor.grad();
  TORCH_CHECK_VALUE(gradient.defined(), who, ": ", literal(parameter.path),
                    " has no gradient; call backward() of the loss alone, over all data, first");
  return gradient.detach();
}

/// What an entry of a type may be off by, relative to it.
inline double rounding_of(torch::ScalarType type) {
  if (type == torch::kHalf) return std::ldexp(1, -11);
  if (type == torch::kBFloat16) return std::ldexp(1, -8);
  return type == torch::kFloat ? std::ldexp(1, -24) : std::ldexp(1, -53);
}

/// A small step of a constraint at each entry: so small that it stays in the same face of the set,
/// so large that what w's type rounds is small beside it. A product of one number for the tensor.
inline torch::Tensor small_step_like(const torch::Tensor& w, const torch::Tensor& gradient,
                                     torch::ScalarType stored) {
  const double relative = std::max(1e-6, 4 * std::sqrt(rounding_of(stored)));
  const torch::Tensor ratio = relative * w.abs().max() / gradient.abs().max();
  return ratio.where((ratio > 0) & ratio.isfinite(), torch::full_like(ratio, kSmallStep));
}

/// Whether distances are those of its slope, but for zeros; else all are found by its prox.
template <class Formula>
constexpr bool is_by_slope = has_slope<Formula> && !has_other_kinks<Formula>;

/// The distance of -gradient to the subdifferential of R times its factors at each entry of w,
/// which is stored in that type. With a given step, whose 0 is of padding, that is the small one.
template <class Formula>
torch::Tensor distance_at(const Formula& formula, const Operands<torch::Tensor>& x,
                          const Numbers& n, const std::string& path, torch::ScalarType stored) {
  const auto has = presence_of(x);
  constexpr bool by_slope = is_by_slope<Formula>;
  torch::Tensor off_zero;
  if constexpr (by_slope) {
    off_zero = (x.gradient + scaled(slope_at(formula, x.w, x.data, path), x, n, has)).abs();
    if constexpr (!HasProx<Formula>::value) return off_zero;
  }
  if constexpr (HasProx<Formula>::value) {
    const torch::Tensor small = has.given  ? x.given
                                : by_slope ? number_like(x.w, kSmallStep)
                                           : small_step_like(x.w, x.gradient, stored);
    const torch::Tensor step = scaled(small, x, n, has);
    const torch::Tensor moved = x.w - small * x.gradient;
    const torch::Tensor z = prox_at(formula, moved, step, x.data, path).where(step > 0, moved);
    const torch::Tensor by_prox = ((z - x.w).abs() / small).masked_fill(small == 0, 0);
    return by_slope ? by_prox.where(x.w == 0, off_zero) : by_prox;
  }
}

/// Largest, sum of squares, and largest at zeros, of some entries: three doubles or floats.
template <class Formula>
torch::Tensor distances_of(const Formula& formula, const Operands<torch::Tensor>& piece,
                           const Numbers& n, const std::string& path) {
  const auto type = exact_type(piece.w);
  Operands<torch::Tensor> x;
  for_each_operand(
      [&](const torch::Tensor& from, torch::Tensor& to) {
        if (from.defined()) to = from.to(piece.w.device(), type);
      },
      piece, x);
  if (x.w.numel() == 0) return torch::zeros({3}, x.w.options());
  const torch::Tensor number =
      x.w - x.w;  // NaN where an entry is none, which a sign of 0 would hide
  const torch::Tensor distance = distance_at(formula, x, n, path, piece.w.scalar_type()) + number;
  const torch::Tensor at_zeros = distance.masked_fill(x.w != 0, 0);
  return torch::stack({distance.max(), distance.square().sum(), at_zeros.max()});
}

/// The distances of one parameter: 3 numbers in each row, of its pieces.
struct Distances {
  std::string path;
  torch::Tensor rows;
};

/// The distance at each entry of groups, and of entries in none.
template <class Formula>
torch::Tensor distance_of_groups(const Formula& formula, Operands<torch::Tensor> x,
                                 const Problem& problem, const Update& first) {
  const auto& layout = problem.layout();
  const auto stored = first.tensors.w.scalar_type();
  const torch::Tensor of_others = x.gradient.abs();  // where nothing takes them
  if (!has_weights<Formula>) {
    x.w = x.w.narrow(0, 0, layout.groups), x.gradient = x.gradient.narrow(0, 0, layout.groups);
  }
  x.data = weights_of(formula, problem, x.w.options());
  const torch::Tensor padding = layout.padding();
  if (rests_in_padding<Formula> && padding.defined()) {
    x.given = small_step_like(x.w, x.gradient, stored)
                  .expand_as(x.w)
                  .masked_fill(padding.narrow(0, 0, x.w.size(0)), 0);
  }
  const auto distance = distance_at(formula, x, first.numbers, first.path(), stored);
  const int64_t count = distance.size(0);
  return torch::cat({distance, of_others.narrow(0, count, layout.rows - count)});
}

template <class Formula>
void append_distances_of_groups(const Formula& formula, const Updates& updates,
                                std::vector<Distances>& all) {
  const auto parameter_of = [&](std::size_t i) -> const Parameter& {
    return *updates[i].parameter;
  };
  // With entries in no group, also where the formula does not take them.
  for (const Problem& problem :
       problems_of(name_of<Formula>(), formula.grouping, updates.size(), parameter_of)) {
    const Update& first = updates[problem.parts[0].index];
    const auto exact = first.tensors.w.options().dtype(exact_type(first.tensors.w));
    Operands<torch::Tensor> x;
    x.w = matrix_of(problem, [&](std::size_t i) { return updates[i].tensors.w.to(exact); });
    x.gradient =
        matrix_of(problem, [&](std::size_t i) { return updates[i].tensors.gradient.to(exact); });
    if (x.w.numel() == 0) {
      all.push_back({first.path(), torch::zeros({1, 3}, exact)});
      continue;
    }
    const auto& layout = problem.layout();
    const torch::Tensor distance = distance_of_groups(formula, x, problem, first) + (x.w - x.w);
    torch::Tensor of_group = distance.square().sum(1).sqrt();
    if (layout.rows > layout.groups) {  // entries in no group count alone
      const int64_t others = layout.rows - layout.groups;
      of_group.narrow(0, layout.groups, others)
          .copy_(distance.narrow(0, layout.groups, others).amax(1));
    }
    const torch::Tensor at_zeros = of_group.masked_fill((x.w != 0).any(1), 0);
    all.push_back(
        {first.path(),
         torch::stack({of_group.max(), distance.square().sum(), at_zeros.max()}).unsqueeze(0)});
  }
}

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
        small_step_like(w.to(type), update.tensors.gradient.to(type), w.scalar_type());
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
