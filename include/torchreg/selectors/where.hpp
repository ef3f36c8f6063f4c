#pragma once

#include <string>
#include <utility>

#include <torchreg/detail/text/text.hpp>
#include <torchreg/selectors/selector.hpp>

namespace torchreg {

/// Selects the parameters for which `predicate(const Parameter&)` is true; `text` is what
/// `describe()` shows. The predicate sees a tied tensor once under each of its paths.
template <class Predicate>
Selector where(Predicate predicate, const std::string& text) {
  return Selector(std::move(predicate), c10::str("where(", detail::literal(text), ")"));
}

}  // namespace torchreg
