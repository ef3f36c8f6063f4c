// Random training loops against a model of ProximalStep's rules that knows what happened: it is
// told of every step, write and resume, where the library has to find them out.
#include <torchreg/torchreg.hpp>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <optional>
#include <random>
#include <sstream>

#include "support.hpp"

using namespace torchreg;
using support::contains;
using support::Tensor;
namespace optim = torch::optim;

namespace {

using Numbers = std::vector<double>;

Numbers numbers(const Tensor& x) {
  const Tensor flat = x.detach().to(torch::kDouble).contiguous().view(-1);
  return {flat.data_ptr<double>(), flat.data_ptr<double>() + flat.numel()};
}

/// Random numbers of a loop of its own.
struct Dice {
  std::mt19937_64 engine;
  bool chance(double p) { return std::uniform_real_distribution<>(0, 1)(engine) < p; }
  double number(double low, double high) {
    return std::uniform_real_distribution<>(low, high)(engine);
  }
  std::size_t below(std::size_t n) { return engine() % n; }
};

/// What every entry of a tensor is stepped by.
struct Settings {
  double l1 = 0.3, l2 = 0;
  int64_t memory = 256, every = 1;
};

double soft(double x, double t) { return x > t ? x - t : x < -t ? x + t : 0; }

double prox(const Settings& settings, double x, double s) {
  return soft(x, s * settings.l1) / (1 + s * settings.l2);
}

double slope(const Settings& settings, double x) {
  return x == 0 ? 0 : std::copysign(settings.l1, x) + settings.l2 * x;
}

/// The writes from outside that happened during some moves.
struct Outside {
  int64_t count = 0;
  bool replaced = false;
  int64_t moves = 0;
  bool any() const { return count != 0 || replaced; }
  double each() const { return static_cast<double>(count) / static_cast<double>(moves); }
  bool alike(const Outside& other) const {
    if (replaced != other.replaced) return false;
    return count == other.count || (moves > 0 && other.moves > 0 && each() == other.each());
  }
};

/// A tensor by the rules, one number at a time.
struct Model {
  std::size_t size;
  std::vector<std::optional<double>> m = std::vector<std::optional<double>>(size);
  int64_t steps = 0, pending = 0;  // T, K
  double scales = 0, rates = 0;    // sums over the pending moves
  double kappa = -1;
  int64_t unnoted = 0;  // steps that the optimizer made since the last call
  Outside outside{};
  std::vector<Outside> history{};  // of the moves
  bool is_fresh = true, has_ever_stepped = false;

  void forget_memory() {
    std::fill(m.begin(), m.end(), std::nullopt);
    steps = 0;
  }

  /// What happened at two moves in a row most lately.
  Outside habit() const {
    for (std::size_t i = history.size(); i > 1; --i) {
      if (history[i - 1].alike(history[i - 2])) return history[i - 1];
    }
    return {};
  }

  void note_writes(int64_t moves) {
    outside.moves = moves;
    if (moves > 0) history.push_back(outside);
    if (outside.any() && !outside.alike(habit())) forget_memory();
    outside = {};
  }
};

/// One optimizer with its tensors, the library's step and the models of it.
class Loop {
 public:
  Loop(const support::OptimizerCase& optimizer_case, uint64_t seed)
      : case_(optimizer_case), dice_{std::mt19937_64(seed)} {
    is_sgd_ = case_.is.sgd;
    has_momentum_ = is_sgd_ && case_.is.momentum;
    for (const int64_t rows : {3, 5, 2}) {
      const Tensor wide = torch::randn({rows, 8}, torch::kDouble);
      const bool is_dense = dice_.chance(0.5);
      tensors_.push_back((is_dense ? wide.slice(1, 0, 4).clone() : wide.slice(1, 0, 8, 2))
                             .detach()
                             .requires_grad_());
      models_.push_back({static_cast<std::size_t>(4 * rows)});
      is_alive_.push_back(torch::rand({rows, 4}) < 0.7);
    }
    optimizer_ = case_.make(tensors_, lr_);
    settings_.l2 = dice_.chance(0.3) ? 0.2 : 0;
    settings_.every = dice_.chance(0.3) ? 3 : 1;
    settings_.memory = Numbers{0, 4, 16, 256}[dice_.below(4)];
    if (dice_.chance(0.3)) step_optimizer();  // before the ProximalStep is made
    make_prox();
  }

