// What do zeros buy as they are? Files and products of a layer in LibTorch's sparse formats
#include <torch/torch.h>

#include <cstdio>
#include <sstream>
#include <string>
#include <vector>

#include "timing.hpp"

constexpr int64_t kSide = 1024, kBlock = 16;

double kilobytes(const std::vector<torch::Tensor>& tensors) {
  std::ostringstream file;
  torch::save(tensors, file);
  return double(file.str().size()) / 1000;
}

// Below 0 where this LibTorch has no such product.
template <class Run>
double time_or_none(const Run& run) {
  try {
    return time_of(20, run);
  } catch (const c10::Error&) {
    return -1;
  }
}

std::string shown(double milliseconds) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f", milliseconds);
  return milliseconds < 0 ? "none" : text;
}

// A weight of which this part is zero, entry by entry or in blocks.
torch::Tensor weight_with(double zeros, bool in_blocks) {
  const int64_t side = in_blocks ? kSide / kBlock : kSide;
  torch::Tensor kept = torch::rand({side, side}) >= zeros;
  if (in_blocks) kept = kept.repeat_interleave(kBlock, 0).repeat_interleave(kBlock, 1);
  return torch::randn({kSide, kSide}) * kept;
}

void row(double zeros, const std::string& format, double size, double many, double one) {
  std::printf("%5.0f %%  %-22s%8.0f%12s%10s\n", 100 * zeros, format.c_str(), size,
              shown(many).c_str(), shown(one).c_str());
}

int main() {
  torch::manual_seed(0);
  const torch::NoGradGuard no_grad;
  const auto many = torch::randn({256, kSide}), one = torch::randn({1, kSide});
  std::printf(
      "One layer of 1024 x 1024: its file, and its product with 256 inputs and with one\n\n");
  std::printf("%7s  %-22s%8s%12s%10s\n", "zeros", "format", "kB", "256 [ms]", "1 [ms]");
  for (const double zeros : {0.5, 0.9, 0.99}) {
    for (const bool in_blocks : {false, true}) {
      const torch::Tensor w = weight_with(zeros, in_blocks);
      const auto dense = [&](const torch::Tensor& x) {
        return time_or_none([&] { torch::linear(x, w); });
      };
      row(zeros, in_blocks ? "dense, zeros in blocks" : "dense", kilobytes({w}), dense(many),
          dense(one));
      const torch::Tensor sparse =
          in_blocks ? w.to_sparse_bsr({kBlock, kBlock}) : w.to_sparse_csr();
      const auto product = [&](const torch::Tensor& x) {
        const torch::Tensor columns = x.t().contiguous();
        return time_or_none([&] { torch::matmul(sparse, columns); });
      };
      // Indices of 32 bits are enough, and in a file they are what it costs.
      const double size = kilobytes({sparse.values(), sparse.crow_indices().to(torch::kInt),
                                     sparse.col_indices().to(torch::kInt)});
      row(zeros, in_blocks ? "BSR, blocks of 16 x 16" : "CSR", size, product(many), product(one));
    }
  }
}
