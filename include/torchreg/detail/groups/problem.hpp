#pragma once

#include <torch/types.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <torchreg/detail/formula/declared.hpp>
#include <torchreg/detail/text/text.hpp>
#include <torchreg/groupings/linked.hpp>
#include <torchreg/parameters.hpp>

namespace torchreg::detail {

/// What makes one matrix of groups, side by side: a tensor, or those that are linked.
struct Problem {
  struct Part {
    std::size_t index;  ///< of its parameter in the list
    Layout layout;
  };
  std::vector<Part> parts;
  int64_t entries = 0;  ///< of the longest group, in all parts

  const Layout& layout() const { return parts[0].layout; }
};

/// The slices of a link's tensor that are in a group, of so many groups.
inline Layout linked_layout(const std::string& who, const Slices& slices,
                            const Parameter& parameter, int64_t groups) {
  const auto& [path, tensor, owner] = parameter;
  const int64_t dim = slices.dim < 0 ? slices.dim + tensor.dim() : slices.dim;
  TORCH_CHECK_VALUE(dim >= 0 && dim < tensor.dim(), who, ": linked: ", literal(path), " of shape ",
                    tensor.sizes(), " has no dimension ", slices.dim);
  const int64_t size = tensor.size(dim);
  if (groups < 0) groups = size;
  TORCH_CHECK_VALUE(groups > 0 && size % groups == 0, who, ": linked: ", literal(path),
                    " of shape ", tensor.sizes(), " has ", size, " slices along dimension ",
                    slices.dim, ", no multiple of ", groups);
  return along(dim, size / groups).layout(who, parameter);
}

/// How the groups of some parameters, parameter_of(i), lie; an error where a grouping does not fit,
/// or a linked tensor is missing.
template <class ParameterOf>
std::vector<Problem> problems_of(const std::string& who, const Grouping& grouping,
                                 std::size_t count, const ParameterOf& parameter_of) {
  std::vector<Problem> problems;
  if (count == 0) return problems;
  if (grouping.links() == nullptr) {
    for (std::size_t i = 0; i < count; ++i) {
      const Layout layout = grouping.layout(who, parameter_of(i));
      problems.push_back({{{i, layout}}, layout.size});
    }
    return problems;
  }
  std::map<std::string, std::size_t> index_of;
  std::vector<std::string> paths;
  for (std::size_t i = 0; i < count; ++i) {
    index_of.emplace(parameter_of(i).path, i);
    paths.push_back(parameter_of(i).path);
  }
  for (const Links::Link& link : grouping.links()->list()) {
    Problem problem;
    for (const Slices& slices : link.members) {
      const auto found = index_of.find(slices.path);
      TORCH_CHECK_VALUE(found != index_of.end(), who, ": linked: ", literal(slices.path),
                        " is not among the tensors (frozen, or left out by the selector?)",
                        did_you_mean(slices.path, paths));
      const Parameter& parameter = parameter_of(found->second);
      const Parameter& first =
          problem.parts.empty() ? parameter : parameter_of(problem.parts[0].index);
      TORCH_CHECK_VALUE(parameter.tensor.device() == first.tensor.device(), who,
                        ": linked: ", literal(first.path), " is on ", first.tensor.device(),
                        " and ", literal(parameter.path), " on ", parameter.tensor.device(),
                        ": their groups need one device");
      const int64_t groups = problem.parts.empty() ? -1 : problem.layout().groups;
      const Layout layout = linked_layout(who, slices, parameter, groups);
      problem.parts.push_back({found->second, layout});
      problem.entries += layout.size;
    }
    grouping.check_link(who, parameter_of(problem.parts[0].index), problem.layout());
    problems.push_back(std::move(problem));
  }
  return problems;
}

/// The same for a formula: one that takes no weights gets no entries that are in no group.
template <class Formula, class ParameterOf>
std::vector<Problem> problems_of(const Formula& formula, std::size_t count,
                                 const ParameterOf& parameter_of) {
  static_assert(!has_own_data<Formula>,
                "this penalty of groups has data, which reach no group: say  takes_weights = true  "
                "and give them as grouping.weighted(...)");
  TORCH_CHECK_VALUE(has_weights<Formula> || !formula.grouping.is_weighted(), name_of<Formula>(),
                    " takes no weights of groups: leave weighted() out");
  auto problems = problems_of(name_of<Formula>(), formula.grouping, count, parameter_of);
  if (formula.grouping.links() != nullptr) {
    std::vector<bool> are_linked(count);
    for (const Problem& problem : problems) {
      for (const auto& part : problem.parts) are_linked[part.index] = true;
    }
    for (std::size_t i = 0; i < count; ++i) {
      TORCH_CHECK_VALUE(are_linked[i], name_of<Formula>(), ": ", literal(parameter_of(i).path),
                        " is in no link; leave the selector out, which is the links' own");
    }
  }
  if constexpr (!has_weights<Formula>) {
    for (Problem& problem : problems) {
      for (auto& part : problem.parts) part.layout = part.layout.without_others();
    }
  }
  return problems;
}

/// The weights of a problem's groups, of a formula that takes them.
template <class Formula>
torch::Tensor weights_of([[maybe_unused]] const Formula& formula,
                         [[maybe_unused]] const Problem& problem,
                         [[maybe_unused]] const torch::TensorOptions& options) {
  if constexpr (has_weights<Formula>) {
    return formula.grouping.weights(problem.layout(), problem.entries,
                                    options.requires_grad(false));
  } else {
    return {};
  }
}

}  // namespace torchreg::detail