  void run(int iterations) {
    for (int t = 0; t < iterations; ++t) {
      random_event();
      if (dice_.chance(0.9)) step_optimizer();
      if (clamps_) write([](Tensor& w) { w.clamp_(-1e9, 1e9); }, tensors_.size());
      if (dice_.chance(0.05)) random_write();
      if (is_plain() && !any_gradient()) continue;  // an error
      if (dice_.chance(0.8)) call();
      if (dice_.chance(0.03)) flush();
    }
  }

  int64_t vetoes = 0, forgotten = 0, resumes = 0;

 private:
  bool is_plain() const { return case_.is.plain_sgd(); }

  bool any_gradient() const {
    return std::any_of(tensors_.begin(), tensors_.end(),
                       [](const Tensor& w) { return w.requires_grad() && w.grad().defined(); });
  }

  void make_prox() {
    prox_.emplace(*optimizer_, tensors_, ElasticNet(settings_.l1, settings_.l2));
    prox_->options().memory(settings_.memory).every(settings_.every);
    for (std::size_t i = 0; i < tensors_.size(); ++i) {
      const bool has_ever_stepped = models_[i].has_ever_stepped;
      models_[i] = {models_[i].size};
      models_[i].has_ever_stepped = has_ever_stepped;
      if (has_momentum_ && has_ever_stepped) models_[i].kappa = momentum_limit();
    }
    calls_ = 0;
  }

  void random_event() {
    if (dice_.chance(0.02)) lr_ = Numbers{0.05, 0.02, 0}[dice_.below(3)];
    support::set_lr(*optimizer_, lr_);
    if (dice_.chance(0.03)) settings_.l1 = dice_.number(0.05, 0.6);
    prox_->penalty().formula().l1 = settings_.l1;
    if (dice_.chance(0.02)) clamps_ = !clamps_;
    if (dice_.chance(0.02)) is_alive_[dice_.below(3)].fill_(true);  // what was dead wakes
    if (dice_.chance(0.03)) {
      Tensor& w = tensors_[dice_.below(3)];
      w.set_requires_grad(!w.requires_grad());
    }
    if (dice_.chance(0.01)) reset();
    if (dice_.chance(0.02)) resume();
  }

  void step_optimizer() {
    log_ += "opt ";
    const double size = dice_.chance(0.2) ? 3 : 0.3;
    for (std::size_t i = 0; i < tensors_.size(); ++i) {
      Tensor& w = tensors_[i];
      const Tensor noise = torch::randn(w.sizes(), torch::kDouble);
      const Tensor gradient =
          torch::where(is_alive_[i], size * noise + 0.1 * w.detach(), torch::zeros_like(noise));
      const bool rests = dice_.chance(0.15);
      w.mutable_grad() = rests ? Tensor() : gradient;
      if (rests) continue;
      ++models_[i].unnoted;
      models_[i].has_ever_stepped = true;
    }
    optimizer_->step();
    if (!is_plain() && dice_.chance(0.3)) {
      for (Tensor& w : tensors_) w.mutable_grad() = Tensor();
    }
  }

  template <class Write>
  void write(Write write, std::size_t count) {
    torch::NoGradGuard no_grad;
    for (std::size_t i = 0; i < count; ++i) {
      write(tensors_[i]);
      ++models_[i].outside.count;
    }
  }

  void random_write() {
    const std::size_t kind = dice_.below(3);
    log_ += c10::str("write", kind, " ");
    if (kind == 0) return write([](Tensor& w) { w.normal_(); }, 1 + dice_.below(3));
    const std::size_t i = dice_.below(3);
    Tensor& w = tensors_[i];
    if (kind == 1) {
      w.set_data(torch::randn(w.sizes(), torch::kDouble));
    } else {
      std::stringstream stream;
      torch::save(torch::randn(w.sizes(), torch::kDouble), stream);
      torch::NoGradGuard no_grad;
      Tensor loaded;
      torch::load(loaded, stream);
      w.copy_(loaded);
      ++models_[i].outside.count;
    }
    models_[i].outside.replaced |= kind == 1;
  }

  void reset() {
    log_ += "reset ";
    prox_->reset();
    for (Model& model : models_) {
      Model fresh{model.size};
      fresh.unnoted = model.unnoted;
      fresh.is_fresh = model.is_fresh;
      fresh.has_ever_stepped = model.has_ever_stepped;
      if (has_momentum_ && model.has_ever_stepped) fresh.kappa = momentum_limit();
      model = fresh;
    }
    calls_ = 0;
  }

