#pragma once

#include <torch/types.h>

#include <string>
#include <type_traits>

#include <torchreg/detail/engine/any_kernel.hpp>
#include <torchreg/detail/formula/faces.hpp>
#include <torchreg/detail/groups/norms.hpp>
#include <torchreg/groupings/grouping.hpp>

namespace torchreg::detail {

/// A kernel of whatever formula of groups, and that formula, as their executor sees them.
struct AnyGroups {
  AnyKernel kernel;
  bool takes_steps;       ///< whether it is a step, which GroupProx carries out
  bool takes_some;        ///< whether it may have some of the groups without the others
  bool never_throws;      ///< whether what was done of some needs no staging
  bool rests_in_padding;  ///< whether shorter groups are filled with entries whose step is 0
  bool is_of_norms;       ///< whether its penalty is that of `norms`
  NormStrengths norms;
  const Grouping* weights;  ///< the grouping whose weights it takes; null: it takes none
  const void* formula;

  torch::Tensor (*prox)(const void* formula, const torch::Tensor& w, const torch::Tensor& step,
                        const torch::Tensor& weights, const std::string& path);
  /// Null: it has none.
  torch::Tensor (*slope)(const void* formula, const torch::Tensor& w, const torch::Tensor& weights,
                         const std::string& path);
};

/// A kernel, which must outlive the result.
template <class Unit, class Kernel>
AnyGroups any_groups(const Kernel& kernel) {
  using Formula = std::decay_t<decltype(Kernel::formula)>;
  AnyGroups any{};
  any.kernel = any_kernel<Unit>(kernel);
  any.takes_steps = Kernel::takes_steps;
  any.takes_some = takes_some<Formula>;
  any.never_throws = never_throws<Formula>;
  any.rests_in_padding = rests_in_padding<Formula>;
  any.is_of_norms = is_of_norms<Formula>;
  if constexpr (is_of_norms<Formula>) any.norms = kernel.formula.norms();
  if constexpr (has_weights<Formula>) any.weights = &kernel.formula.grouping;
  any.formula = &kernel.formula;
  if constexpr (Kernel::takes_steps) {
    any.prox = [](const void* formula, const torch::Tensor& w, const torch::Tensor& step,
                  const torch::Tensor& weights, const std::string& path) {
      return prox_at(*static_cast<const Formula*>(formula), w, step, weights, path);
    };
    if constexpr (has_slope<Formula>) {
      any.slope = [](const void* formula, const torch::Tensor& w, const torch::Tensor& weights,
                     const std::string& path) {
        return slope_at(*static_cast<const Formula*>(formula), w, weights, path);
      };
    }
  }
  return any;
}

}  // namespace torchreg::detail
