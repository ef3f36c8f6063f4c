#pragma once

// The laws that every penalty obeys, over one list of cases x dtypes x layouts. A new penalty is
// one line in cases(): its functor, and its mathematics written anew for one number.

#include <torchreg/torchreg.hpp>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "support.hpp"

namespace laws {

using torch::Tensor;

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kAll = 1e300;  ///< beyond every slope

/// A penalty, and R of one number: its value, its subdifferential as an interval, and the prox of
/// its conjugate R* with step sigma (convex penalties only).
struct Case {
  std::string name;
  std::function<Tensor(const Tensor& w)> term;  ///< none of a constraint
  std::function<void(const Tensor& w, const Tensor& step)> prox_;
  std::function<void(const Tensor& w, const Tensor& step)> after_adagrad;  ///< prox.step()
  std::function<double(double z)> value;
  std::function<std::pair<double, double>(double z)> subdifferential;
  std::function<double(double v, double sigma)> conjugate_prox = nullptr;
  bool has_second_derivative = true;
  bool is_arithmetic = true;  ///< + - * /, which round alike everywhere; not log
  bool is_identity = false;   ///< its prox
  bool is_even = true;
};

/// prox.step() with a step per entry, which Adagrad's second moment tells: (1 / step)^2, where its
/// rate is 1. In lanes, as a given step per entry is not.
template <class Penalty>
void prox_after_adagrad(const Penalty& penalty, const Tensor& w, const Tensor& step) {
  const Tensor before = w.detach().clone(), leaf = w.detach().requires_grad_();
  torch::optim::Adagrad adagrad({leaf}, torch::optim::AdagradOptions(1).eps(0));
  torchreg::ProximalStep prox(adagrad, leaf, penalty);
  prox.options().memory(0);
  leaf.mutable_grad() = torch::empty_like(leaf).copy_(step.reciprocal());
  adagrad.step();
  const torch::NoGradGuard no_grad;
  leaf.copy_(before);
  prox.step();
}

template <class Penalty, class... More>
Case make_case(const std::string& name, const Penalty& penalty, More... more) {
  std::function<Tensor(const Tensor& w)> term;
  using Formula = std::decay_t<decltype(penalty.formula())>;
  if constexpr (torchreg::detail::HasValue<Formula>::value &&
                !torchreg::detail::is_constraint<Formula>) {
    term = [penalty](const Tensor& w) { return penalty(w); };
  }
  return {name, term,
          [penalty](const Tensor& w, const Tensor& step) {
            if (step.dim() == 0 && w.dim() > 0) {
              penalty.prox_(w, step.item<double>());  // in lanes, where a step per entry is not
            } else {
              penalty.prox_(w, step);
            }
          },
          [penalty](const Tensor& w, const Tensor& step) { prox_after_adagrad(penalty, w, step); },
          more...};
}

/// A user's: lambda Σ ||w| - 1|, whose prox draws weights to -1 and 1. Not convex.
struct Binary {
  double lambda;
  Tensor value(const Tensor& w) const { return lambda * (w.abs() - 1).abs(); }
  Tensor prox(const Tensor& w, const Tensor& step) const {
    const Tensor from_one = w.abs() - 1, t = (lambda * step).expand_as(w).to(w.scalar_type());
    const Tensor sign = torch::ones_like(w).masked_fill(w < 0, -1);
    return sign * (1 + torchreg::shrink(from_one, t));
  }
};

inline Case of_identity(Case c) {
  c.is_identity = true;
  return c;
}

inline Case of_logarithms(Case c) {
  c.is_arithmetic = false;
  return c;
}

inline Case uneven(Case c) {
  c.is_even = false;
  return c;
}

/// The subdifferential of p(|z|) from p'(a) and from that at 0; nearly all numbers, for one without
/// bound.
template <class Slope>
auto even_subdifferential(Slope slope, double at_zero) {
  return [=](double z) {
    if (z == 0) return std::pair{-at_zero, at_zero};
    const double signed_slope = std::copysign(slope(std::abs(z)), z);
    return std::pair{signed_slope, signed_slope};
  };
}

inline std::vector<Case> cases() {
  const auto elastic_net = [](const std::string& name, const auto& penalty, double l1, double l2) {
    return make_case(
        name, penalty, [=](double z) { return l1 * std::abs(z) + 0.5 * l2 * z * z; },
        [=](double z) {
          if (z == 0) return std::pair{-l1, l1};
          const double slope = std::copysign(l1, z) + l2 * z;
          return std::pair{slope, slope};
        },
        [=](double v, double sigma) {
          const double beyond = std::max(std::abs(v) - l1, 0.0);
          const double shrunk = l2 == 0 ? 0 : beyond / (1 + sigma / l2);
          return std::copysign(std::min(std::abs(v), l1) + shrunk, v);
        });
  };
  const auto mcp = [](double lambda, double gamma) {
    return make_case(
        "MCP", torchreg::MCP(lambda, gamma),
        [=](double z) {
          const double a = std::abs(z);
          return a <= gamma * lambda ? lambda * a - a * a / (2 * gamma)
                                     : gamma * lambda * lambda / 2;
        },
        even_subdifferential([=](double a) { return std::max(lambda - a / gamma, 0.0); }, lambda));
  };
  const auto scad = [](double lambda, double a) {
    return make_case(
        "SCAD", torchreg::SCAD(lambda, a),
        [=](double z) {
          const double t = std::abs(z);
          if (t <= lambda) return lambda * t;
          if (t > a * lambda) return lambda * lambda * (a + 1) / 2;
          return (2 * a * lambda * t - t * t - lambda * lambda) / (2 * (a - 1));
        },
        even_subdifferential(
            [=](double t) {
              return t <= lambda ? lambda : std::max(a * lambda - t, 0.0) / (a - 1);
            },
            lambda));
  };
  const auto box = [](const std::string& name, const auto& penalty, double low, double high) {
    return make_case(
        name, penalty, [=](double z) { return z < low || z > high ? kInf : 0; },
        [=](double z) {
          return std::pair{z == low ? -kAll : 0, z == high ? kAll : 0};
        },
        [=](double v, double sigma) {
          return v - sigma * std::min(std::max(v / sigma, low), high);
        });
  };
  const double lambda = 0.4, eps = 0.5;
  const auto quarters = [](const torchreg::Parameter& parameter) {
    return torch::full(parameter.tensor.sizes(), 0.25);
  };
  return {
      elastic_net("L1", torchreg::L1(0.7), 0.7, 0),
      elastic_net("L2", torchreg::L2(0.7), 0, 0.7),
      elastic_net("ElasticNet", torchreg::ElasticNet(0.7, 0.3), 0.7, 0.3),
      elastic_net("ElasticNet from alpha", torchreg::ElasticNet::from_alpha(2, 0.25), 0.5, 1.5),
      of_identity(elastic_net("L1 of lambda 0", torchreg::L1(0), 0, 0)),
      elastic_net("L1 times a number", torchreg::L1(0.35).scaled_by(2), 0.7, 0),
      elastic_net("ElasticNet with a factor per entry",
                  torchreg::ElasticNet(1.4, 0.6).scaled_by(2).scaled_by(quarters), 0.7, 0.3),
      of_identity(elastic_net("L1 with factors of 0",
                              torchreg::L1(0.7).scaled_by([](const torchreg::Parameter& p) {
                                return torch::zeros_like(p.tensor, torch::kDouble).detach();
                              }),
                              0, 0)),
      of_logarithms(make_case(
          "LogSum", torchreg::LogSum(lambda, eps),
          [=](double z) { return lambda * std::log1p(std::abs(z) / eps); },
          even_subdifferential([=](double a) { return lambda / (a + eps); }, lambda / eps))),
      of_logarithms(make_case(
          "LHalf", torchreg::LHalf(lambda),
          [=](double z) { return lambda * std::sqrt(std::abs(z)); },
          even_subdifferential([=](double a) { return lambda / (2 * std::sqrt(a)); }, kAll))),
      of_logarithms(mcp(0.7, 3)),
      of_logarithms(mcp(0.3, 0.4)),
      of_logarithms(scad(0.7, 3.7)),
      of_logarithms(scad(0.15, 9)),
      of_logarithms(make_case(
          "L0", torchreg::L0(0.7), [](double z) { return z == 0 ? 0 : 0.7; },
          even_subdifferential([](double) { return 0.0; }, kAll))),
      uneven(box("Box", torchreg::Box(-0.5, 1.25), -0.5, 1.25)),
      uneven(box("NonNegative", torchreg::NonNegative(), 0, kInf)),
      uneven(make_case(
          "NonNegative L1", torchreg::NonNegative(torchreg::L1(0.35).scaled_by(2)),
          [](double z) { return z < 0 ? kInf : 0.7 * z; },
          [](double z) {
            return std::pair{z == 0 ? -kAll : 0.7, 0.7};
          },
          [](double v, double) { return std::min(v, 0.7); })),
      uneven(make_case(
          "a user's", torchreg::Penalty(Binary{lambda}),
          [=](double z) { return lambda * std::abs(std::abs(z) - 1); },
          [=](double z) {
            if (z == 0) return std::pair{-lambda, lambda};
            const double low = std::abs(z) <= 1 ? -lambda : lambda;
            const double high = std::abs(z) < 1 ? -lambda : lambda;
            return z > 0 ? std::pair{low, high} : std::pair{-high, -low};
          })),
  };
}

inline std::vector<torch::ScalarType> dtypes() {
  return {torch::kDouble, torch::kFloat, torch::kBFloat16, torch::kHalf};
}

/// The relative rounding error of a type, with room for a few operations.
inline double tolerance(torch::ScalarType type) {
  switch (type) {
    case torch::kDouble:
      return 1e-13;
    case torch::kFloat:
      return 2e-6;
    case torch::kHalf:
      return 2e-3;
    default:
      return 2e-2;
  }
}

/// Random tensors of every layout, scaled, some entries at zero.
inline std::vector<std::pair<std::string, Tensor>> layouts(torch::ScalarType type, double scale) {
  const auto random = [&](at::IntArrayRef sizes) {
    const Tensor x = scale * torch::randn(sizes, torch::kDouble);
    return torch::where(torch::rand(sizes) < 0.2, 0 * x, x).to(type);  // also at -0.0
  };
  return {
      {"contiguous", random({13, 7})},
      {"transposed", random({7, 13}).t()},
      {"sliced", random({12, 20}).slice(1, 3, 15, 2)},
      {"channels_last", random({2, 3, 4, 5}).contiguous(torch::MemoryFormat::ChannelsLast)},
      {"empty", random({0, 5})},
      {"0-dim", random({})},
  };
}

/// A copy with the same strides, so that a law does not change what the next one sees.
inline Tensor copy_of(const Tensor& x) {
  Tensor copy = torch::empty_strided(x.sizes(), x.strides(), x.options());
  return copy.copy_(x);
}

inline Tensor proxed(const Case& c, const Tensor& x, const Tensor& step) {
  const Tensor w = copy_of(x);
  c.prox_(w, step);
  return w;
}

inline std::vector<double> numbers(const Tensor& x) {
  const Tensor flat = x.detach().to(torch::kDouble).contiguous().view(-1);
  return {flat.data_ptr<double>(), flat.data_ptr<double>() + flat.numel()};
}

/// Applies a function of numbers, entry by entry, in double.
template <class Function>
Tensor mapped(const Tensor& x, Function function) {
  std::vector<double> values = numbers(x);
  for (double& value : values) value = function(value);
  return torch::tensor(values, torch::kDouble).view(x.sizes());
}

/// Each penalty x dtype x layout x step, scalar or per entry, small and beyond all convexity; and
/// tensors that are longer than what a thread takes at once.
template <class Law>
void for_all(Law law) {
  torch::manual_seed(20);
  for (const Case& c : cases()) {
    for (const torch::ScalarType type : dtypes()) {
      for (const double s : {0.01, 0.5, 2.5, 30.0}) {
        for (const auto& [layout, x] : layouts(type, 1 + s)) {
          CAPTURE(c.name, type, layout, s);
          law(c, x, torch::full({}, s, torch::kDouble));
          law(c, x, s * (0.5 + torch::rand(x.sizes(), torch::kDouble)));
        }
      }
      CAPTURE(c.name, type);
      const Tensor x = torch::randn({3, 23333}, torch::kDouble).to(type);
      law(c, x, torch::full({}, 0.5, torch::kDouble));
      law(c, x, 0.5 + torch::rand(x.sizes(), torch::kDouble));
    }
  }
}

/// The same with steps per entry that an optimizer's state tells.
template <class Law>
void for_all_and_after_adagrad(Law law) {
  for_all([&](Case c, const Tensor& x, const Tensor& step) {
    law(c, x, step);
    if (step.dim() == 0 || x.scalar_type() == torch::kHalf || x.scalar_type() == torch::kBFloat16) {
      return;  // a half type has no digits for the state
    }
    CAPTURE("after Adagrad");
    c.prox_ = c.after_adagrad;
    law(c, x, step);
  });
}

/// Each `i` of a list that a law looks at: all, or some hundreds.
inline std::size_t stride_of(std::size_t size) { return 1 + size / 997; }

}  // namespace laws
