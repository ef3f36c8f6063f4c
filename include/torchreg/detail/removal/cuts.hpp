#pragma once

#include <torch/csrc/autograd/variable.h>
#include <torch/nn/module.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <torchreg/detail/groups/problem.hpp>
#include <torchreg/detail/removal/layers.hpp>
#include <torchreg/select.hpp>

namespace torchreg::detail {

/// A tensor of which slices along one dimension are to go, and the layer that owns it.
struct Cut {
  std::string path;
  torch::Tensor tensor;
  torch::nn::Module* layer;
  Side side;
  int64_t dim;
};

/// The cuts of one link: its members' slices, and its readers'.
struct LinkCuts {
  int64_t groups;
  std::vector<Cut> cuts;
  torch::Tensor are_zero;  ///< which groups are, on the CPU
};

/// Finds what the links of a module cut, and refuses what would be wrong; writes nothing.
class CutFinder {
 public:
  explicit CutFinder(const torch::nn::Module& module) : parameters_(parameters_of(module)) {
    for (const Aliases& aliases : by_tensor(parameters_)) {
      for (const Parameter& parameter : aliases) paths_of_.emplace(parameter.path, aliases);
    }
  }

  std::vector<LinkCuts> cuts_of(const Links& links) {
    std::vector<LinkCuts> all;
    for (const Links::Link& link : links.list()) {
      const std::string& path = link.members[0].path;
      check(!link.readers.empty(), "the link of ", literal(path),
            " has no readers, whose slices go with it: linked(members, readers)");
      LinkCuts own{-1, {}, {}};
      for (const Slices& slices : link.members) {
        const Parameter& parameter = find(slices);
        const Layout layout = linked_layout(kWho, slices, parameter, own.groups);
        own.groups = layout.groups;
        own.cuts.push_back(cut(parameter, slices, Side::outputs));
        const torch::Tensor zero = (layout.matrix(parameter.tensor) == 0).all(1).cpu();
        own.are_zero = own.are_zero.defined() ? own.are_zero & zero : zero;
      }
      for (const Slices& slices : link.readers) {
        const Parameter& parameter = find(slices);
        linked_layout(kWho, slices, parameter, own.groups);
        own.cuts.push_back(cut(parameter, slices, Side::inputs));
      }
      check_layers(own);
      all.push_back(std::move(own));
    }
    return all;
  }

 private:
  static constexpr const char* kWho = "remove_zero_groups";

  template <class... Texts>
  static void check(bool holds, const Texts&... texts) {
    TORCH_CHECK_VALUE(holds, kWho, ": ", texts...);
  }

  const Parameter& find(const Slices& slices) const {
    const auto found = paths_of_.find(slices.path);
    if (found == paths_of_.end()) {
      check(false, "linked: ", literal(slices.path), " is no parameter of the module",
            did_you_mean(slices.path, Parameters(parameters_).paths()));
    }
    const Aliases& aliases = found->second;
    check(aliases.size() == 1, literal(aliases[0].path), " and ", literal(aliases.back().path),
          " are one tensor, which cannot become smaller for one of them");
    return aliases[0];
  }

  Cut cut(const Parameter& parameter, const Slices& slices, Side side) {
    const auto& [path, tensor, owner] = parameter;
    const int64_t dim = slices.dim < 0 ? slices.dim + tensor.dim() : slices.dim;
    auto& layer = const_cast<torch::nn::Module&>(*owner);  // the caller's, which is not const
    const bool is_usual = side == Side::outputs ? dim == 0 && (last_part(path) == "weight" ||
                                                               last_part(path) == "bias")
                                                : dim == 1 && last_part(path) == "weight";
    check(is_usual && width_of(layer, side) != nullptr, literal(path), " of ", holder_name(layer),
          " cannot become smaller along dimension ", dim,
          side == Side::outputs ? ": its slices are no units" : ": its slices read no units");
    check(convolution_groups(layer) == 1, literal(path), " is of a convolution in ",
          convolution_groups(layer), " groups, which cannot become smaller");
    check(known_.emplace(path, dim).second, literal(path), " is linked twice along dimension ",
          dim);
    return {path, tensor, &layer, side, dim};
  }

  /// All of a layer's tensors lose the same units.
  void check_layers(const LinkCuts& own) const {
    for (const Cut& cut : own.cuts) {
      if (cut.side == Side::inputs) continue;
      for (const Parameter& other : parameters_) {
        if (other.owner != cut.layer) continue;
        bool is_cut = false;
        for (const Cut& one : own.cuts) {
          is_cut = is_cut || (one.path == other.path && one.side == Side::outputs);
        }
        check(is_cut, literal(other.path), " is not in the link of ", literal(cut.path),
              ", whose units it has too");
      }
    }
  }

  std::vector<Parameter> parameters_;
  std::map<std::string, Aliases> paths_of_;
  std::set<std::pair<std::string, int64_t>> known_;
};

/// Makes a tensor another one, of another shape, and forgets its gradient. A graph that knows the
/// old shape does not get the next one's gradients.
inline void replace(const torch::Tensor& tensor, const torch::Tensor& data) {
  torch::Tensor(tensor).mutable_grad() = torch::Tensor();
  torch::Tensor(tensor).set_data(data);
  auto* meta = torch::autograd::impl::get_autograd_meta(tensor);
  if (meta != nullptr) meta->grad_accumulator_.reset();
}

/// The slices of the units that are kept, in memory as the tensor's.
inline torch::Tensor kept_slices(const torch::Tensor& tensor, int64_t dim, int64_t groups,
                                 const torch::Tensor& kept) {
  const int64_t k = tensor.size(dim) / groups;
  const torch::Tensor slices = kept.unsqueeze(1) * k + torch::arange(k, kept.options());
  return tensor.detach()
      .index_select(dim, slices.view({-1}).to(tensor.device()))
      .contiguous(tensor.suggest_memory_format());
}

/// Keeps these units: in the tensors that are cut, in running statistics, and in options.
inline void carry_out(const std::vector<Cut>& cuts, int64_t groups, const torch::Tensor& kept) {
  std::set<torch::nn::Module*> have_statistics;
  for (const Cut& cut : cuts) {
    replace(cut.tensor, kept_slices(cut.tensor, cut.dim, groups, kept));
    *width_of(*cut.layer, cut.side) = cut.tensor.size(cut.dim);
    if (cut.side == Side::inputs || !have_statistics.insert(cut.layer).second) continue;
    for (const torch::Tensor& buffer : cut.layer->buffers(/*recurse=*/false)) {
      const bool is_of_units = buffer.defined() && buffer.dim() == 1;  // running_mean, running_var
      if (is_of_units) replace(buffer, kept_slices(buffer, 0, groups, kept));
    }
  }
}

}  // namespace torchreg::detail
