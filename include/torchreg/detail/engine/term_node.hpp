#pragma once

#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/saved_variable.h>
#include <torch/types.h>

#include <cstddef>
#include <memory>
#include <mutex>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <torchreg/detail/engine/outcome.hpp>

namespace torchreg::detail {

/// The slopes of a term's formula, as its node in the graph sees them.
struct Slopes {
  Slopes() = default;
  Slopes(const Slopes&) = delete;
  Slopes& operator=(const Slopes&) = delete;
  virtual ~Slopes() = default;

  virtual std::string name() const = 0;
  /// gradient <- outer * slope, of each update that has a gradient.
  virtual void write(Updates updates, const torch::Tensor& outer) const = 0;
  /// The slopes, by operations that autograd records.
  virtual std::vector<torch::Tensor> recorded(const Updates& updates) const = 0;
};

/// A term with a slope: one node in LibTorch's graph for the whole list. Only the gradients
/// themselves are allocated in backward; where a second derivative is asked for, the slope is
/// recorded. torch::autograd::Function would do the same, and compile for seconds.
class TermNode : public torch::autograd::Node {
 public:
  TermNode(std::unique_ptr<const Slopes> slopes, const Updates& updates)
      : slopes_(std::move(slopes)) {
    std::vector<torch::Tensor> inputs;
    for (const auto& [tensors, numbers, parameter] : updates) {
      inputs.push_back(tensors.w);
      parts_.push_back({{parameter->path, {}}, numbers, presence_of(tensors)});
      for_each_operand(
          [&](const torch::Tensor& tensor) {
            if (tensor.defined()) saved_.emplace_back(tensor, /*is_output=*/false);
          },
          tensors);
    }
    set_next_edges(torch::autograd::collect_next_edges(at::TensorList(inputs)));
  }

  std::string name() const override { return c10::str(slopes_->name(), "Backward"); }

  torch::autograd::variable_list apply(torch::autograd::variable_list&& outer) override {
    torch::autograd::variable_list gradients(parts_.size());
    if (!outer[0].defined()) return gradients;
    Updates updates = saved_updates();
    const bool is_recorded = torch::GradMode::is_enabled();
    const auto slopes = is_recorded ? slopes_->recorded(updates) : std::vector<torch::Tensor>();
    for (std::size_t i = 0; i < updates.size(); ++i) {
      if (!task_should_compute_output(i)) continue;
      const torch::Tensor& w = updates[i].tensors.w;
      gradients[i] = is_recorded ? (outer[0].to(w.device()) * slopes[i]).to(w.scalar_type())
                                 : torch::empty_like(w);
      updates[i].tensors.gradient = gradients[i];
    }
    if (!is_recorded) slopes_->write(std::move(updates), outer[0]);
    return gradients;
  }

  void release_variables() override {
    const std::lock_guard<std::mutex> lock(mutex_);
    saved_.clear();
    is_released_ = true;
  }

 private:
  /// An update without its tensors, which are autograd's.
  struct Part {
    Parameter parameter;
    Numbers numbers;
    Operands<bool> has;
  };

  Updates saved_updates() {
    const std::lock_guard<std::mutex> lock(mutex_);
    TORCH_CHECK(!is_released_, torch::autograd::ERR_BACKWARD_TWICE);
    Updates updates;
    auto next = saved_.begin();
    for (const Part& part : parts_) {
      updates.push_back({{}, part.numbers, &part.parameter});
      for_each_operand(
          [&](torch::Tensor& tensor, bool is_there) {
            if (is_there) tensor = (next++)->unpack();
          },
          updates.back().tensors, part.has);
    }
    return updates;
  }

  std::unique_ptr<const Slopes> slopes_;
  std::vector<Part> parts_;
  std::vector<torch::autograd::SavedVariable> saved_;
  bool is_released_ = false;
};

/// A node as LibTorch holds its own: newer versions by an intrusive pointer, others by a shared
/// one.
template <class Node, class... Of>
auto make_node(Of&&... of) {
  if constexpr (std::is_base_of_v<c10::intrusive_ptr_target, Node>) {
    return c10::make_intrusive<Node>(std::forward<Of>(of)...);
  } else {
    return std::make_shared<Node>(std::forward<Of>(of)...);
  }
}

/// Whether a term of these tensors has a node in the graph.
inline bool has_graph(const std::string& who, at::TensorList tensors) {
  bool requires_grad = false;
  for (const torch::Tensor& tensor : tensors) {
    requires_grad = requires_grad || tensor.requires_grad();
    TORCH_CHECK_NOT_IMPLEMENTED(!tensor._fw_grad(/*level=*/0).defined(), who,
                                ": gradients in forward mode are not implemented");
  }
  return requires_grad && torch::GradMode::is_enabled();
}

}  // namespace torchreg::detail
