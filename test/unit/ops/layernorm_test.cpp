// ops/layernorm.hpp
#include "support/op_test.hpp"

using namespace qat;
using namespace qat::test;

namespace {
Variable norm(Tape& t, const std::vector<Variable>& v) { return autodiff::layernorm(t, v[0], v[1], v[2], 1e-2f); }
}  // namespace

TEST_CASE("layernorm: gradients of x, weight and bias are those of finite differences at odd sizes") {
  for (const index_t cols : {2, 3, 16, 37, 64})
    check_gradients(norm, tensors(random_tensor({5, cols}, 1), random_tensor({cols}, 2), random_tensor({cols}, 3)));
}

TEST_CASE("layernorm: rows as long as the weight make up longer ones, as heads do, forward and backward") {
  check_gradients(norm, tensors(random_tensor({3, 20}, 1), random_tensor({5}, 2), random_tensor({5}, 3)));
  check_gradients([](Tape& t, const auto& v) { return autodiff::rmsnorm(t, v[0], v[1], 0.5f); },
                  tensors(random_tensor({3, 20}, 1), random_tensor({5}, 2)));
}

TEST_CASE("layernorm: the definition, in double, within a few roundings, on every target") {
  const CpuBackend backend(2);
  Tensor<float> x = random_tensor({9, 83}, 1, 30.0f);
  const Tensor<float> w = random_tensor({83}, 2), b = random_tensor({83}, 3);
  for (index_t i = 0; i < 83; ++i) x[i] += 1000.0f;  // a mean far from zero
  for (const Target target : supported_targets()) {
    const ScopedTarget forced(target);
    Tensor<float> y({9, 83});
    ops::LayerNormSaved saved;
    ops::layernorm(backend, std::as_const(x).view<2>(), w.view<1>(), b.view<1>(), 1e-5f, y.view<2>(), &saved);
    for (index_t r = 0; r < 9; ++r) {
      double mean = 0.0, squares = 0.0, largest = 0.0;
      for (index_t c = 0; c < 83; ++c) {
        mean += double{x[r * 83 + c]} / 83.0;
        largest = std::max(largest, std::fabs(double{x[r * 83 + c]}));
      }
      for (index_t c = 0; c < 83; ++c) squares += (double{x[r * 83 + c]} - mean) * (double{x[r * 83 + c]} - mean);
      const double inverse = 1.0 / std::sqrt(squares / 83.0 + double{1e-5f});
      for (index_t c = 0; c < 83; ++c) {
        const double wanted = (double{x[r * 83 + c]} - mean) * inverse * double{w[c]} + double{b[c]};
        // The mean is off by a few roundings of the largest element, everything after it by a few of its own.
        const double bound = 16 * 0x1p-24 * (largest * inverse * std::fabs(double{w[c]}) + std::fabs(wanted) + 1.0);
        CHECK(std::fabs(double{y[r * 83 + c]} - wanted) <= bound);
      }
    }
  }
}

TEST_CASE("layernorm: any number of threads gives the same bytes") {
  check_thread_invariance(norm, tensors(random_tensor({1031, 29}, 1), random_tensor({29}, 2), random_tensor({29}, 3)));
}

TEST_CASE("layernorm: a bias of the wrong size is an error") {
  const CpuBackend backend(1);
  Tensor<float> x({2, 3}), w({3}), b({4}), y({2, 3});
  CHECK_THROWS_WITH_AS(ops::layernorm(backend, x.view<2>(), w.view<1>(), b.view<1>(), 1e-5f, y.view<2>()),
                       "layernorm: bias has 4 elements, must have 3", Error);
}
