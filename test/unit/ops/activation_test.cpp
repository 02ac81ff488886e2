// ops/activation.hpp and ops/elementwise.hpp
#include "support/op_test.hpp"

using namespace qat;
using namespace qat::test;

TEST_CASE("swiglu, silu, add: gradients are those of finite differences") {
  check_gradients([](Tape& t, const auto& v) { return autodiff::swiglu(t, v[0], v[1]); },
                  tensors(random_tensor({3, 37}, 1, 4.0f), random_tensor({3, 37}, 2)));
  check_gradients([](Tape& t, const auto& v) { return autodiff::silu(t, v[0]); },
                  tensors(random_tensor({3, 37}, 1, 4.0f)));
  check_gradients([](Tape& t, const auto& v) { return autodiff::add(t, v[0], v[1]); },
                  tensors(random_tensor({3, 37}, 1), random_tensor({3, 37}, 2)));
}

TEST_CASE("gelu, gated and not, scale, shift: gradients are those of finite differences") {
  check_gradients([](Tape& t, const auto& v) { return autodiff::activation(t, Activation::kGeluTanh, v[0], v[1]); },
                  tensors(random_tensor({3, 37}, 1, 3.0f), random_tensor({3, 37}, 2)));
  check_gradients([](Tape& t, const auto& v) { return autodiff::activation(t, Activation::kGeluTanh, v[0]); },
                  tensors(random_tensor({3, 37}, 1, 3.0f)));
  check_gradients([](Tape& t, const auto& v) { return autodiff::activation(t, Activation::kGeluTanh, v[0], v[0]); },
                  tensors(random_tensor({3, 5}, 1, 3.0f)));
  check_gradients([](Tape& t, const auto& v) { return autodiff::scale(t, autodiff::shift(t, v[0], 0.5f), -3.0f); },
                  tensors(random_tensor({3, 37}, 1)));
}

TEST_CASE("gelu is the tanh form in double within a few roundings, on every target") {
  const CpuBackend backend(1);
  const Tensor<float> x = random_tensor({4099}, 1, 6.0f);
  for (const Target target : supported_targets()) {
    const ScopedTarget forced(target);
    Tensor<float> y({4099});
    ops::activation(backend, Activation::kGeluTanh, x.flat(), {}, y.flat());
    for (index_t i = 0; i < x.size(); ++i) {
      const double g = double{x[i]}, t = std::sqrt(2.0 / M_PI) * (g + 0.044715 * g * g * g);
      // A rounding of the argument moves the sigmoid by as much relative to it.
      const double wanted = g / (1.0 + std::exp(-2.0 * t)), bound = 0x1p-24 * (8.0 + 8.0 * std::fabs(t));
      REQUIRE(std::fabs(double{y[i]} - wanted) <= bound * std::fabs(wanted));
    }
  }
}

TEST_CASE("activations: extreme arguments give 0 or the argument and a slope of 0 or 1, never NaN") {
  const CpuBackend backend(1);
  Tensor<float> x({6}), y({6}), dx({6}), dy({6});
  const float values[] = {-3e38f, -1e10f, -200.0f, 200.0f, 1e10f, 3e38f};
  for (index_t i = 0; i < 6; ++i) {
    x[i] = values[i];
    dy[i] = 1.0f;
  }
  for (const Target target : supported_targets()) {
    const ScopedTarget forced(target);
    ops::activation(backend, Activation::kGeluTanh, std::as_const(x).flat(), {}, y.flat());
    ops::activation_backward(backend, Activation::kGeluTanh, std::as_const(x).flat(), {}, std::as_const(dy).flat(),
                             dx.flat(), GradMode::kOverwrite, {}, GradMode::kSkip);
    for (index_t i = 0; i < 6; ++i) {
      CHECK(y[i] == (i < 3 ? 0.0f : x[i]));
      CHECK(dx[i] == (i < 3 ? 0.0f : 1.0f));
    }
  }
}

TEST_CASE("swiglu: any number of threads gives the same bytes") {
  check_thread_invariance([](Tape& t, const auto& v) { return autodiff::swiglu(t, v[0], v[1]); },
                          tensors(random_tensor({50001}, 1), random_tensor({50001}, 2)));
}

TEST_CASE("swiglu: extreme gates give 0 or the gate, never NaN") {
  const CpuBackend backend(1);
  Tensor<float> gate({6}), up({6}), y({6}), dgate({6}), dup({6}), dy({6});
  const float gates[] = {-1e30f, -200.0f, -88.0f, 88.0f, 200.0f, 1e30f};
  for (index_t i = 0; i < 6; ++i) {
    gate[i] = gates[i];
    up[i] = dy[i] = 1.0f;
  }
  for (const Target target : supported_targets()) {
    const ScopedTarget forced(target);
    ops::swiglu(backend, std::as_const(gate).flat(), std::as_const(up).flat(), y.flat());
    ops::swiglu_backward(backend, std::as_const(gate).flat(), std::as_const(up).flat(), std::as_const(dy).flat(),
                         dgate.flat(), GradMode::kOverwrite, dup.flat(), GradMode::kOverwrite);
    for (index_t i = 0; i < 3; ++i) CHECK(std::fabs(y[i]) < 1e-30f);
    for (index_t i = 3; i < 6; ++i) CHECK(y[i] == gate[i]);
    for (index_t i = 0; i < 6; ++i) {
      CHECK(dup[i] == y[i]);
      CHECK(std::fabs(dgate[i] - (i < 3 ? 0.0f : 1.0f)) < 1e-6f);
    }
  }
}
