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

/// A penalty, and R of one number: its value, its subdifferential as an interval, and the prox of
/// its conjugate R* with step sigma (convex penalties only).
struct Case {
  std::string name;
  std::function<Tensor(const Tensor& w)> term;
  std::function<void(const Tensor& w, const Tensor& step)> prox_;
  std::function<double(double z)> value;
  std::function<std::pair<double, double>(double z)> subdifferential;
  std::function<double(double v, double sigma)> conjugate_prox = nullptr;
  bool has_second_derivative = true;
  bool is_arithmetic = true;  ///< + - * /, which round alike everywhere; not log
  bool is_identity = false;   ///< its prox
};

template <class Penalty, class... More>
Case make_case(const std::string& name, const Penalty& penalty, More... more) {
  return {name, [penalty](const Tensor& w) { return penalty(w); },
          [penalty](const Tensor& w, const Tensor& step) {
            if (step.dim() == 0 && w.dim() > 0) {
              penalty.prox_(w, step.item<double>());  // in lanes, where a step per entry is not
            } else {
              penalty.prox_(w, step);
            }
          },
          more...};
}

/// lambda log(1 + |w|/eps), a formula of a user's: not convex.
struct LogSum {
  double lambda, eps;
  Tensor value(const Tensor& w) const { return lambda * (w.abs() / eps).log1p(); }
  Tensor prox(const Tensor& w, const Tensor& step) const {
    const Tensor a = w.abs(), u = (step * lambda).to(w.scalar_type());
    const Tensor root = ((a + eps).square() - 4 * u).clamp_min(0).sqrt();
    const Tensor r = (0.5 * (a - eps + root)).clamp_min(0);
    const auto cost = [&](const Tensor& z) {
      return 0.5 * (z - a).square() + u * (z / eps).log1p();
    };
    const Tensor zero = torch::zeros_like(r);
    const Tensor best = torch::where((a + eps).square() < 4 * u, zero, r);
    return w.sign() * torch::where(cost(best) < cost(zero), best, zero);
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
          "LogSum", torchreg::Penalty(LogSum{lambda, eps}),
          [=](double z) { return lambda * std::log1p(std::abs(z) / eps); },
          [=](double z) {
            if (z == 0) return std::pair{-lambda / eps, lambda / eps};
            const double slope = std::copysign(lambda / (std::abs(z) + eps), z);
            return std::pair{slope, slope};
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
    return torch::where(torch::rand(sizes) < 0.2, torch::zeros_like(x), x).to(type);
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

/// Each penalty x dtype x layout x step, scalar or per entry, small and beyond all convexity.
template <class Law>
void for_all(Law law) {
  torch::manual_seed(20);
  for (const Case& c : cases()) {
    for (const torch::ScalarType type : dtypes()) {
      for (const double s : {0.01, 0.5, 30.0}) {
        for (const auto& [layout, x] : layouts(type, 1 + s)) {
          CAPTURE(c.name, type, layout, s);
          law(c, x, torch::full({}, s, torch::kDouble));
          law(c, x, s * (0.5 + torch::rand(x.sizes(), torch::kDouble)));
        }
      }
    }
  }
}

}  // namespace laws
