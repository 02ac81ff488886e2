// ops/rmsnorm.hpp
#include "support/op_test.hpp"

using namespace qat;
using namespace qat::test;

TEST_CASE("rmsnorm: gradients of x and weight are those of finite differences at odd sizes") {
  for (const index_t cols : {1, 3, 16, 37, 64})
    check_gradients([](Tape& t, const auto& v) { return autodiff::rmsnorm(t, v[0], v[1], 0.5f); },
                    tensors(random_tensor({5, cols}, 1), random_tensor({cols}, 2)));
}

TEST_CASE("rmsnorm: the definition, in double, within a few roundings, on every target") {
  const CpuBackend backend(2);
  const Tensor<float> x = random_tensor({9, 83}, 1, 30.0f), w = random_tensor({83}, 2);
  for (const Target target : supported_targets()) {
    const ScopedTarget forced(target);
    Tensor<float> y({9, 83});
    ops::RmsNormSaved saved;
    ops::rmsnorm(backend, x.view<2>(), w.view<1>(), 1e-5f, y.view<2>(), &saved);
    for (index_t r = 0; r < 9; ++r) {
      double squares = 0.0;
      for (index_t c = 0; c < 83; ++c) squares += double{x[r * 83 + c]} * double{x[r * 83 + c]};
      const double inverse = 1.0 / std::sqrt(squares / 83.0 + double{1e-5f});
      for (index_t c = 0; c < 83; ++c) {
        const double wanted = double{x[r * 83 + c]} * inverse * double{w[c]};
        CHECK(std::fabs(double{y[r * 83 + c]} - wanted) <= 16 * 0x1p-24 * std::fabs(wanted));
      }
    }
  }
}

TEST_CASE("rmsnorm: any number of threads gives the same bytes") {
  check_thread_invariance([](Tape& t, const auto& v) { return autodiff::rmsnorm(t, v[0], v[1], 1e-5f); },
                          tensors(random_tensor({1031, 29}, 1), random_tensor({29}, 2)));
}

TEST_CASE("rmsnorm: a weight of the wrong size is an error") {
  const CpuBackend backend(1);
  Tensor<float> x({2, 3}), w({4}), y({2, 3});
  CHECK_THROWS_WITH_AS(ops::rmsnorm(backend, x.view<2>(), w.view<1>(), 1e-5f, y.view<2>()),
                       "rmsnorm: weight has 4 elements, must have 3", Error);
}