  /// Saves everything, and goes on with what is loaded.
  void resume() {
    log_ += "resume ";
    std::stringstream optimizer_state, prox_state;
    torch::save(*optimizer_, optimizer_state);
    torch::save(*prox_, prox_state);
    prox_.reset();
    std::vector<Tensor> loaded;
    for (const Tensor& w : tensors_) {
      loaded.push_back(w.detach().clone().set_requires_grad(w.requires_grad()));
      if (w.grad().defined()) loaded.back().mutable_grad() = w.grad();
    }
    tensors_ = loaded;
    optimizer_ = case_.make(tensors_, lr_);
    torch::load(*optimizer_, optimizer_state);
    support::set_lr(*optimizer_, lr_);
    prox_.emplace(*optimizer_, tensors_, ElasticNet(settings_.l1, settings_.l2));
    prox_->options().memory(settings_.memory).every(settings_.every);
    torch::load(*prox_, prox_state);
    ++resumes;
  }

  int64_t moves_of(const Model& model) const {
    return has_momentum_ ? std::min<int64_t>(model.unnoted, 1) : is_plain() ? 0 : model.unnoted;
  }

  void call() {
    log_ += "call ";
    const double c = dice_.chance(0.5) ? 1 : Numbers{0.2, 0.7, 1.5, 0}[dice_.below(4)];
    for (std::size_t i = 0; i < tensors_.size(); ++i) {
      Model& model = models_[i];
      int64_t moves = is_plain() ? tensors_[i].grad().defined() : moves_of(model);
      if (!is_plain() && model.is_fresh && model.has_ever_stepped) {
        moves = std::max<int64_t>(moves, 1);
      }
      model.is_fresh = false;
      model.unnoted = 0;
      const int64_t before = model.steps;
      model.note_writes(moves);
      forgotten += before > 0 && model.steps == 0;
      if (moves == 0) continue;
      if (has_momentum_) advance(model);
      const double scale = tensors_[i].requires_grad() ? c : 0;
      const double rate = scale * scalar_rate(model);
      if (rate == 0) continue;
      model.steps += moves;
      model.pending += moves;
      model.scales += scale * static_cast<double>(moves);
      model.rates += rate * static_cast<double>(moves);
    }
    const bool acts = ++calls_ >= settings_.every;
    expect(acts, [&] { c == 1 && dice_.chance(0.5) ? prox_->step() : prox_->step(c); });
  }

  void flush() {
    log_ += "flush ";
    for (Model& model : models_) model.note_writes(0);
    expect(true, [&] { prox_->flush(); });
  }

  template <class Act>
  void expect(bool acts, Act act) {
    std::vector<Numbers> expected;
    for (std::size_t i = 0; i < tensors_.size(); ++i) {
      expected.push_back(numbers(tensors_[i]));
      if (acts && models_[i].pending > 0 && tensors_[i].requires_grad()) {
        this->act(i, expected.back());
      }
    }
    if (acts) calls_ = 0;
    act();
    for (std::size_t i = 0; i < tensors_.size(); ++i) {
      const Numbers found = numbers(tensors_[i]);
      for (std::size_t j = 0; j < found.size(); ++j) {
        CAPTURE(i, j, models_[i].steps, settings_.memory, settings_.every, log_);
        REQUIRE(found[j] == Approx(expected[i][j]).epsilon(1e-9).margin(1e-12));
        REQUIRE((found[j] == 0) == (expected[i][j] == 0));
      }
    }
  }

  void act(std::size_t i, Numbers& w) {
    Model& model = models_[i];
    const double span =
        std::min(std::max(model.steps / 4.0, 1.0), static_cast<double>(settings_.memory));
    const double newest = std::min(static_cast<double>(model.pending) / span, 1.0);
    const bool remembers = settings_.memory > 0 && settings_.l1 > 0;
    const Steps steps = steps_of(i);
    for (std::size_t j = 0; j < w.size(); ++j) {
      const double s = steps.of[j], g = w[j] / s;
      if (s == 0) continue;
      double z = prox(settings_, w[j], s);
      if (steps.stays[j]) z = w[j];
      std::optional<double>& m = model.m[j];
      if (remembers && m) {
        *m += (g - *m) * newest;
        if (prox(settings_, s * *m, s) == 0) {
          vetoes += z != 0;
          z = 0;
        }
      } else {
        m = g;
      }
      if (z != 0 || !remembers) m = std::nullopt;
      w[j] = z;
    }
    model.pending = 0;
    model.scales = model.rates = 0;
  }

  struct Steps {
    Numbers of;
    std::vector<bool> stays;
  };

