#pragma once

#include <torchreg/detail/removal/chain_walk.hpp>
#include <torchreg/select.hpp>

namespace torchreg {

/// The hidden units of a torch::nn::Sequential: for each layer that another one follows its weight
/// and bias and those of the batch normalizations in between, linked, and who reads them.
///
/// Takes what is or points to a torch::nn::SequentialImpl, or to a class derived from it: that its
/// forward runs its modules in their order is the caller's word; a Sequential inside of it counts
/// by its modules. Layers are Linear and Conv1d, 2d and 3d without groups. In between may be batch
/// normalizations, activations with f(0) = 0, dropout, pooling, Identity, and Flatten of all
/// dimensions but the first. The last layer's outputs are no hidden units, and what is before the
/// first layer or behind the last is not in the way. Behind a Linear a batch normalization is taken
/// for one of its units, as it is where inputs have two dimensions.
///
/// An error by name of each other module between two layers, as a removal of units that are zero
/// would change what they compute: use linked(...) where you know that it does not.
template <class Module>
Links chain(const Module& module) {
  const torch::nn::Module& sequential = detail::as_module(module);
  TORCH_CHECK_VALUE(dynamic_cast<const torch::nn::SequentialImpl*>(&sequential) != nullptr,
                    "chain: ", detail::holder_name(sequential),
                    " is no Sequential; use linked(...)");
  detail::ChainWalk chain;
  chain.walk(sequential, "");
  return chain.links();
}

}  // namespace torchreg
