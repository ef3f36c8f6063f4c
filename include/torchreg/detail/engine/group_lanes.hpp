#pragma once

#include <torch/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include <torchreg/detail/engine/group_prox.hpp>
#include <torchreg/detail/groups/norm_rows.hpp>

namespace torchreg::detail {

// Groups of l1 sum |w| + group sum_g w_g ||w_g|| in registers: contiguous matrices of T on the CPU.

template <class T, class Formula>
NormArrays<T> arrays_of(const Formula& formula, const Operands<torch::Tensor>& x, double rate,
                        double strength) {
  const auto array = [](const torch::Tensor& t) {
    return t.defined() ? t.template data_ptr<T>() : nullptr;
  };
  NormArrays<T> arrays;
  arrays.w = array(x.w), arrays.memory = array(x.memory), arrays.zero = array(x.zero);
  arrays.steps = array(x.given);
  const bool is_one_weight = x.data.dim() == 0;
  arrays.weights = is_one_weight ? nullptr : array(x.data);
  arrays.weight_of_groups = is_one_weight ? x.data.item<double>() : 0;
  arrays.step = rate;
  const auto strengths = formula.norms();
  arrays.l1 = strengths.l1 * strength, arrays.group = strengths.group * strength;
  arrays.newest = 1;
  arrays.size = x.w.size(1);
  return arrays;
}

template <class Unit, class T, class Formula>
std::vector<int64_t> rows_left(const Formula& formula, const Operands<torch::Tensor>& x,
                               const GroupStep& by, double rate) {
  NormArrays<T> arrays = arrays_of<T>(formula, x, rate, by.strength);
  arrays.newest = by.weight;
  return run_norm_rows<Unit, T>(arrays, x.w.size(0));
}

/// w, memory and zero of some groups, in place; rows that are left, by LibTorch's operations.
template <class Unit, class Formula>
void norms_in_lanes([[maybe_unused]] const Formula& formula,
                    [[maybe_unused]] Operands<torch::Tensor>& x,
                    [[maybe_unused]] const GroupStep& by, [[maybe_unused]] double rate,
                    [[maybe_unused]] const std::string& path) {
  if constexpr (is_of_norms<Formula> && Unit::has_simd) {
    if (by.steps.step.dim() > 0) x.given = by.steps.step;
    for_each_operand(
        [](torch::Tensor& tensor) {
          if (tensor.defined()) tensor = tensor.contiguous();
        },
        x);
    const auto left = x.w.scalar_type() == torch::kFloat
                          ? rows_left<Unit, float>(formula, x, by, rate)
                          : rows_left<Unit, double>(formula, x, by, rate);
    note_write(x.w);
    const auto one_of = [](const torch::Tensor& rows, int64_t row) {
      return !rows.defined() || rows.dim() == 0 ? rows : rows.narrow(0, row, 1);
    };
    for (const int64_t row : left) {
      Operands<torch::Tensor> one;
      for_each_operand(
          [&](const torch::Tensor& rows, torch::Tensor& own) { own = one_of(rows, row); }, x, one);
      GroupStep by_one = by;
      by_one.steps.step = one_of(by.steps.step, row);
      by_one.steps.inverse = by.steps.inverse.defined() ? one_of(by.steps.inverse, row)
                                                        : by_one.steps.step.reciprocal();
      const auto to = one;
      GroupProx<Formula>{formula, path}(one, by_one);
      to.w.copy_(one.w);
      if (to.memory.defined()) to.memory.copy_(one.memory), to.zero.copy_(one.zero);
    }
  }
}

/// One step, without a memory, of groups that are the columns of an array. False where nothing was
/// written.
template <class Unit, class Formula>
bool norms_side_by_side([[maybe_unused]] const Formula& formula,
                        [[maybe_unused]] const torch::Tensor& w,
                        [[maybe_unused]] const torch::Tensor& weights,
                        [[maybe_unused]] const Numbers& n) {
  if constexpr (is_of_norms<Formula> && Unit::has_simd) {
    Operands<torch::Tensor> x;
    x.w = w, x.data = weights;
    const int64_t groups = w.size(0);
    const bool is_done =
        w.scalar_type() == torch::kFloat
            ? run_norm_columns<Unit>(arrays_of<float>(formula, x, n.rate, n.strength), groups)
            : run_norm_columns<Unit>(arrays_of<double>(formula, x, n.rate, n.strength), groups);
    if (is_done) note_write(w);
    return is_done;
  }
  return false;
}

}  // namespace torchreg::detail
