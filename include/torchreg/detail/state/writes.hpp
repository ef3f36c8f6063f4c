#pragma once

#include <torch/types.h>

#include <cstdint>

namespace torchreg::detail {

/// How often a tensor was written to. One that was made in InferenceMode does not tell: 0.
inline int64_t version_of(const torch::Tensor& tensor) {
  const auto& counter = tensor.unsafeGetTensorImpl()->version_counter();
  return counter.enabled() ? static_cast<int64_t>(counter.current_version()) : 0;
}

/// What was written to a tensor from outside, during some moves of an optimizer.
struct Writes {
  int64_t count = 0;      ///< by the tensor's version
  bool replaced = false;  ///< whether it has another storage now
  int64_t moves = 0;

  bool any() const { return count != 0 || replaced; }

  /// As many in all, or as many at each move.
  bool is_like(const Writes& other) const {
    const bool have_moves = moves > 0 && other.moves > 0;
    return replaced == other.replaced &&
           (count == other.count || (have_moves && count * other.moves == other.count * moves));
  }
};

/// Tells whether something else than the optimizer and the prox has written to a tensor, as far as
/// its version and its storage show it. What is written at every move in the same way (a clamp) is
/// a habit and no news: the writes of two moves in a row, if they are alike.
class Watch {
 public:
  Writes habit, last;

  explicit Watch(const torch::Tensor& tensor) : storage_(tensor.storage().getWeakStorageImpl()) {
    look(tensor);
  }

  /// The writes since the last look, during so many moves; `own` were the optimizer's.
  Writes since(const torch::Tensor& tensor, int64_t moves, int64_t own) const {
    const bool same_kind = tensor.device() == device_ && tensor.scalar_type() == type_;
    const bool is_replaced = was_replaced_ || (same_kind && !is_stored_as_before(tensor));
    return {version_of(tensor) - seen_ - own, is_replaced, moves};
  }

  bool is_news(const Writes& writes) const {
    const bool is_repeated = writes.moves > 0 && writes.is_like(last);
    return writes.any() && !is_repeated && !writes.is_like(habit);
  }

  void learn(const Writes& writes) {
    if (writes.moves == 0) return;
    if (writes.is_like(last)) habit = writes;
    last = writes;
  }

  /// Looks: all writes are noted now but the last `unseen`.
  void look(const torch::Tensor& tensor, int64_t unseen = 0) {
    now_ = version_of(tensor);
    seen_ = now_ - unseen;
    device_ = tensor.device();
    type_ = tensor.scalar_type();
    was_replaced_ = false;
    if (!is_stored_as_before(tensor)) storage_ = tensor.storage().getWeakStorageImpl();
  }

  /// Takes the writes since the last look for the prox's own.
  void skip(const torch::Tensor& tensor) { look(tensor, now_ - seen_); }

  /// Takes the tensor for as far from the last look as another was: in a state that is loaded.
  void resume(const torch::Tensor& tensor, const Writes& writes, int64_t own) {
    look(tensor, writes.count + own);
    was_replaced_ = writes.replaced;
  }

 private:
  bool is_stored_as_before(const torch::Tensor& tensor) const {
    return tensor.storage().unsafeGetStorageImpl() == storage_._unsafe_get_target();
  }

  int64_t seen_ = 0, now_ = 0;  ///< versions: up to which writes are noted, and at the last look
  bool was_replaced_ = false;
  // Weak: it frees the memory of a storage that is no longer used, but not its address.
  c10::weak_intrusive_ptr<c10::StorageImpl> storage_;
  c10::Device device_ = c10::kCPU;
  c10::ScalarType type_ = c10::ScalarType::Undefined;
};

}  // namespace torchreg::detail
