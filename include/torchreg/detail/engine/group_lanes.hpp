#pragma once

#include <torch/types.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include <torchreg/detail/engine/group_prox.hpp>
#include <torchreg/detail/engine/group_steps.hpp>
#include <torchreg/detail/formula/number.hpp>
#include <torchreg/detail/groups/norm_columns.hpp>
#include <torchreg/detail/groups/norm_rows.hpp>

namespace torchreg::detail {

// Groups of l1 sum |w| + group sum_g w_g ||w_g|| in registers: contiguous matrices of T on the CPU.

template <class T>
NormArrays<T> arrays_of(const NormStrengths& norms, const Operands<torch::Tensor>& x, double rate,
                        double strength) {
  const auto array = [](const torch::Tensor& t) {
    return t.defined() ? t.template data_ptr<T>() : nullptr;
  };
  NormArrays<T> arrays{};
  arrays.w = array(x.w), arrays.memory = array(x.memory), arrays.zero = array(x.zero);
  arrays.steps = array(x.given);
  const bool is_one_weight = x.data.dim() == 0;
  arrays.weights = is_one_weight ? nullptr : array(x.data);
  arrays.weight_of_groups = is_one_weight ? x.data.item<double>() : 0;
  arrays.step = rate;
  constexpr double largest = double(std::numeric_limits<T>::max());
  arrays.l1 = std::min(norms.l1 * strength, largest);
  arrays.group = std::min(norms.group * strength, largest);
  arrays.newest = 1;
  arrays.size = x.w.size(1);
  return arrays;
}

template <class T>
std::vector<int64_t> rows_left(const NormStrengths& norms, const Operands<torch::Tensor>& x,
                               const GroupStep& by, double rate) {
  NormArrays<T> arrays = arrays_of<T>(norms, x, rate, by.strength);
  arrays.newest = by.weight;
  if (by.factors.defined()) arrays.factors = by.factors.data_ptr<T>();
  return run_norm_rows<T>(arrays, x.w.size(0));
}

/// w, memory and zero of some groups, in place; rows that are left, by LibTorch's operations.
template <class Unit>
void norms_in_lanes([[maybe_unused]] const GroupProx& prox,
                    [[maybe_unused]] Operands<torch::Tensor>& x,
                    [[maybe_unused]] const GroupStep& by, [[maybe_unused]] double rate) {
  if constexpr (Unit::has_simd) {
    if (by.steps.step.dim() > 0) x.given = by.steps.step;
    for_each_operand(
        [](torch::Tensor& tensor) {
          if (tensor.defined()) tensor = tensor.contiguous();
        },
        x);
    const NormStrengths& norms = prox.groups.norms;
    const auto left = x.w.scalar_type() == torch::kFloat ? rows_left<float>(norms, x, by, rate)
                                                         : rows_left<double>(norms, x, by, rate);
    note_write(x.w);
    for (const int64_t row : left) {
      Operands<torch::Tensor> one;
      for_each_operand(
          [&](const torch::Tensor& rows, torch::Tensor& own) { own = some_rows(rows, row, 1); }, x,
          one);
      GroupStep by_one = by;
      by_one.steps.step = some_rows(by.steps.step, row, 1);
      by_one.steps.inverse = by.steps.inverse.defined() ? some_rows(by.steps.inverse, row, 1)
                                                        : by_one.steps.step.reciprocal();
      const auto to = one;
      prox(one, by_one);
      store(to.w, one.w);
      if (to.memory.defined()) to.memory.copy_(one.memory), to.zero.copy_(one.zero);
    }
  }
}

template <class T>
torch::Tensor factors_of(const NormArrays<T>& arrays, const torch::Tensor& w) {
  torch::Tensor factors = torch::empty({w.size(0), 1}, w.options().requires_grad(false));
  return find_factors_of_columns(arrays, w.size(0), factors.data_ptr<T>()) ? factors
                                                                           : torch::Tensor();
}

/// What one step multiplies groups by that are the columns of an array; undefined where it is
/// another case.
template <class Unit>
torch::Tensor factors_side_by_side([[maybe_unused]] const NormStrengths& norms,
                                   [[maybe_unused]] const Operands<torch::Tensor>& x,
                                   [[maybe_unused]] const Numbers& n) {
  if constexpr (Unit::has_simd) {
    return x.w.scalar_type() == torch::kFloat
               ? factors_of(arrays_of<float>(norms, x, n.rate, n.strength), x.w)
               : factors_of(arrays_of<double>(norms, x, n.rate, n.strength), x.w);
  }
  return {};
}

/// One step of them, without a memory.
template <class Unit>
void scale_side_by_side([[maybe_unused]] const NormStrengths& norms,
                        [[maybe_unused]] const Operands<torch::Tensor>& x,
                        [[maybe_unused]] const Numbers& n,
                        [[maybe_unused]] const torch::Tensor& factors) {
  if constexpr (Unit::has_simd) {
    if (x.w.scalar_type() == torch::kFloat) {
      const auto arrays = arrays_of<float>(norms, x, n.rate, n.strength);
      scale_columns(arrays, x.w.size(0), factors.data_ptr<float>());
    } else {
      const auto arrays = arrays_of<double>(norms, x, n.rate, n.strength);
      scale_columns(arrays, x.w.size(0), factors.data_ptr<double>());
    }
    note_write(x.w);
  }
}

}  // namespace torchreg::detail
