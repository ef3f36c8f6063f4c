#pragma once

#include <ATen/Parallel.h>
#include <torch/types.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include <torchreg/detail/engine/outcome.hpp>
#include <torchreg/detail/engine/update.hpp>
#include <torchreg/detail/formula/number.hpp>

namespace torchreg::detail {

/// Entries of a piece on the CPU, which stays in the cache while several operations pass over it.
/// Below ATen's grain size of 32768, so that each operation on a flat piece is serial, and its sum
/// has the same bits with any number of threads.
constexpr int64_t kPiece = 32000;

/// The size of so many entries of a tensor, in the type that they are computed in.
inline int64_t bytes_of(const torch::Tensor& tensor, int64_t entries) {
  return entries * static_cast<int64_t>(c10::elementSize(compute_type(tensor.scalar_type())));
}

/// Entries that a kernel takes at once on another device, where each operation is a launch: as many
/// as its temporaries have room for in three times the largest tensor, or in 64 MiB.
template <class Kernel>
int64_t entries_at_once(const torch::Tensor& w, int64_t largest) {
  const int64_t room = std::max(int64_t{64} << 20, 3 * largest);
  return std::max<int64_t>(1, room / bytes_of(w, Kernel::arrays));
}

/// Which operands a kernel reads, of those that there are.
template <class Kernel>
Operands<bool> read_by(Operands<bool> has) {
  has.gradient = has.gradient && Kernel::reads_gradient;
  return has;
}

/// The executor for all tensors that LibTorch knows, by its own operations: piece by piece.
class InPieces {
 public:
  /// Carries out all of `todo`.
  template <class Kernel>
  static void run(const Kernel& kernel, const Updates& updates, const Indices& todo,
                  Outcome& outcome) {
    for (const std::size_t i : todo) {
      run_one(kernel, updates[i], outcome);
      outcome.done(i);
    }
  }

  /// act(piece) for corresponding pieces of an update's tensors, flat where they lie in memory
  /// alike and without gaps.
  template <class Act>
  static void for_each_piece(const Operands<torch::Tensor>& tensors, int64_t entries,
                             const Act& act) {
    const torch::Tensor& w = tensors.w;
    if (w.numel() <= entries) return act(tensors);
    bool is_flat = w.is_non_overlapping_and_dense();
    for_each_operand(
        [&](const torch::Tensor& tensor) {
          is_flat = is_flat && (!tensor.defined() || tensor.strides() == w.strides());
        },
        tensors);
    Operands<torch::Tensor> whole = tensors;
    if (is_flat) {
      for_each_operand(
          [&](torch::Tensor& tensor) {
            if (tensor.defined()) tensor = tensor.as_strided({tensor.numel()}, {1});
          },
          whole);
    }
    const auto sizes = whole.w.sizes();
    const auto longest = std::max_element(sizes.begin(), sizes.end());
    const int64_t rows = *longest, dim = longest - sizes.begin();
    const int64_t rows_a_piece = std::max<int64_t>(1, entries / (w.numel() / rows));
    for (int64_t row = 0; row < rows; row += rows_a_piece) {
      Operands<torch::Tensor> piece;
      for_each_operand(
          [&](const torch::Tensor& tensor, torch::Tensor& part) {
            if (tensor.defined())
              part = tensor.narrow(dim, row, std::min(rows_a_piece, rows - row));
          },
          whole, piece);
      for_each_piece(piece, entries, act);  // a row may be longer than a piece
    }
  }

 private:
  template <class Kernel>
  static void run_one(const Kernel& kernel, const Update& update, Outcome& outcome) {
    const torch::Tensor& w = update.tensors.w;
    if (Kernel::is_separable && w.numel() == 0) return;
    const int64_t size = piece_size<Kernel>(w);
    if (!Kernel::is_separable || w.numel() <= size) {
      return run_piece(kernel, update.tensors, update.numbers, update.path(), outcome);
    }
    // A formula that takes lanes is arithmetic, which does not throw. Another may, in any piece.
    Operands<torch::Tensor> staged = update.tensors;
    const auto written = Kernel::writes(presence_of(staged));
    if (!Kernel::takes_lanes) {
      for_each_operand(
          [](torch::Tensor& tensor, bool is_written) {
            if (is_written) tensor = tensor.clone();
          },
          staged, written);
    }
    Outcome of_pieces;
    try {
      for_each_piece(staged, size, [&](const Operands<torch::Tensor>& piece) {
        run_piece(kernel, piece, update.numbers, update.path() + " (in part)", of_pieces);
      });
    } catch (const c10::Error&) {
      if (Kernel::takes_lanes) throw;
      // It may have tensors of its own that fit the whole shape alone; or else that error is right.
      return run_piece(kernel, update.tensors, update.numbers, update.path(), outcome);
    }
    outcome.sums.insert(outcome.sums.end(), of_pieces.sums.begin(), of_pieces.sums.end());
    for_each_operand(
        [](const torch::Tensor& to, const torch::Tensor& from, bool is_written) {
          if (is_written && !to.is_same(from)) to.copy_(from);
        },
        update.tensors, staged, written);
  }

  template <class Kernel>
  static int64_t piece_size(const torch::Tensor& w) {
    if (w.is_cpu()) return Kernel::sums ? kPiece : kPiece * at::get_num_threads();
    return entries_at_once<Kernel>(w, bytes_of(w, w.numel()));
  }

  /// The kernel on a piece: in the compute type, rounded once where it is written.
  template <class Kernel>
  static void run_piece(const Kernel& kernel, const Operands<torch::Tensor>& piece,
                        const Numbers& numbers, const std::string& path, Outcome& outcome) {
    const auto type = compute_type(piece.w.scalar_type());
    const auto has = presence_of(piece);
    Operands<torch::Tensor> x;
    for_each_operand(
        [&](const torch::Tensor& from, torch::Tensor& to, bool is_read) {
          if (is_read) to = from.to(piece.w.device(), type);
        },
        piece, x, read_by<Kernel>(has));
    if constexpr (Kernel::sums) {
      const torch::Tensor sum = kernel.at(x, has, path).sum();
      outcome.sums.push_back(numbers.strength == 1 ? sum : sum * numbers.strength);
    }
    if constexpr (Kernel::has_results) {
      Kernel own = kernel;
      own.stored = piece.w.scalar_type();
      own(x, numbers, has, path);
      const auto written = Kernel::writes(has);
      if (written.w) write(piece.w, x.w);
      for_each_operand(
          [](const torch::Tensor& to, const torch::Tensor& result, bool is_written) {
            if (is_written) to.copy_(result);
          },
          piece, x, without_w(written));
    }
  }

  static Operands<bool> without_w(Operands<bool> written) {
    written.w = false;
    return written;
  }

  /// With + 0.0, so that there is no -0.0.
  static void write(torch::Tensor w, const torch::Tensor& z) {
    if (w.scalar_type() == z.scalar_type()) {
      torch::add_out(w, z, 0.0);
    } else {
      w.copy_(z + 0.0);
    }
  }
};

}  // namespace torchreg::detail
