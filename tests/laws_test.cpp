// The laws of mathematics that every penalty obeys, in every dtype and layout.
#include "laws.hpp"

#include "support.hpp"

using laws::Case;
using laws::for_all;
using laws::for_all_and_after_adagrad;
using laws::numbers;
using laws::proxed;
using laws::tolerance;
using support::same_bits;
using torch::Tensor;

namespace {

/// The step of each entry as numbers.
std::vector<double> steps_of(const Tensor& step, const Tensor& x) {
  return numbers(step.expand_as(x));
}

}  // namespace

TEST_CASE("Law 1: the prox has an objective no larger than that of a thousand candidates") {
  for_all_and_after_adagrad([](const Case& c, const Tensor& x, const Tensor& step) {
    const auto xs = numbers(x), ss = steps_of(step, x), zs = numbers(proxed(c, x, step));
    for (std::size_t i = 0; i < std::min<std::size_t>(xs.size(), 12); ++i) {
      const auto objective = [&](double z) {
        return c.value(z) + (z - xs[i]) * (z - xs[i]) / (2 * ss[i]);
      };
      const double found = objective(zs[i]);
      const double slack = tolerance(x.scalar_type()) * (1 + std::abs(found) + std::abs(xs[i]));
      const double radius = 1.5 * std::abs(xs[i]) + 0.1;
      double best = std::min(objective(0), objective(xs[i]));
      for (int k = -500; k <= 500; ++k) {
        best = std::min(best, objective(radius * k / 500));
        best = std::min(best, objective(zs[i] * (1 + k * 1e-5)));
      }
      CAPTURE(i, xs[i], zs[i], ss[i]);
      REQUIRE(found <= best + slack);
    }
  });
}

TEST_CASE("Law 2: (x - z)/s is in the subdifferential of R at z") {
  for_all_and_after_adagrad([](const Case& c, const Tensor& x, const Tensor& step) {
    const auto xs = numbers(x), ss = steps_of(step, x), zs = numbers(proxed(c, x, step));
    for (std::size_t i = 0; i < xs.size(); i += laws::stride_of(xs.size())) {
      const double g = (xs[i] - zs[i]) / ss[i];
      const auto [low, high] = c.subdifferential(zs[i]);
      const double rounding = tolerance(x.scalar_type()) * (1 + std::abs(xs[i]) / ss[i]);
      const double error = c.conjugate_prox ? rounding : 100 * rounding;  // not continuous: worse
      CAPTURE(i, xs[i], zs[i], ss[i], low, high);
      REQUIRE(g >= low - error);
      REQUIRE(g <= high + error);
    }
  });
}

TEST_CASE("Law 3: Moreau's identity, prox of sR at x + s prox of R*/s at x/s = x") {
  for_all_and_after_adagrad([](const Case& c, const Tensor& x, const Tensor& step) {
    if (!c.conjugate_prox) return;
    const auto xs = numbers(x), ss = steps_of(step, x), zs = numbers(proxed(c, x, step));
    for (std::size_t i = 0; i < xs.size(); i += laws::stride_of(xs.size())) {
      const double dual = c.conjugate_prox(xs[i] / ss[i], 1 / ss[i]);
      CAPTURE(i, xs[i], zs[i], ss[i]);
      REQUIRE(std::abs(zs[i] + ss[i] * dual - xs[i]) <=
              tolerance(x.scalar_type()) * (1 + std::abs(xs[i])));
    }
  });
}

TEST_CASE("Law 4: convex proxes are firmly non-expansive in the metric of the steps") {
  for_all_and_after_adagrad([](const Case& c, const Tensor& x, const Tensor& step) {
    if (!c.conjugate_prox) return;
    const Tensor y = (x + torch::randn_like(x)).to(x.scalar_type());
    const Tensor p = proxed(c, x, step).to(torch::kDouble) - proxed(c, y, step).to(torch::kDouble);
    const Tensor difference = x.to(torch::kDouble) - y.to(torch::kDouble);
    const double left = (p * p / step).sum().item<double>();
    const double right = (p * difference / step).sum().item<double>();
    REQUIRE(left <= right + tolerance(x.scalar_type()) * (1 + std::abs(right)) * 4);
  });
}

