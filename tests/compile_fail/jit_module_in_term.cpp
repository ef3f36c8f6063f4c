// expect: torchreg takes a torch::nn::Module, what points to one, or tensors; of a
// torch::jit::Module, include torchreg/jit.hpp
#include <torchreg/torchreg.hpp>

#include <torch/script.h>

torch::Tensor term(const torch::jit::Module& model) { return torchreg::L1(1e-4)(model); }
