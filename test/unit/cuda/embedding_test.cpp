// kernels/cuda/embedding: rows as they are, and the gradient with the bits of the processor's.
#include "qat/kernels/cuda/embedding.cuh"

#include <doctest/doctest.h>

#include <vector>

#include "qat/ops/embedding.hpp"
#include "support/compare.hpp"
#include "support/random_values.hpp"

namespace qat::embedding_test {
namespace {

using namespace qat::test;
using emulation::Buffer;

std::vector<std::int32_t> tokens_of(index_t rows, index_t vocabulary) {
  std::vector<std::int32_t> tokens;
  CounterRandom random(5);
  for (index_t i = 0; i < rows; ++i) {  // small tokens are frequent
    const auto below = random.next_below(static_cast<std::uint32_t>(vocabulary)) + 1;
    tokens.push_back(static_cast<std::int32_t>(random.next_below(below)));
  }
  return tokens;
}

template <class T>
void check(index_t rows, index_t vocabulary, index_t columns) {
  CAPTURE(columns);
  const std::vector<std::int32_t> tokens = tokens_of(rows, vocabulary);
  std::vector<T> table, gradient;
  for (const float v : normal_values(vocabulary * columns, 1)) table.push_back(T(v));
  for (const float v : normal_values(rows * columns, 2)) gradient.push_back(T(v));
  const Buffer<const std::int32_t> device_tokens(tokens);
  const Buffer<const T> weight(table), dy(gradient);
  const auto n = static_cast<std::size_t>(rows * columns);
  const Buffer<T> y = Buffer<T>::uninitialized(n);
  cuda::embedding(CudaBackend{}, weight.data(), vocabulary, columns, device_tokens.data(), rows, y.data());
  std::vector<T> wanted;
  for (const std::int32_t token : tokens)
    wanted.insert(wanted.end(), table.begin() + token * columns, table.begin() + (token + 1) * columns);
  CHECK(wanted == y.to_vector());

  Tensor<float> wide = Tensor<float>::uninitialized({rows, columns});
  for (std::size_t i = 0; i < n; ++i) wide.data()[i] = static_cast<float>(gradient[i]);
  const std::size_t bytes = cuda::embedding_backward_bytes(vocabulary, rows);
  const Buffer<unsigned> workspace = Buffer<unsigned>::uninitialized(bytes / sizeof(unsigned));
  CudaBackend backend;
  backend.workspace = workspace.data(), backend.workspace_bytes = bytes;
  for (const bool accumulate : {false, true}) {
    const std::vector<float> before = uniform_values(vocabulary * columns, 9);
    Tensor<float> expected = Tensor<float>::uninitialized({vocabulary, columns});
    std::copy(before.begin(), before.end(), expected.data());
    ops::embedding_backward(CpuBackend(1), View<const std::int32_t, 1>{tokens.data(), {rows}, {1}},
                            std::as_const(wide).view<2>(), expected.view<2>(),
                            accumulate ? GradMode::kAccumulate : GradMode::kOverwrite);
    const Buffer<float> dweight(before);
    cuda::embedding_backward(backend, device_tokens.data(), rows, dy.data(), vocabulary, columns, dweight.data(),
                             accumulate);
    CHECK(compare_bits(std::vector<float>(expected.begin(), expected.end()), dweight.to_vector()));
  }
}

}  // namespace

TEST_CASE("cuda::embedding: rows of the table, and a gradient with the bits of the processor's") {
  check<float>(200, 50, 16);
  check<bfloat16>(300, 1100, 24);
  check<bfloat16>(90, 7, 13);
  check<float>(40, 3, 520);
  check<float>(1, 1, 1);
}
TEST_CASE("cuda::embedding: unknown tokens give NaN and no gradient, too little workspace is an error") {
  const Buffer<const std::int32_t> tokens(std::vector<std::int32_t>{1, -1, 2});
  const Buffer<const float> weight(std::vector<float>(8, 3.0f)), dy(std::vector<float>(12, 1.0f));
  const Buffer<float> y = Buffer<float>::uninitialized(12), dweight = Buffer<float>::uninitialized(8);
  cuda::embedding(CudaBackend{}, weight.data(), 2, 4, tokens.data(), 3, y.data());
  CHECK(y[0] == 3.0f);
  CHECK(y[4] != y[4]);
  CHECK(y[11] != y[11]);
  const std::size_t bytes = cuda::embedding_backward_bytes(2, 3);
  const Buffer<unsigned> workspace = Buffer<unsigned>::uninitialized(bytes / sizeof(unsigned));
  CudaBackend backend;
  backend.workspace = workspace.data(), backend.workspace_bytes = bytes;
  cuda::embedding_backward(backend, tokens.data(), 3, dy.data(), 2, 4, dweight.data(), false);
  CHECK(dweight.to_vector() == std::vector<float>{0, 0, 0, 0, 1, 1, 1, 1});
  backend.workspace_bytes = bytes - 1;
  CHECK_THROWS_AS(cuda::embedding_backward(backend, tokens.data(), 3, dy.data(), 2, 4, dweight.data(), false), Error);
}

}  // namespace qat::embedding_test
