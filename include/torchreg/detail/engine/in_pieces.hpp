#pragma once

#include <torch/types.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <torchreg/detail/engine/any_kernel.hpp>
#include <torchreg/detail/engine/outcome.hpp>
#include <torchreg/detail/engine/pieces.hpp>
#include <torchreg/detail/engine/total.hpp>

namespace torchreg::detail {

/// The executor for all tensors that LibTorch knows, by its own operations: piece by piece.
class InPieces {
 public:
  /// Carries out all of `todo`.
  static void run(const AnyKernel& kernel, const Updates& updates, const Indices& todo,
                  Outcome& outcome) {
    for (const std::size_t i : todo) {
      run_one(kernel, updates[i], outcome);
      outcome.done(i);
    }
  }

 private:
  static void run_one(const AnyKernel& kernel, const Update& update, Outcome& outcome) {
    const torch::Tensor& w = update.tensors.w;
    if (kernel.is_separable && w.numel() == 0) return;
    const auto written = kernel.writes(presence_of(update.tensors));
    const int copies = kernel.takes_lanes ? 0 : count_of(written);
    const int64_t size = kernel.piece_size(update.tensors, copies);
    if (!kernel.is_separable || w.numel() <= size) {
      return run_piece(kernel, update.tensors, update.numbers, update.path(), outcome);
    }
    // A formula that takes lanes is arithmetic, which does not throw. Another may, in any piece.
    Operands<torch::Tensor> staged = update.tensors;
    if (!kernel.takes_lanes) {
      for_each_operand(
          [](torch::Tensor& tensor, bool is_written) {
            if (is_written) tensor = tensor.clone();
          },
          staged, written);
    }
    Outcome of_pieces;
    try {
      const auto act = [&](const Operands<torch::Tensor>& piece) {
        run_piece(kernel, piece, update.numbers, update.path() + " (in part)", of_pieces);
      };
      for_each_piece(staged, size, act, /*may_be_flat=*/kernel.takes_lanes);
    } catch (const c10::Error&) {
      if (kernel.takes_lanes) throw;
      // Its own tensors may fit the whole shape alone; or else that error is right. With flat
      // pieces a column of them would make matrices.
      return run_piece(kernel, update.tensors, update.numbers, update.path(), outcome);
    }
    outcome.sums.insert(outcome.sums.end(), of_pieces.sums.begin(), of_pieces.sums.end());
    for_each_operand(
        [](const torch::Tensor& to, const torch::Tensor& from, bool is_written) {
          if (is_written && !to.is_same(from)) to.copy_(from);
        },
        update.tensors, staged, written);
  }

  /// The kernel on a piece: in the compute type, rounded once where it is written.
  static void run_piece(const AnyKernel& kernel, const Operands<torch::Tensor>& piece,
                        const Numbers& numbers, const std::string& path, Outcome& outcome) {
    const auto type = compute_type(piece.w.scalar_type());
    const auto has = presence_of(piece);
    Operands<torch::Tensor> x;
    for_each_operand(
        [&](const torch::Tensor& from, torch::Tensor& to, bool is_read) {
          if (is_read) to = from.to(piece.w.device(), type);
        },
        piece, x, kernel.reads(has));
    if (kernel.sums) {
      const torch::Tensor sum = sum_in_order(kernel.values(kernel.kernel, x, has, path));
      outcome.sums.push_back(numbers.strength == 1 ? sum : sum * numbers.strength);
    }
    if (!kernel.has_results) return;
    kernel.act(kernel.kernel, x, numbers, has, path, piece.w.scalar_type());
    const auto written = kernel.writes(has);
    if (written.w) store(piece.w, x.w);
    for_each_operand(
        [](const torch::Tensor& to, const torch::Tensor& result, bool is_written) {
          if (is_written) to.copy_(result);
        },
        piece, x, without_w(written));
  }

  static Operands<bool> without_w(Operands<bool> written) {
    written.w = false;
    return written;
  }
};

}  // namespace torchreg::detail
