#pragma once

#include <torch/nn/module.h>

#include <cstdint>
#include <ostream>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <torchreg/chain.hpp>
#include <torchreg/detail/removal/cuts.hpp>
#include <torchreg/detail/text/table.hpp>

namespace torchreg {

namespace detail {

template <class T, class = void>
struct IsConst : std::is_const<T> {};
template <class T>
struct IsConst<T, std::void_t<decltype(*std::declval<T&>())>>
    : std::is_const<std::remove_reference_t<decltype(*std::declval<T&>())>> {};

}  // namespace detail

/// What remove_zero_groups() has removed.
struct Removal {
  struct Link {
    std::string path;    ///< of its first tensor
    int64_t groups;      ///< before
    int64_t removed;     ///< of them
    torch::Tensor kept;  ///< the numbers of the others, int64, in their order
  };
  std::vector<Link> links;
  int64_t entries_before = 0, entries_after = 0;  ///< of all the module's parameters

  std::string describe() const {
    detail::Table table({"path", "groups", "removed", "left"});
    const auto row = [&](const std::string& path, int64_t before, int64_t removed) {
      table.row({path, std::to_string(before), std::to_string(removed),
                 std::to_string(before - removed)});
    };
    for (const Link& link : links) row(link.path, link.groups, link.removed);
    row("entries", entries_before, entries_before - entries_after);
    return table.str();
  }

  friend std::ostream& operator<<(std::ostream& stream, const Removal& removal) {
    return stream << removal.describe();
  }
};

/// Removes every linked group that is zero in all its tensors, and the slices that read it: the
/// layers are smaller afterwards, and the outputs the same to rounding.
///
///     Links units = chain(sequential);  // or linked({{"fc1.weight", 0}, {"fc1.bias", 0}},
///                                       //           {{"fc2.weight", 1}})
///     Removal removal = remove_zero_groups(sequential, units);
///
/// The parameters stay the same tensors, in place, without their gradients; running statistics and
/// the options of Linear, Conv1d, 2d, 3d and BatchNorm1d, 2d, 3d follow. Of each link at least one
/// group stays. Optimizers and ProximalSteps are to be made anew, as their states have the old
/// shapes. That what is between a group and its readers keeps zeros is the word of whoever links by
/// hand. Waits for the device.
///
/// An error, before anything is written: a link without readers, a path that does not exist, a
/// layer of another type, also one derived, or in groups, one of whose tensors is not linked, a
/// tensor of two layers, slices that are linked twice.
template <class Module>
Removal remove_zero_groups(Module&& module, const Links& links) {
  using Plain = std::decay_t<Module>;
  static_assert(!detail::IsConst<std::remove_reference_t<Module>>::value,
                "torchreg: a const module cannot become smaller");
  const c10::InferenceMode usable_later(false);
  const torch::NoGradGuard no_grad;
  const torch::nn::Module& all = detail::as_module<Plain>(module);
  const auto entries = [&] {
    int64_t count = 0;
    for (const auto& aliases : detail::by_tensor(detail::parameters_of(all))) {
      count += aliases.front().tensor.numel();
    }
    return count;
  };
  const auto found = detail::CutFinder(all).cuts_of(links);
  Removal removal;
  removal.entries_before = entries();
  for (const auto& [groups, cuts, are_zero] : found) {
    torch::Tensor kept = are_zero.logical_not().nonzero().view({-1});
    if (kept.numel() == 0) kept = torch::zeros({1}, torch::kLong);
    removal.links.push_back({cuts[0].path, groups, groups - kept.numel(), kept});
    if (kept.numel() < groups) detail::carry_out(cuts, groups, kept);
  }
  removal.entries_after = entries();
  return removal;
}

}  // namespace torchreg
