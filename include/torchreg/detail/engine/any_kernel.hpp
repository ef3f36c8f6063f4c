#pragma once

#include <ATen/Parallel.h>
#include <torch/types.h>

#include <cstdint>
#include <string>
#include <type_traits>

#include <torchreg/detail/engine/loops.hpp>
#include <torchreg/detail/engine/pieces.hpp>

namespace torchreg::detail {

/// A kernel of whatever formula, as the executors see it: they are compiled once for all of them.
struct AnyKernel {
  bool takes_lanes;   ///< whether its formula is arithmetic, which does not throw
  bool is_separable;  ///< whether it may be carried out on pieces, and on joined tensors
  bool sums, has_results, reads_gradient;
  Operands<bool> (*writes)(const Operands<bool>& has);
  /// Temporaries of an update's size that are alive at once, at most.
  int (*arrays)(const Operands<bool>& has);
  const void* kernel;

  /// Its loop over the arrays of these operands; null where there is none.
  Pass (*loop_for)(torch::ScalarType type, const Operands<bool>& has);
  /// The values that it sums.
  torch::Tensor (*values)(const void* kernel, const Operands<torch::Tensor>& x,
                          const Operands<bool>& has, const std::string& path);
  /// Its results in place of what `x` has, to be stored in a type.
  void (*act)(const void* kernel, Operands<torch::Tensor>& x, const Numbers& numbers,
              const Operands<bool>& has, const std::string& path, torch::ScalarType stored);

  /// Which operands it reads, of those that there are.
  Operands<bool> reads(Operands<bool> has) const {
    has.gradient = has.gradient && reads_gradient;
    return has;
  }

  /// How many entries of an update it takes at once, beside so many copies of w.
  int64_t piece_size(const Operands<torch::Tensor>& tensors, int copies) const {
    const torch::Tensor& w = tensors.w;
    if (w.is_cpu()) return sums ? kPiece : kPiece * at::get_num_threads();
    const auto has = presence_of(tensors);
    const bool has_type = w.scalar_type() == compute_type(w.scalar_type());
    const int64_t all = bytes_of(w, w.numel()), room = room_beside(all);
    const int64_t entry = bytes_of(w, arrays(has) + (has_type ? 0 : count_of(has)));
    return std::max(room - copies * all, room / 4) / entry;
  }
};

/// A kernel, which must outlive the result, for the executors of this kind of unit.
template <class Unit, class Kernel>
AnyKernel any_kernel(const Kernel& of_formula) {
  using Formula = std::decay_t<decltype(Kernel::formula)>;
  constexpr bool has_loops = Unit::has_simd && Kernel::takes_lanes;
  constexpr bool is_step_of_groups = Kernel::takes_steps && is_grouped<Formula>;  // by GroupProx
  AnyKernel any{};
  any.takes_lanes = Kernel::takes_lanes;
  any.is_separable = Kernel::is_separable;
  any.sums = Kernel::sums;
  any.has_results = Kernel::has_results;
  any.reads_gradient = Kernel::reads_gradient;
  any.writes = [](const Operands<bool>& has) { return Kernel::writes(has); };
  any.arrays = [](const Operands<bool>& has) { return Kernel::arrays(has); };
  any.kernel = &of_formula;
  if constexpr (has_loops) any.loop_for = loop_for<Kernel>;
  if constexpr (Kernel::sums) {
    any.values = [](const void* kernel, const Operands<torch::Tensor>& x, const Operands<bool>& has,
                    const std::string& path) {
      return static_cast<const Kernel*>(kernel)->at(x, has, path);
    };
  }
  if constexpr (Kernel::has_results && !is_step_of_groups) {
    any.act = [](const void* kernel, Operands<torch::Tensor>& x, const Numbers& numbers,
                 const Operands<bool>& has, const std::string& path, torch::ScalarType stored) {
      Kernel own = *static_cast<const Kernel*>(kernel);
      own.stored = stored;
      own(x, numbers, has, path);
    };
  }
  return any;
}

}  // namespace torchreg::detail
