#pragma once

#include <algorithm>
#include <cmath>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include <torchreg/detail/solution/distances.hpp>
#include <torchreg/detail/text/table.hpp>
#include <torchreg/proximal_step.hpp>

namespace torchreg {

/// How far the entries of some tensors are from a solution of loss + R: for each the distance of
/// the loss's negative gradient to the subdifferential of R, in units of loss per unit of w, as
/// lambda.
struct Stationarity {
  struct Tensor {
    std::string path;
    double largest = 0;           ///< of its entries
    double norm = 0;              ///< Euclidean
    double largest_at_zeros = 0;  ///< of the entries that are zero; 0 where none is
  };

  double largest = 0;  ///< of all; over lambda, it is the number to read
  double norm = 0;
  std::vector<Tensor> tensors;
};

namespace detail {

/// The larger of two, or one that is no number.
inline double larger(double a, double b) {
  if (!is_finite(a) || !is_finite(b)) return is_finite(a) ? b : a;
  return std::max(a, b);
}

inline Stationarity stationarity_of(const std::vector<Distances>& all) {
  Stationarity result;
  for (const auto& [path, largest, norm, largest_at_zeros] : distances_on_cpu(all)) {
    result.tensors.push_back({path, largest, norm, largest_at_zeros});
    result.largest = larger(result.largest, largest);
    result.norm = std::hypot(result.norm, norm);
  }
  return result;
}

}  // namespace detail

/// The certificate of a solution: how far each parameter of a penalty is from one, with the
/// gradients that there are now. Call it after backward() of the loss alone, over all data.
///
/// From the formula's own faces, so that a user's formula has it too: where w is not zero,
/// |g + slope(w)|; where it is, |prox_{e R}(w - e g)| / e for a small e; for a constraint, the
/// distance to its normal cone, |prox_{e R}(w - e g) - w| / e, huge outside the set. To 1e-6
/// relative; of Box, balls, Simplex, Rank and Nuclear, which rounding leaves, to 1e-3 in float, .1
/// and .3 in half types, and an entry or singular value of a smaller share of the largest one
/// counts as on the boundary. In double on CPU and CUDA. Writes nothing, and waits once for the
/// device. An error where a gradient is undefined.
template <class Formula>
Stationarity stationarity(const Parameters& parameters, const Penalty<Formula>& penalty) {
  torch::NoGradGuard no_grad;
  detail::check_strengths(penalty.formula());
  detail::check_floating("stationarity", parameters);
  const auto updates = detail::updates_of(penalty.formula(), penalty.factors(), parameters);
  std::vector<detail::Distances> all;
  detail::append_distances(penalty.formula(), updates, all);
  return detail::stationarity_of(all);
}

/// The same for the selected parameters of a module.
template <class Module, class Formula, class = detail::IfNoTensors<Module>>
Stationarity stationarity(const Module& module, const Penalty<Formula>& penalty) {
  return stationarity(
      detail::select_for("stationarity", detail::as_module(module), penalty.selector()), penalty);
}

/// The same for all penalties of a ProximalStep, on their parameters.
template <class... Penalties>
Stationarity stationarity(const ProximalStep<Penalties...>& prox) {
  torch::NoGradGuard no_grad;
  std::vector<detail::Distances> all;
  prox.for_each_penalty([&](const auto& penalty, const detail::Updates& updates) {
    detail::check_strengths(penalty.formula());
    detail::append_distances(penalty.formula(), updates, all);
  });
  return detail::stationarity_of(all);
}

/// A table, a row for each tensor, and the whole.
inline std::ostream& operator<<(std::ostream& stream, const Stationarity& stationarity) {
  detail::Table table({"path", "largest", "norm", "largest at zeros"});
  double at_zeros = 0;
  for (const Stationarity::Tensor& one : stationarity.tensors) {
    table.row(
        {one.path, c10::str(one.largest), c10::str(one.norm), c10::str(one.largest_at_zeros)});
    at_zeros = detail::larger(at_zeros, one.largest_at_zeros);
  }
  table.row(
      {"all", c10::str(stationarity.largest), c10::str(stationarity.norm), c10::str(at_zeros)});
  return stream << table.str();
}

}  // namespace torchreg
