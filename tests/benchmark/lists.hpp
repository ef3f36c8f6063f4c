#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <string>
#include <vector>

namespace benchmark {

/// Parameters of a model, by their shapes.
struct List {
  std::string name;
  std::vector<std::vector<int64_t>> shapes;
};

inline List equal_tensors(int64_t count, int64_t entries) {
  return {std::to_string(count) + " x " + std::to_string(entries),
          std::vector<std::vector<int64_t>>(static_cast<std::size_t>(count), {entries})};
}

inline List mlp() { return {"MLP", {{200, 784}, {200}, {200, 200}, {200}, {10, 200}, {10}}}; }

/// He, Zhang, Ren, Sun 2016: 25.6 million parameters.
inline List resnet50() {
  List list{"ResNet-50", {{64, 3, 7, 7}, {64}, {64}}};
  const auto convolution = [&](int64_t out, int64_t in, int64_t size) {
    list.shapes.insert(list.shapes.end(), {{out, in, size, size}, {out}, {out}});
  };
  int64_t in = 64;
  const int64_t blocks[] = {3, 4, 6, 3};
  for (int64_t stage = 0; stage < 4; ++stage) {
    const int64_t width = int64_t{64} << stage, out = 4 * width;
    for (int64_t block = 0; block < blocks[stage]; ++block) {
      convolution(width, in, 1);
      convolution(width, width, 3);
      convolution(out, width, 1);
      if (block == 0) convolution(out, in, 1);
      in = out;
    }
  }
  list.shapes.insert(list.shapes.end(), {{1000, 2048}, {1000}});
  return list;
}

/// Radford et al. 2019, the small one: 124 million parameters.
inline List gpt2_small() {
  constexpr int64_t width = 768;
  List list{"GPT-2 small", {{50257, width}, {1024, width}}};
  for (int layer = 0; layer < 12; ++layer) {
    list.shapes.insert(list.shapes.end(), {{width},
                                           {width},
                                           {3 * width, width},
                                           {3 * width},
                                           {width, width},
                                           {width},
                                           {width},
                                           {width},
                                           {4 * width, width},
                                           {4 * width},
                                           {width, 4 * width},
                                           {width}});
  }
  list.shapes.insert(list.shapes.end(), {{width}, {width}});
  return list;
}

}  // namespace benchmark
