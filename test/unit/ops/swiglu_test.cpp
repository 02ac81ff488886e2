// ops/swiglu.hpp and ops/elementwise.hpp
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