  /// The contract's table, for the pending moves.
  Steps steps_of(std::size_t i) const {
    const Model& model = models_[i];
    const Numbers w = numbers(tensors_[i]);
    Steps steps{Numbers(w.size(), model.rates), std::vector<bool>(w.size())};
    if (is_sgd_) return steps;
    const auto& state = *optimizer_->state().at(torchreg::detail::state_key(tensors_[i]));
    Numbers q, mean;
    double rate = lr_, eps = 1e-8, correction = 1, share = 0;
    const auto& options = optimizer_->param_groups()[0].options();
    if (const auto* ada = dynamic_cast<const optim::AdagradParamState*>(&state)) {
      const auto& of = static_cast<const optim::AdagradOptions&>(options);
      const auto t = static_cast<double>(ada->step());
      q = numbers(ada->sum());
      rate = lr_ / (1 + (t - 1) * of.lr_decay());
      eps = of.eps();
      share = t;
    } else if (const auto* rms = dynamic_cast<const optim::RMSpropParamState*>(&state)) {
      const auto& of = static_cast<const optim::RMSpropOptions&>(options);
      const auto t = static_cast<double>(rms->step());
      q = numbers(rms->square_avg());
      if (of.centered()) mean = numbers(rms->grad_avg());
      if (of.momentum() > 0) rate *= (1 - std::pow(of.momentum(), t)) / (1 - of.momentum());
      share = 1 - std::pow(of.alpha(), t);
    } else {
      const auto read = [&](const auto& adam, bool amsgrad) {
        q = numbers(amsgrad ? adam.max_exp_avg_sq() : adam.exp_avg_sq());
        share = correction = 1 - std::pow(0.999, static_cast<double>(adam.step()));
      };
      const bool amsgrad = contains(case_.name, "amsgrad");
      if (const auto* adam = dynamic_cast<const optim::AdamParamState*>(&state)) {
        read(*adam, amsgrad);
      } else {
        read(dynamic_cast<const optim::AdamWParamState&>(state), amsgrad);
      }
    }
    const double scale = model.scales / static_cast<double>(model.pending);
    for (std::size_t j = 0; j < w.size(); ++j) {
      double variance = mean.empty() ? q[j] : std::max(q[j] - mean[j] * mean[j], 0.0);
      if (q[j] == 0) {
        const double r = scale * slope(settings_, w[j]);
        variance = share * r * r;
        steps.stays[j] = r == 0;
      }
      steps.of[j] = model.scales * rate / (std::sqrt(variance / correction) + eps);
    }
    return steps;
  }

  double momentum_limit() const {
    const auto& of = static_cast<const optim::SGDOptions&>(optimizer_->param_groups()[0].options());
    return (1 - of.dampening()) / (1 - of.momentum());
  }

  void advance(Model& model) const {
    const auto& of = static_cast<const optim::SGDOptions&>(optimizer_->param_groups()[0].options());
    model.kappa = model.kappa < 0 ? 1 : of.momentum() * model.kappa + (1 - of.dampening());
  }

  double scalar_rate(const Model& model) const {
    if (!has_momentum_) return lr_;
    const auto& of = static_cast<const optim::SGDOptions&>(optimizer_->param_groups()[0].options());
    return lr_ * (of.nesterov() ? 1 + of.momentum() * model.kappa : model.kappa);
  }

  const support::OptimizerCase& case_;
  Dice dice_;
  bool is_sgd_, has_momentum_, clamps_ = false;
  double lr_ = 0.05;
  Settings settings_;
  std::vector<Tensor> tensors_, is_alive_;
  std::vector<Model> models_;
  std::unique_ptr<optim::Optimizer> optimizer_;
  std::optional<ProximalStep<ElasticNet>> prox_;
  int64_t calls_ = 0;
  std::string log_;
};

}  // namespace

TEST_CASE("Model: random loops do what the rules say, after every optimizer", "[model]") {
  auto cases = support::optimizer_cases();
  cases.push_back(support::optimizer_case<optim::AdamW, optim::AdamWOptions>(
      "AdamW with its decay", [](auto& o) { o.weight_decay(0.01); }));
  const char* count = std::getenv("TORCHREG_MODEL_COUNT");
  const int runs = count != nullptr ? std::atoi(count) : 20;
  for (const auto& optimizer_case : cases) {
    int64_t vetoes = 0, forgotten = 0, resumes = 0;
    for (int seed = 0; seed < runs; ++seed) {
      CAPTURE(optimizer_case.name, seed);
      torch::manual_seed(seed);
      Loop loop(optimizer_case, static_cast<uint64_t>(seed));
      loop.run(100);
      vetoes += loop.vetoes;
      forgotten += loop.forgotten;
      resumes += loop.resumes;
    }
    CAPTURE(optimizer_case.name);
    REQUIRE(vetoes > 0);
    REQUIRE(forgotten > 0);
    REQUIRE(resumes > 0);
  }
}
