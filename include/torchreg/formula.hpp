#pragma once

#include <torch/types.h>

#include <limits>

#include <torchreg/detail/formula/number.hpp>

namespace torchreg {

// For authors of formulas. A formula is a plain struct with the mathematics of one penalty, which
// Penalty makes a functor for users. It has one or several of
//
//   template <class X> X value(const X& w) const                 the penalty of each entry
//   template <class X> X slope(const X& w) const                 its derivative
//   template <class X> X prox(const X& w, const X& step) const
//
// or the same with torch::Tensor for X. Each returns a new tensor: one that writes to its arguments
// is an error. Without a slope autograd finds it. A step is 0-dim or of w's shape, and where
// entries have steps of their own, the prox is that in their metric: the minimizer z of R(z) + sum
// (z - w)^2 / (2 step). It may declare
//
//   static constexpr const char* name = "L1";    for errors and tables
//   static constexpr bool takes_lanes = true;    its templates do for registers too
//   static constexpr Domain domain = ...;        else of groups with a `grouping`, or of entries
//   static constexpr Memory memory = ...;        else of entries or groups, as the domain is
//   static constexpr bool is_constraint = true;  as a term it shall not compile; a constraint of
//                                                entries says Memory::none too
//   static constexpr bool has_other_kinks = true;  its value has kinks where no entry is 0, which
//                                                stationarity() must know of
//   static constexpr bool survives_rounding = true;  a constraint of zeros and signs alone, so that
//                                                stationarity() may take smaller steps
//   static constexpr bool grows_with_each = false;  it is not even, or falls somewhere in some |w|,
//                                                and NonNegative shall refuse it
//   static constexpr const char* instead = ...;  its prox takes one step for all entries, and after
//                                                an adaptive optimizer this is what to use
//   void check() const;                          throws where strengths do not go together
//   bool makes_zeros() const;                    whether these strengths need a memory
//   double kink() const;                         of a convex penalty: its slope beside 0. A zero is
//                                                held while its averaged gradient is at most that.
//                                                Its prox must leave w where the step or the slope
//                                                is 0, keep NaN and infinities, and return a tensor
//                                                of its own
//   static constexpr bool has_constant_slope = true;  with a kink(), as steep as that wherever w is
//                                                not 0: fewer launches on a device
//   std::vector<Strength> strengths() const;     checked at each use
//   torch::Tensor data(const Parameter& parameter) const;
//   std::vector<torch::Tensor> data(const std::vector<torch::Tensor>& w,
//                                   const std::vector<torch::Tensor>& steps) const;
//
// With data, they are the last argument of value, slope and prox. They broadcast to the parameter,
// and are cut, moved and cast as it is, one number as one; to autograd they are constants. Those of
// a parameter are asked for once, where a ProximalStep is made; those of several parameters at each
// step, for all that take one, with steps of their shapes, and by a term without steps. Such are
// bounds of what is kept: scaled_by() does not reach them, and stationarity() and lambda_max() find
// them at w.
//
// A formula of groups has a public member `Grouping grouping`, and gets matrices of G x n: a group
// in each row, n the longest, padded with 0 and with steps of 1. Its step is 0-dim or G x n, where
// entries that rest have 0, which its prox must be able to take; its value returns a number for
// each group, or for each entry. It may declare
//
//   static constexpr bool takes_weights = true;  the groups' weights, 0-dim or G x 1, are the last
//                                                argument of value, slope and prox; entries in
//                                                no group, which others do not get, have 0
//   static constexpr bool takes_some = true;     any of the groups may be passed without the others
//   static constexpr bool never_throws = true;   and then none is staged until all are done
//   static constexpr bool rests_in_padding = true;  which has steps of 0
//
// X is torch::Tensor or, with takes_lanes, a register of several entries, by which a tensor on the
// CPU is read and written once. Registers have + - * / > < <= == != & | and Tensor's abs, sign,
// clamp, clamp_min, where, masked_fill, lerp, isfinite, reciprocal and sqrt.
//
// NaN and infinite entries, and steps of 0, never reach the result: such entries stay as they are.

/// What a formula is a function of: of each entry, so that it can be given any piece of a tensor,
/// of groups, or of a whole tensor, which comes in its own shape. `is_separable = false` means
/// tensor.
enum class Domain { entries, groups, tensor };

/// What a zero needs to leave: the textbook prox's word alone, or that of its averaged gradient, or
/// of its group's.
enum class Memory { none, entries, groups };

/// S(x, t) = sign(x) max(|x| - t, 0), of tensors or of registers.
using detail::shrink;

/// The numbers that a strength may be.
struct Range {
  double low = 0;
  bool is_open = false;  ///< whether `low` itself is excluded
  double high = std::numeric_limits<double>::infinity();
};

constexpr Range at_least(double low) { return {low, false}; }
constexpr Range above(double low) { return {low, true}; }
constexpr Range fraction() { return {0, false, 1}; }
constexpr Range any_number() { return {-std::numeric_limits<double>::infinity()}; }  // or infinite

/// A number in a formula with its name, and the range that it must be in: finite and >= 0.
struct Strength {
  const char* name;
  double value;
  Range range = at_least(0);
};

}  // namespace torchreg
