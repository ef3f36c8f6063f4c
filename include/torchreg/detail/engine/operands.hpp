#pragma once

#include <torch/types.h>

#include <torchreg/detail/processor/inline_begin.hpp>

namespace torchreg::detail {

/// The tensors of one update, by name: the only list of them. X is a tensor (undefined: there is
/// none), or what stands for one: a pointer, a register, whether there is one.
template <class X>
struct Operands {
  X w{};         ///< the parameter
  X moment{};    ///< the second moment of its gradient, from the optimizer
  X mean{};      ///< the mean of its gradient, whose square is subtracted (centered RMSprop)
  X given{};     ///< a step per entry, of a user
  X data{};      ///< of the formula, for this parameter
  X factor{};    ///< of each entry, to the penalty's strength
  X memory{};    ///< an entry's averaged gradient while it is at zero, infinity while it is not;
                 ///< in a group that is not at zero, the entry itself after the last step
  X zero{};      ///< of each group: 1 while it is at zero, 0 while it is not, -1 if not known
  X gradient{};  ///< of a term

  TORCHREG_INLINE Operands() {}  // or GCC would call it for registers, without optimization
};

/// visit(x...) for each operand in turn, of all these Operands at once.
template <class Visit, class... Of>
void for_each_operand(const Visit& visit, Of&&... of) {
  visit(of.w...);
  visit(of.moment...);
  visit(of.mean...);
  visit(of.given...);
  visit(of.data...);
  visit(of.factor...);
  visit(of.memory...);
  visit(of.zero...);
  visit(of.gradient...);
}

/// Which operands there are.
inline Operands<bool> presence_of(const Operands<torch::Tensor>& tensors) {
  Operands<bool> presence;
  for_each_operand([](const torch::Tensor& tensor, bool& is_there) { is_there = tensor.defined(); },
                   tensors, presence);
  return presence;
}

/// How many of them there are.
inline int count_of(const Operands<bool>& presence) {
  int count = 0;
  for_each_operand([&](bool is_there) { count += is_there ? 1 : 0; }, presence);
  return count;
}

/// Which operands a loop is made for.
template <bool has_moment, bool has_memory, bool has_data, bool has_factor,
          bool has_gradient = false>
struct Set {
  static constexpr bool w = true, moment = has_moment, mean = false, given = false;
  static constexpr bool data = has_data, factor = has_factor, memory = has_memory, zero = false;
  static constexpr bool gradient = has_gradient;
};

template <class... Sets>
struct SetList {
  template <class... Others>
  SetList<Sets..., Others...> operator+(SetList<Others...>) const;
};

/// Whether there are just those operands.
template <class Set>
bool is_set(const Operands<bool>& presence) {
  bool is_same = true;
  for_each_operand([&](bool a, bool b) { is_same = is_same && a == b; }, presence, Set());
  return is_same;
}

}  // namespace torchreg::detail

#include <torchreg/detail/processor/inline_end.hpp>
