#pragma once

#include <cmath>

#include <torchreg/detail/solution/holding.hpp>
#include <torchreg/penalty.hpp>

namespace torchreg {

/// The smallest c for which c R holds every entry at zero against the gradients that there are now:
/// for L1(1) it is lambda_max itself, max |g|; for ElasticNet(l1, l2) max |g| / l1.
///
/// Where the gradients were taken at w = 0 (linear and logistic regression) it is where the path of
/// solutions begins; in a network, with the layer as it is, a scale to start from. Found from the
/// formula's prox, to 1e-6 relative. Entries whose factor is 0, and groups that no strength holds,
/// are not asked. 0 for L0 and GroupL0, which hold zeros at any strength. Waits for the device.
/// An error where a gradient is undefined or not finite, or the penalty makes no zeros.
template <class Formula>
double lambda_max(const Parameters& parameters, const Penalty<Formula>& penalty) {
  detail::require_prox<Formula>();
  torch::NoGradGuard no_grad;
  detail::check_strengths(penalty.formula());
  detail::check_floating("lambda_max", parameters);
  const detail::Holding<Formula> holds(
      penalty.formula(), detail::updates_of(penalty.formula(), penalty.factors(), parameters));
  if (detail::is_count<Formula> || !holds.has_gradient()) return 0;
  double high = 1;
  while (!holds.at(high)) {
    high *= 16;
    TORCH_CHECK_VALUE(high < 1e60, "lambda_max: ", detail::name_of<Formula>(), " makes no zeros");
  }
  double low = high / 16;
  while (holds.at(low)) {
    high = low, low /= 16;
    if (low < 1e-60) return 0;  // it holds them at any strength
  }
  while (high - low > 1e-9 * high) {
    const double middle = std::sqrt(low) * std::sqrt(high);
    (holds.at(middle) ? high : low) = middle;
  }
  return high;
}

/// The same for the selected parameters of a module.
template <class Module, class Formula, class = detail::IfNoTensors<Module>>
double lambda_max(const Module& module, const Penalty<Formula>& penalty) {
  return lambda_max(detail::select_for("lambda_max", detail::as_module(module), penalty.selector()),
                    penalty);
}

}  // namespace torchreg
