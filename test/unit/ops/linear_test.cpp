// ops/linear.hpp
#include "support/op_test.hpp"

using namespace qat;
using namespace qat::test;

TEST_CASE("linear: gradients of x, weight and bias are those of finite differences at odd sizes") {
  for (const Shape& size : {Shape{1, 1, 1}, Shape{5, 7, 3}, Shape{17, 9, 33}})
    check_gradients([](Tape& t, const auto& v) { return autodiff::linear(t, v[0], v[1], v[2]); },
                    tensors(random_tensor({size[0], size[1]}, 1), random_tensor({size[2], size[1]}, 2),
                            random_tensor({size[2]}, 3)));
}

TEST_CASE("linear: any number of threads gives the same bytes") {
  check_thread_invariance([](Tape& t, const auto& v) { return autodiff::linear(t, v[0], v[1], v[2]); },
                          tensors(random_tensor({301, 67}, 1), random_tensor({45, 67}, 2), random_tensor({45}, 3)));
}

TEST_CASE("linear: a row's result does not depend on the other rows") {
  const CpuBackend backend(2);
  const Tensor<float> x = random_tensor({37, 65}, 1), w = random_tensor({19, 65}, 2), b = random_tensor({19}, 3);
  Tensor<float> all({37, 19}), one({1, 19});
  ops::linear(backend, x.view<2>(), w.view<2>(), b.data(), all.view<2>());
  for (index_t r = 0; r < 37; ++r) {
    ops::linear(backend, x.view<2>().slice(0, r, 1), w.view<2>(), b.data(), one.view<2>());
    CHECK(compare_bits(Values<float>(all.data() + r * 19, {1, 19}), Values<float>(one.data(), {1, 19})));
  }
}

TEST_CASE("linear_backward: overwrite, accumulate and skip do what they say") {
  const CpuBackend backend(2);
  const Tensor<float> x = random_tensor({6, 5}, 1), w = random_tensor({4, 5}, 2), dy = random_tensor({6, 4}, 3);
  Tensor<float> dx({6, 5}), dw({4, 5}), db({4}), dx2({6, 5}), dw2({4, 5}), db2({4});
  ops::linear_backward(backend, x.view<2>(), w.view<2>(), dy.view<2>(), dx.view<2>(), GradMode::kOverwrite,
                       dw.view<2>(), GradMode::kOverwrite, db.view<1>(), GradMode::kOverwrite);
  dx2.fill(3.0f);
  dw2.fill(3.0f);
  db2.fill(3.0f);
  ops::linear_backward(backend, x.view<2>(), w.view<2>(), dy.view<2>(), {}, GradMode::kSkip, dw2.view<2>(),
                       GradMode::kAccumulate, db2.view<1>(), GradMode::kAccumulate);
  for (index_t i = 0; i < dx2.size(); ++i) CHECK(dx2[i] == 3.0f);
  for (index_t i = 0; i < dw.size(); ++i) CHECK(dw2[i] == dw[i] + 3.0f);
  for (index_t i = 0; i < db.size(); ++i) CHECK(db2[i] == db[i] + 3.0f);
}

TEST_CASE("linear: shapes that do not fit are errors that name them") {
  const CpuBackend backend(1);
  Tensor<float> x({2, 3}), w({4, 5}), y({2, 4});
  CHECK_THROWS_WITH_AS(ops::linear(backend, x.view<2>(), w.view<2>(), nullptr, y.view<2>()),
                       "linear: x has 3 features, weight takes 5", Error);
}
