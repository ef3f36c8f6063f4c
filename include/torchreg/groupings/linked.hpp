#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include <torchreg/groupings/grouping.hpp>
#include <torchreg/groupings/slices.hpp>
#include <torchreg/selectors/paths.hpp>

namespace torchreg {

/// The slices of a parameter along one of its dimensions.
struct Slices {
  std::string path;
  int64_t dim = 0;
};

/// Groups across tensors: linked() makes them.
class Links {
 public:
  /// One list of groups: slice g of each of these tensors is in group g.
  struct Link {
    std::vector<Slices> members;
    std::vector<Slices> readers;  ///< who reads these units: no part of the group
  };

  /// Another layer's units; after them, optionally, who reads them.
  Links& add(std::vector<Slices> members, std::vector<Slices> readers = {}) {
    TORCH_CHECK_VALUE(!members.empty(), "linked: a link needs a tensor");
    std::set<std::string> paths;
    for (const Slices& one : members) {
      TORCH_CHECK_VALUE(paths_.count(one.path) == 0 && paths.insert(one.path).second,
                        "linked: ", detail::literal(one.path), " is in two links");
    }
    paths_.merge(paths);
    links_.push_back({std::move(members), std::move(readers)});
    return *this;
  }

  /// Weight 1 for each group, in place of the root of all its entries in all its tensors.
  Links unweighted() const {
    Links copy = *this;
    copy.is_unweighted_ = true;
    return copy;
  }

  const std::vector<Link>& list() const& { return links_; }
  std::vector<Link> list() && { return std::move(links_); }
  bool is_unweighted() const { return is_unweighted_; }

  /// Takes exactly the members; typos throw with near names, and a second path of a tied tensor.
  Selector selector() const {
    const std::vector<std::string> paths(paths_.begin(), paths_.end());
    detail::Rule rule =
        detail::naming("linked", paths, std::equal_to<std::string>(), detail::whole_path).rule();
    // They may be thousands, which would be compared with thousands of paths.
    rule.holds = [known = paths_](const detail::Aliases& aliases) {
      return std::any_of(aliases.begin(), aliases.end(),
                         [&](const Parameter& alias) { return known.count(alias.path) > 0; });
    };
    rule.check_names = [known = paths_, tell = rule.check_names](const auto& parameters) {
      std::set<std::string> there;
      std::unordered_map<const c10::TensorImpl*, std::string> first_path;
      for (const auto& [path, tensor, owner] : parameters) {
        there.insert(path);
        const auto [first, is_new] = first_path.emplace(tensor.unsafeGetTensorImpl(), path);
        TORCH_CHECK_VALUE(is_new || known.count(path) == 0, "linked: ", detail::literal(path),
                          " is a second path of ", detail::literal(first->second),
                          "; name it by the first");
      }
      const bool are_all = std::includes(there.begin(), there.end(), known.begin(), known.end());
      if (!are_all) tell(parameters);
    };
    rule.names = rule.holds;
    return Selector(std::move(rule));
  }

 private:
  std::vector<Link> links_;
  std::set<std::string> paths_;
  bool is_unweighted_ = false;
};

inline Grouping::Grouping(const Links& links)
    : text_("linked(...)"),
      layout_of_([](at::IntArrayRef, torch::Device) -> detail::Layout {
        throw Misfit{"links are of tensors that are named"};
      }),
      weighting_(links.is_unweighted() ? Weighting::ones : Weighting::roots),
      links_(std::make_shared<Links>(links)) {}

/// Links slices of several tensors: a unit's row, its bias, the scale and shift of the
/// normalization behind it, by path and dimension:
///
///     linked({{"conv1.weight", 0}, {"conv1.bias", 0}, {"bn1.weight", 0}, {"bn1.bias", 0}})
///
/// The first has G slices along its dimension; each other one a multiple k G of them, of which k in
/// turn are in a group. An error where a path or dimension does not exist, a size is no multiple, a
/// tensor is frozen, or a path is in two links.
inline Links linked(std::vector<Slices> members, std::vector<Slices> readers = {}) {
  Links links;
  links.add(std::move(members), std::move(readers));
  return links;
}

}  // namespace torchreg