TEST_CASE("Law 5: step zero changes nothing but -0.0, and a constant metric is the scalar step") {
  for_all([](const Case& c, const Tensor& x, const Tensor& step) {
    for (const Tensor& zero :
         {torch::zeros({}, torch::kDouble), torch::zeros(x.sizes(), torch::kDouble)}) {
      const Tensor z = proxed(c, x, zero);
      if (c.conjugate_prox || !c.term) REQUIRE(same_bits(z, x + 0.0));
      REQUIRE(torch::allclose(z.to(torch::kDouble), x.to(torch::kDouble),
                              tolerance(x.scalar_type()), tolerance(x.scalar_type())));
    }
    if (step.dim() > 0) return;
    const Tensor scalar = proxed(c, x, step);
    const Tensor constant = proxed(c, x, step.expand_as(x).contiguous());
    REQUIRE(torch::allclose(scalar.to(torch::kDouble), constant.to(torch::kDouble),
                            tolerance(x.scalar_type()), tolerance(x.scalar_type())));
    if (c.is_identity) REQUIRE(same_bits(scalar, x + 0.0));
  });
}

TEST_CASE("Law 6: equivariance under sign, order and layout") {
  for_all_and_after_adagrad([](const Case& c, const Tensor& x, const Tensor& step) {
    const Tensor z = proxed(c, x, step);
    if (c.is_even) REQUIRE(same_bits(proxed(c, -x, step), -z + 0.0));
    const Tensor flat = x.contiguous().view(-1);
    const Tensor flat_step = step.expand_as(x).contiguous().view(-1);
    const Tensor order = torch::randperm(x.numel());
    const Tensor permuted = step.dim() > 0 ? flat_step.index_select(0, order) : step;
    REQUIRE(torch::allclose(proxed(c, flat.index_select(0, order), permuted).to(torch::kDouble),
                            z.contiguous().view(-1).index_select(0, order).to(torch::kDouble),
                            tolerance(x.scalar_type()), 0));
    REQUIRE(same_bits(proxed(c, x.contiguous(), step), z.contiguous()));
  });
}

TEST_CASE("Law 6: L1 and L2 scale, prox of s lambda/a at x/a = prox of s lambda at x / a") {
  const Tensor x = torch::randn({100}, torch::kDouble);
  const double a = 8;  // a power of two: exact
  const Tensor l1 = x.clone(), l1_scaled = x / a, l2 = x.clone(), l2_scaled = x / a;
  torchreg::L1(0.5).prox_(l1, 1);
  torchreg::L1(0.5 / a).prox_(l1_scaled, 1);
  torchreg::L2(0.5).prox_(l2, 1);
  torchreg::L2(0.5).prox_(l2_scaled, 1);
  REQUIRE(same_bits(l1 / a, l1_scaled));
  REQUIRE(same_bits(l2 / a, l2_scaled));
}

TEST_CASE("Law 7: the term is the sum of R, and its slope is that of R, finite at zero") {
  for_all([](const Case& c, const Tensor& x, const Tensor&) {
    if (!c.term) return;
    const Tensor w = laws::copy_of(x).requires_grad_();
    const Tensor term = c.term(w);
    const auto type = w.scalar_type();
    const double expected = laws::mapped(x, c.value).sum().item<double>();
    const double error = tolerance(type == torch::kDouble ? type : torch::kFloat);
    REQUIRE(term.item<double>() == Approx(expected).epsilon(10 * error).margin(1e-12));
    const auto gradient = numbers(torch::autograd::grad({term}, {w})[0]);
    const auto ws = numbers(w);
    for (std::size_t i = 0; i < ws.size(); i += laws::stride_of(ws.size())) {
      const auto [low, high] = c.subdifferential(ws[i]);
      CAPTURE(i, ws[i], low, high);
      REQUIRE(gradient[i] == Approx(0.5 * (low + high)).epsilon(tolerance(type)).margin(error));
    }
  });
}

TEST_CASE("Law 7: first and second derivatives are those of finite differences off the kinks") {
  torch::manual_seed(21);
  const double h = 1e-5;
  for (const Case& c : laws::cases()) {
    CAPTURE(c.name);
    if (!c.term) continue;
    const Tensor w = (torch::rand({6}, torch::kDouble) + 0.2).requires_grad_();
    const Tensor first = torch::autograd::grad({c.term(w)}, {w}, {}, true, true)[0];
    const Tensor weights = torch::randn({6}, torch::kDouble);
    const Tensor mixed = (first * weights).sum() + (first * first).sum();
    Tensor second = torch::zeros({6}, torch::kDouble);
    if (mixed.requires_grad()) {
      second = torch::autograd::grad({mixed}, {w}, {}, false, false, /*allow_unused=*/true)[0];
      if (!second.defined()) second = torch::zeros({6}, torch::kDouble);
    }
    const auto difference = [&](const std::function<double(double)>& f, double z) {
      return (f(z + h) - f(z - h)) / (2 * h);
    };
    for (int64_t i = 0; i < 6; ++i) {
      const double z = w[i].item<double>(), slope = first[i].item<double>();
      REQUIRE(slope == Approx(difference(c.value, z)).epsilon(1e-6).margin(1e-8));
      const double curvature =
          difference([&](double at) { return c.subdifferential(at).first; }, z);
      const double expected = (weights[i].item<double>() + 2 * slope) * curvature;
      REQUIRE(second[i].item<double>() == Approx(expected).epsilon(1e-5).margin(1e-7));
    }
  }
}

