// ops/embedding.hpp
#include "support/op_test.hpp"

using namespace qat;
using namespace qat::test;

TEST_CASE("embedding: the gradient of a row is the sum over its positions") {
  const Tensor<std::int32_t> tokens = random_tokens(23, 7, 1);
  check_gradients([&](Tape& t, const auto& v) { return autodiff::embedding(t, v[0], tokens.flat()); },
                  tensors(random_tensor({7, 5}, 2)));
}

TEST_CASE("embedding: any number of threads gives the same bytes") {
  const Tensor<std::int32_t> tokens = random_tokens(3000, 201, 1);
  check_thread_invariance([&](Tape& t, const auto& v) { return autodiff::embedding(t, v[0], tokens.flat()); },
                          tensors(random_tensor({201, 33}, 2)));
}

TEST_CASE("embedding_backward: accumulate adds in ascending order of positions, rows without tokens stay") {
  const CpuBackend backend(2);
  const Tensor<std::int32_t> tokens = random_tokens(50, 4, 1);
  const Tensor<float> dy = random_tensor({50, 3}, 2);
  Tensor<float> expected = random_tensor({6, 3}, 3), got = expected.clone();
  for (index_t i = 0; i < 50; ++i)
    for (index_t c = 0; c < 3; ++c) expected[tokens[i] * 3 + c] += dy[i * 3 + c];
  ops::embedding_backward(backend, tokens.flat(), dy.view<2>(), got.view<2>(), GradMode::kAccumulate);
  CHECK(compare_bits(expected, got));
}

TEST_CASE("embedding: a token outside the table is an error that names it and its position") {
  const CpuBackend backend(1);
  Tensor<float> weight({4, 2}), y({2, 2});
  Tensor<std::int32_t> tokens({2});
  tokens[1] = 4;
  CHECK_THROWS_WITH_AS(ops::embedding(backend, weight.view<2>(), std::as_const(tokens).flat(), y.view<2>()),
                       "embedding: token 4 at position 1, must be in [0, 4)", Error);
  tokens[1] = -1;
  CHECK_THROWS_AS(ops::embedding(backend, weight.view<2>(), std::as_const(tokens).flat(), y.view<2>()), Error);
}
