// optim/: AdamW, SGD, schedules and clipping against the formulas in double.
#include "support/op_test.hpp"

#include "qat/optim/adamw.hpp"
#include "qat/optim/grad_clip.hpp"
#include "qat/optim/schedule.hpp"
#include "qat/optim/sgd.hpp"
#include "qat/optim/weight_average.hpp"
#include "support/files.hpp"
#include "support/host_mode.hpp"

using namespace qat;
using namespace qat::test;

namespace {
constexpr index_t kSize = 37;

void set_gradient(Parameter& p, std::uint64_t step) { p.grad = random_tensor({kSize}, 100 + step); }
}  // namespace

TEST_CASE("AdamW: ten steps follow the formulas of torch.optim.AdamW") {
  const CpuBackend backend(2);
  Parameter p("p", random_tensor({kSize}, 1));
  std::vector<double> w(p.value.begin(), p.value.end()), m(kSize, 0.0), v(kSize, 0.0);
  const AdamWConfig config{0.01, 0.9, 0.95, 1e-8, 0.1};
  AdamW optimizer({&p}, config);
  for (int step = 1; step <= 10; ++step) {
    set_gradient(p, static_cast<std::uint64_t>(step));
    for (index_t i = 0; i < kSize; ++i) {
      const auto k = static_cast<std::size_t>(i);
      const double g = double{p.grad[i]};
      w[k] *= 1.0 - config.lr * config.weight_decay;
      m[k] = config.beta1 * m[k] + (1.0 - config.beta1) * g;
      v[k] = config.beta2 * v[k] + (1.0 - config.beta2) * g * g;
      const double correction1 = 1.0 - std::pow(config.beta1, step), correction2 = 1.0 - std::pow(config.beta2, step);
      w[k] -= config.lr / correction1 * m[k] / (std::sqrt(v[k] / correction2) + config.eps);
    }
    optimizer.step(backend);
    for (index_t i = 0; i < kSize; ++i)
      CHECK(std::fabs(double{p.value[i]} - w[static_cast<std::size_t>(i)]) < 10 * step * 0x1p-24);
  }
}

TEST_CASE("SGD: plain, momentum with decay, dampening and Nesterov follow torch.optim.SGD") {
  const CpuBackend backend(2);
  for (const SgdConfig& config : {SgdConfig{0.1, 0.0, 0.0, 0.0, false}, SgdConfig{0.05, 0.9, 0.0, 0.01, false},
                                  SgdConfig{0.05, 0.9, 0.3, 0.0, false}, SgdConfig{0.05, 0.9, 0.0, 0.0, true}}) {
    Parameter p("p", random_tensor({kSize}, 1));
    std::vector<double> w(p.value.begin(), p.value.end()), u(kSize, 0.0);
    Sgd optimizer({&p}, config);
    for (int step = 1; step <= 10; ++step) {
      set_gradient(p, static_cast<std::uint64_t>(step));
      for (index_t i = 0; i < kSize; ++i) {
        const auto k = static_cast<std::size_t>(i);
        double g = double{p.grad[i]} + config.weight_decay * w[k];
        if (config.momentum > 0) {
          u[k] = step == 1 ? g : config.momentum * u[k] + (1.0 - config.dampening) * g;
          g = config.nesterov ? g + config.momentum * u[k] : u[k];
        }
        w[k] -= config.lr * g;
      }
      optimizer.step(backend);
      for (index_t i = 0; i < kSize; ++i)
        CHECK(std::fabs(double{p.value[i]} - w[static_cast<std::size_t>(i)]) < 10 * step * 0x1p-24);
    }
  }
}

TEST_CASE("AdamW and SGD: every target and thread count gives the same bytes") {
  Tensor<float> reference[2];
  for (const Target target : supported_targets()) {
    const ScopedTarget forced(target);
    for (const int threads : {1, 3}) {
      const CpuBackend backend(threads);
      Parameter a("a", random_tensor({70001}, 1)), b("b", random_tensor({70001}, 1));
      AdamW adamw({&a});
      Sgd sgd({&b}, {0.1, 0.9, 0.0, 0.01, true});
      for (std::uint64_t step = 0; step < 3; ++step) {
        a.grad = random_tensor({70001}, step);
        b.grad = random_tensor({70001}, step);
        adamw.step(backend);
        sgd.step(backend);
      }
      if (reference[0].empty()) {
        reference[0] = a.value.clone();
        reference[1] = b.value.clone();
      }
      CHECK(compare_bits(reference[0], a.value));
      CHECK(compare_bits(reference[1], b.value));
    }
  }
}

TEST_CASE("optimizers: a run resumed from saved state equals an uninterrupted one bit for bit") {
  const CpuBackend backend(1);
  const auto run = [&](auto make, int interruption) {
    auto p = std::make_unique<Parameter>("p", random_tensor({kSize}, 1));
    auto optimizer = make(p.get());
    for (int step = 0; step < 8; ++step) {
      if (step == interruption) {
        auto q = std::make_unique<Parameter>("p", p->value.clone());
        auto resumed = make(q.get());
        resumed.set_steps(optimizer.steps());
        const auto from = optimizer.state(), to = resumed.state();
        REQUIRE(from.size() == to.size());
        REQUIRE(!from.empty());
        for (std::size_t i = 0; i < from.size(); ++i) {
          CHECK(from[i].name == to[i].name);
          *to[i].tensor = from[i].tensor->clone();
        }
        optimizer = std::move(resumed);
        p = std::move(q);
      }
      set_gradient(*p, static_cast<std::uint64_t>(step));
      optimizer.step(backend);
    }
    return p->value.clone();
  };
  const auto adamw = [](Parameter* p) { return AdamW({p}); };
  const auto sgd = [](Parameter* p) { return Sgd({p}, {0.1, 0.9, 0.1, 0.01, false}); };
  CHECK(compare_bits(run(adamw, -1), run(adamw, 3)));
  CHECK(compare_bits(run(sgd, -1), run(sgd, 3)));
}

