#pragma once

#include <torch/types.h>

#include <cstddef>
#include <initializer_list>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include <torchreg/detail/text/table.hpp>

namespace torch::nn {
class Module;
}

namespace torchreg {

/// A tensor with its dotted path in a module, such as "encoder.layers.0.weight".
struct Parameter {
  std::string path;
  torch::Tensor tensor;
  /// The module that registered the tensor: set while a selector is asked, null otherwise.
  const torch::nn::Module* owner = nullptr;
};

/// A list of parameters, each tensor once (identity is the TensorImpl).
///
/// Converts implicitly from one tensor, an initializer list or a vector of tensors. Such tensors
/// are taken as they are, with the paths "tensor 0", "tensor 1", …: no selector is applied. Whoever
/// uses the list reports an undefined tensor, an empty list or a wrong dtype under its own name.
class Parameters {
 public:
  Parameters(const torch::Tensor& tensor) : Parameters({tensor}) {}
  Parameters(std::initializer_list<torch::Tensor> tensors)
      : Parameters(std::vector<torch::Tensor>(tensors)) {}
  Parameters(const std::vector<torch::Tensor>& tensors) {
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      append({c10::str("tensor ", i), tensors[i]});
    }
  }
  explicit Parameters(const std::vector<Parameter>& parameters) {
    for (const Parameter& parameter : parameters) append({parameter.path, parameter.tensor});
  }

  auto begin() const { return list_.begin(); }
  auto end() const { return list_.end(); }
  std::size_t size() const { return list_.size(); }
  bool empty() const { return list_.empty(); }
  const Parameter& operator[](std::size_t index) const { return list_[index]; }

  std::vector<torch::Tensor> tensors() const {
    std::vector<torch::Tensor> tensors;
    for (const Parameter& parameter : list_) tensors.push_back(parameter.tensor);
    return tensors;
  }

  std::vector<std::string> paths() const {
    std::vector<std::string> paths;
    for (const Parameter& parameter : list_) paths.push_back(parameter.path);
    return paths;
  }

  /// A table: path, shape, number of entries, and the total.
  std::string describe() const {
    detail::Table table({"path", "shape", "entries"});
    int64_t total = 0;
    for (const auto& [path, tensor, owner] : list_) {
      const int64_t entries = tensor.defined() ? tensor.numel() : 0;
      table.row({path, tensor.defined() ? c10::str(tensor.sizes()) : "undefined",
                 std::to_string(entries)});
      total += entries;
    }
    table.row({"total", "", std::to_string(total)});
    return table.str();
  }

 private:
  void append(Parameter parameter) {
    const auto* identity = parameter.tensor.unsafeGetTensorImpl();
    if (parameter.tensor.defined() && !seen_.insert(identity).second) return;
    list_.push_back(std::move(parameter));
  }

  std::vector<Parameter> list_;
  std::unordered_set<const c10::TensorImpl*> seen_;
};

}  // namespace torchreg
