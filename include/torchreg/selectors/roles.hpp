#pragma once

#include <torch/nn/module.h>

#include <string>
#include <utility>

#include <torchreg/detail/text/text.hpp>
#include <torchreg/selectors/paths.hpp>
#include <torchreg/selectors/shapes.hpp>
#include <torchreg/selectors/types.hpp>

namespace torchreg {

/// Selects every trainable floating-point parameter.
inline Selector everything() {
  return Selector([](const Parameter& p) { return p.tensor.is_floating_point(); }, "everything()");
}

/// Selects by name: the last part of the path is "bias", starts with "bias_" or ends with "_bias"
/// ("bias_ih_l0" of an LSTM, "in_proj_bias" of attention).
inline Selector biases() {
  return Selector(
      [](const Parameter& p) {
        const std::string leaf = detail::last_part(p.path);
        return leaf == "bias" || detail::starts_with(leaf, "bias_") ||
               detail::ends_with(leaf, "_bias");
      },
      "biases()");
}

/// Selects what a normalization layer owns: a module whose C++ type, unqualified and without
/// "Impl", ends in Norm, Norm1d, Norm2d or Norm3d.
inline Selector normalization() {
  return Selector(
      [](const Parameter& p) {
        if (p.owner == nullptr) return false;
        const std::string type = detail::holder_name(*p.owner);
        for (const char* ending : {"Norm", "Norm1d", "Norm2d", "Norm3d"}) {
          if (detail::ends_with(type, ending)) return true;
        }
        return false;
      },
      "normalization()");
}

/// The default of every penalty: everything() with two or more dimensions, without biases() and
/// without normalization().
inline Selector weights() {
  detail::Rule rule = (everything() && dim_at_least(2) && !biases() && !normalization()).rule();
  rule.text = "weights()";
  rule.binding = detail::Binding::kUnary;
  return Selector(std::move(rule));
}

}  // namespace torchreg
