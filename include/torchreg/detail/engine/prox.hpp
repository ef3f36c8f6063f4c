#pragma once

#include <ATen/Parallel.h>
#include <torch/types.h>

#include <array>
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <torchreg/detail/engine/memory.hpp>
#include <torchreg/detail/engine/piece_steps.hpp>
#include <torchreg/detail/engine/pieces.hpp>
#include <torchreg/detail/processor/lanes.hpp>
#include <torchreg/detail/processor/threads.hpp>

namespace torchreg::detail {

/// The textbook prox, where the formula keeps NaN and infinities or does not.
template <class Number>
[[gnu::always_inline]] inline Number keeping_nonfinite(const ProxTraits& traits, const Number& z,
                                                       const Number& w) {
  return traits.keeps_nonfinite ? z : z.where(w.isfinite(), w);
}

/// The step by LibTorch's own operations: w <- prox, rounded to w's type, with + 0.0 so that there
/// is no -0.0.
template <class Formula>
void prox_piece(const Formula& formula, const ProxTraits& traits, torch::Tensor w,
                const Step& given, torch::Tensor m, double weight, const std::string& path) {
  const torch::Tensor x = in_compute_type(w);
  const auto [step, inverse, stays] = steps_of(formula, given, x, path);
  torch::Tensor z = keeping_nonfinite(traits, prox_at(formula, x, step, path), x);
  if (stays.defined()) z = x.where(stays, z);
  z = z.to(w.scalar_type());
  if (!m.defined()) {
    torch::add_out(w, z, 0.0);
    return;
  }
  const auto after = with_memory(formula, x, z.to(x.scalar_type()), step, inverse, m, weight);
  torch::add_out(w, after.w.to(w.scalar_type()), 0.0);
  m.copy_(after.m);
}

/// The same in one pass over arrays of float or double; m and q are null where there is none.
template <class Formula, class T, bool adapts, bool remembers>
struct ProxLoop {
  using Number = Lanes<T>;
  static constexpr int64_t stride = Number::size;
  Formula formula;
  ProxTraits traits;
  double rate;
  InverseStep inverse_step;
  double weight;
  T *w, *m, *q;

  [[gnu::always_inline]] void operator()(int64_t i, int64_t count) const {
    const Number x = Number::load(w + i, count);
    Number step = rate, inverse = step.reciprocal(), z = x;
    if constexpr (adapts) {
      const Number moment = Number::load(q + i, count);
      const auto is_dead = moment == 0;
      const bool any_dead = is_dead.any();
      Number slope = 1;  // of a constraint, where no entry stays
      inverse = inverse_step.of(moment);
      if (any_dead) {
        if constexpr (HasSlope<Formula>::value) {
          slope = formula.slope(x);
          inverse = inverse_step.or_from(slope, moment, moment);
        } else {
          inverse = inverse_step.or_rate(moment, moment);
        }
      }
      step = inverse.reciprocal();
      z = keeping_nonfinite(traits, formula.prox(x, step), x);
      z = z.where(step == step, step);  // clamp() overlooks a bound of NaN
      if (any_dead) z = x.where(is_dead & (slope == 0), z);
    } else {
      z = keeping_nonfinite(traits, formula.prox(x, step), x);
    }
    if constexpr (remembers) {
      const auto after =
          with_memory(formula, x, z, step, inverse, Number::load(m + i, count), weight);
      after.m.store(m + i, count);
      z = after.w;
    }
    (z + 0).store(w + i, count);
  }
};

template <class T, class Formula>
void prox_in_lanes(const Formula& formula, const ProxTraits& traits, const torch::Tensor& w,
                   const Step& step, const Memory& memory) {
  const auto data = [](const torch::Tensor& tensor) {
    return tensor.defined() ? tensor.data_ptr<T>() : nullptr;
  };
  std::vector<Span> spans;
  append_spans(spans, 0, w);
  const auto pass = [&](auto adapts, auto remembers) {
    const ProxLoop<Formula, T, adapts, remembers> loop{
        formula,       traits,  step.rate,      InverseStep(step),
        memory.weight, data(w), data(memory.m), data(step.second_moment)};
    for_each_span(spans, [&](std::size_t k) { run_loop(loop, spans[k].begin, spans[k].size); });
  };
  const auto choose = [&](auto adapts) {
    memory.m.defined() ? pass(adapts, std::true_type()) : pass(adapts, std::false_type());
  };
  step.is_scalar() ? choose(std::false_type()) : choose(std::true_type());
  w.unsafeGetTensorImpl()->bump_version();
}

/// Whether prox_ takes one pass. There a slope is not found by autograd.
template <class Formula>
bool goes_in_lanes(const torch::Tensor& w, const Step& step, const Memory& memory) {
  const bool has_steps = step.is_scalar() || HasSlope<Formula>::value || !has_slope<Formula>;
  return has_steps && !step.mean.defined() && !step.given.defined() &&
         fit_lanes<Formula>(std::array{w, memory.m, step.second_moment});
}

/// w <- prox of step R, in place and without gradient.
template <class Formula>
void prox_(const Formula& formula, const ProxTraits& traits, const torch::Tensor& w,
           const Step& step, const Memory& memory, const std::string& path) {
  if constexpr (kHasSimd && TakesLanes<Formula>::value) {
    if (goes_in_lanes<Formula>(w, step, memory)) {
      return w.scalar_type() == torch::kFloat
                 ? prox_in_lanes<float>(formula, traits, w, step, memory)
                 : prox_in_lanes<double>(formula, traits, w, step, memory);
    }
  }
  const std::array tensors{w, memory.m, step.second_moment, step.mean, step.given};
  const int threads = w.is_cpu() ? at::get_num_threads() : 1;
  const std::string part = path + " (in part)";
  for_each_piece<Formula>(tensors, piece_size(w) * threads, [&](const auto& piece) {
    Step piece_of_step = step;
    piece_of_step.second_moment = piece[2];
    piece_of_step.mean = piece[3];
    piece_of_step.given = piece[4];
    prox_piece(formula, traits, piece[0], piece_of_step, piece[1], memory.weight,
               piece[0].numel() == w.numel() ? path : part);
  });
}

}  // namespace torchreg::detail