TEST_CASE("optimizers: a step without gradients and senseless settings are errors") {
  const CpuBackend backend(1);
  Parameter p("layer.weight", random_tensor({3}, 1));
  AdamW optimizer({&p});
  CHECK_THROWS_AS(optimizer.step(backend), Error);
  CHECK_THROWS_AS(AdamW({&p}, {0.1, 1.0, 0.9, 1e-8, 0.0}), Error);
  CHECK_THROWS_AS(Sgd({&p}, {0.1, 0.0, 0.0, 0.0, true}), Error);
}

TEST_CASE("schedules: warm-up rises to the peak; constant stays, linear and cosine fall to the floor") {
  for (const ScheduleKind kind : {ScheduleKind::kConstant, ScheduleKind::kLinear, ScheduleKind::kCosine}) {
    const LearningRateSchedule s{kind, 2.0, 0.5, 10, 110};
    CHECK(s.at(0) == 0.2);
    CHECK(s.at(9) == 2.0);
    CHECK(s.at(10) == 2.0);
    for (index_t i = 10; i < 110; ++i) CHECK(s.at(i + 1) <= s.at(i));
    CHECK(s.at(110) == (kind == ScheduleKind::kConstant ? 2.0 : 0.5));
    CHECK(s.at(1000) == s.at(110));
    if (kind != ScheduleKind::kConstant) CHECK(s.at(60) == doctest::Approx(1.25));
  }
}

TEST_CASE("clip_grad_norm: the norm is that of all gradients, larger ones are scaled to max_norm, smaller left alone") {
  Tensor<float> reference;
  for (const int threads : {1, 2, 7}) {
    const CpuBackend backend(threads);
    Parameter a("a", Tensor<float>({50000})), b("b", Tensor<float>({3})), none("none", Tensor<float>({2}));
    a.grad = random_tensor({50000}, 1);
    b.grad = random_tensor({3}, 2);
    double squares = 0.0;
    for (const Parameter* p : {&a, &b})
      for (const float g : p->grad) squares += double{g} * double{g};
    CHECK(clip_grad_norm(backend, {&a, &b, &none}, 1e6) == doctest::Approx(std::sqrt(squares)).epsilon(1e-12));
    CHECK(a.grad[7] == random_tensor({50000}, 1)[7]);
    clip_grad_norm(backend, {&a, &b, &none}, 2.0);
    CHECK(grad_norm(backend, {&a, &b}) == doctest::Approx(2.0).epsilon(1e-5));
    if (reference.empty()) reference = a.grad.clone();
    CHECK(compare_bits(reference, a.grad));
  }
}

TEST_CASE("clip_grad_norm does not see the host's floating-point mode") {
  const CpuBackend backend(2);
  const auto clipped = [&](double& norm) {
    Parameter a("a", Tensor<float>({1000})), b("b", Tensor<float>({77})), c("c", Tensor<float>({5}));
    a.grad = random_tensor({1000}, 1);
    b.grad = random_tensor({77}, 2);
    c.grad = random_tensor({5}, 3);
    norm = clip_grad_norm(backend, {&a, &b, &c}, 0.7);
    return a.grad.clone();
  };
  double expected = 0.0, norm = 0.0;
  const Tensor<float> reference = clipped(expected);
  for (const int rounding : {FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO}) {
    Tensor<float> found;
    {
      const HostMode mode(rounding);
      found = clipped(norm);
    }
    CHECK(norm == expected);
    CHECK(compare_bits(reference, found));
  }
}

TEST_CASE("WeightAverage: the first update copies, later ones follow average += (value - average) (1 - decay)") {
  const CpuBackend backend(2);
  constexpr double kDecay = 0.9;
  Parameter p("p", random_tensor({kSize}, 1));
  WeightAverage average({&p}, kDecay);
  std::vector<double> expected(kSize, 0.0);
  for (std::uint64_t step = 0; step < 20; ++step) {
    p.value = random_tensor({kSize}, 50 + step);
    average.update(backend, step == 0);
    const std::vector<StateEntry> state = average.state();
    REQUIRE(state.size() == 1);
    CHECK(state[0].name == "p.average");
    for (index_t i = 0; i < kSize; ++i) {
      double& e = expected[static_cast<std::size_t>(i)];
      e = step == 0 ? double{p.value[i]} : kDecay * e + (1.0 - kDecay) * double{p.value[i]};
      CHECK(std::fabs(double{(*state[0].tensor)[i]} - e) < 20 * 0x1p-24);
    }
  }
}

TEST_CASE("WeightAverage: averages stand in for the values and give way to them again; training needs the values") {
  const CpuBackend backend(1);
  Parameter p("p", Tensor<float>({3}));
  WeightAverage average({&p}, 0.5);
  p.value.fill(1.0f);
  average.update(backend, true);
  p.value.fill(3.0f);
  average.update(backend, false);
  for (int twice = 0; twice < 2; ++twice) {
    average.stand_in(true);
    CHECK(p.value[0] == 2.0f);
  }
  QAT_CHECK_ERROR(average.update(backend, false), "swap back");
  for (int twice = 0; twice < 2; ++twice) {
    average.stand_in(false);
    CHECK(p.value[2] == 3.0f);
  }
  for (const double bad : {0.0, 1.0, -0.5, std::nan("")}) QAT_CHECK_ERROR(WeightAverage({&p}, bad), "decay is");
}
