#pragma once

#include <cmath>
#include <tuple>

#include <torchreg/detail/engine/operands.hpp>
#include <torchreg/parameters.hpp>

namespace torchreg::detail {

/// How far an optimizer moves each entry per unit of a constant gradient: `rate` for all entries,
/// or, with a second moment q, factor rate / (sqrt(q / correction) + eps) per entry.
struct Metric {
  double rate = 0;
  double factor = 1;      ///< what momentum adds up to by now (RMSprop)
  double correction = 1;  ///< of the second moment's bias (Adam)
  double eps = 0;
  double share = 0;           ///< q / g^2, had all gradients of an entry been g
  double gradient_scale = 1;  ///< what the loss's gradients were multiplied by, in the mean
};

/// What is one number for all entries of an update.
struct Numbers {
  double rate = 0;           ///< the step, or a factor to the given one
  double inverse_rate = 0;   ///< of an entry of a constraint that never had a gradient
  double inverse_scale = 0;  ///< 1 / step of an entry is (sqrt(q) + eps) inverse_scale
  double eps = 0;
  double pull = 0;      ///< times a slope: sqrt(q), had that been an entry's gradient at each step
  double weight = 1;    ///< of the newest gradient in the memory, or of a slope in the gradient
  double strength = 1;  ///< what the penalty is multiplied by, beside the factor of each entry
  double datum = 0;     ///< the formula's data of all entries, in a loop without an array of them

  Numbers() = default;

  explicit Numbers(const Metric& metric)
      : rate(metric.rate),
        inverse_rate(1 / metric.rate),
        inverse_scale(1 / (metric.factor * metric.rate * std::sqrt(metric.correction))),
        eps(metric.eps * std::sqrt(metric.correction)),
        pull(metric.gradient_scale * std::sqrt(metric.share)) {}

  auto tied() const {
    return std::tie(rate, inverse_rate, inverse_scale, eps, pull, weight, strength);
  }
};

/// One parameter, and all that its entries need to take a step, or a term its value or slope.
struct Update {
  Operands<torch::Tensor> tensors;
  Numbers numbers;
  const Parameter* parameter = nullptr;

  const std::string& path() const { return parameter->path; }
};

}  // namespace torchreg::detail