TEST_CASE("Law 10: the zeros of a prox are those that its optimality condition predicts") {
  for_all_and_after_adagrad([](const Case& c, const Tensor& x, const Tensor& step) {
    const Tensor z = proxed(c, x, step);
    REQUIRE(support::negative_zeros(z.to(torch::kFloat)) == 0);
    if (!c.conjugate_prox || x.scalar_type() != torch::kDouble) return;
    const auto [low, high] = c.subdifferential(0);
    const Tensor predicted = (x <= step * high) & (x >= step * low);
    REQUIRE(torch::equal(z == 0, predicted));
  });
}

TEST_CASE("Law 12: NaN and infinities are kept, and denormals are as good as other numbers") {
  for (const Case& c : laws::cases()) {
    for (const auto type : laws::dtypes()) {
      CAPTURE(c.name, type);
      const double inf = laws::kInf, nan = std::nan("");
      const Tensor x = torch::tensor({nan, inf, -inf, 1.0}, torch::kDouble).to(type);
      for (const Tensor& step : {torch::tensor(0.5), torch::full({4}, 0.5)}) {
        const Tensor z = proxed(c, x, step);
        REQUIRE(torch::equal(z.isnan(), x.isnan()));
        REQUIRE(torch::equal(z.isinf(), x.isinf()));
        REQUIRE(torch::equal(z.slice(0, 1, 3), x.slice(0, 1, 3)));  // also of a constraint
      }
      REQUIRE(torchreg::sparsity(x).tensors[0].nonfinite == 3);
      REQUIRE(torchreg::sparsity(x).zeros == 0);
    }
  }
  const Tensor tiny = torch::tensor({5e-324, -5e-324}, torch::kDouble), kept = tiny.clone();
  torchreg::L1(0).prox_(tiny, 1);
  REQUIRE(same_bits(tiny, kept));
  REQUIRE(torchreg::sparsity(tiny).zeros == 0);
  torchreg::L1(1).prox_(tiny, 1);
  REQUIRE(torchreg::sparsity(tiny).zeros == 2);
}

TEST_CASE("Law 14: CPU and CUDA agree, to the bit for proxes") {
  if (!torch::cuda::is_available()) {
    WARN("skipped: no CUDA device");
    return;
  }
  for_all([](const Case& c, const Tensor& x, const Tensor& step) {
    const Tensor on_device = x.to(torch::kCUDA), z = proxed(c, x, step);
    c.prox_(on_device, step.to(torch::kCUDA));
    REQUIRE(torch::allclose(on_device.cpu(), z, tolerance(x.scalar_type()), 0));
    if (c.is_arithmetic) REQUIRE(same_bits(on_device.cpu(), z));
    const double error =
        tolerance(x.scalar_type() == torch::kDouble ? torch::kDouble : torch::kFloat);
    if (!c.term) return;
    REQUIRE(c.term(x.to(torch::kCUDA)).item<double>() ==
            Approx(c.term(x).item<double>()).epsilon(10 * error));
  });
}

TEST_CASE("Law 16: one, two and eight threads give the same bits") {
  torch::manual_seed(22);
  const int threads = at::get_num_threads();
  for (const Case& c : laws::cases()) {
    const Tensor x = torch::randn({3, 100003}).requires_grad_();
    const Tensor steps = torch::rand({3, 100003}) + 0.1;
    std::vector<Tensor> values, gradients, proxes, after_adagrad;
    for (const int count : {1, 2, 8}) {
      at::set_num_threads(count);
      if (c.term) {
        const Tensor term = c.term(x);
        values.push_back(term.detach());
        gradients.push_back(torch::autograd::grad({term}, {x})[0]);
      }
      proxes.push_back(proxed(c, x.detach(), torch::tensor(0.3)));
      after_adagrad.push_back(x.detach().clone());
      c.after_adagrad(after_adagrad.back(), steps);
    }
    at::set_num_threads(threads);
    CAPTURE(c.name);
    for (std::size_t i = 1; i < 3; ++i) {
      if (c.term) REQUIRE(same_bits(values[0], values[i]));
      if (c.term) REQUIRE(same_bits(gradients[0], gradients[i]));
      REQUIRE(same_bits(proxes[0], proxes[i]));
      REQUIRE(same_bits(after_adagrad[0], after_adagrad[i]));
    }
  }
}
