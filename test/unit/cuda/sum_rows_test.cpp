#include "qat/kernels/cuda/sum_rows.cuh"

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "qat/kernels/cuda/device.cuh"
#include "support/compare.hpp"
#include "support/random_values.hpp"

namespace qat::sum_rows_test {
namespace {

using emulation::Buffer;

/// Rows of integers, whose sums are exact in fp32 in any order.
template <class T>
void check_sums(index_t rows, index_t columns, std::size_t offset) {
  CAPTURE(rows);
  CAPTURE(columns);
  CAPTURE(offset);
  std::vector<T> values;
  for (const float v : test::uniform_values(rows * columns, 3, 8.0f)) values.push_back(static_cast<T>(std::floor(v)));
  const Buffer<const T> y(values, offset);
  Buffer<float> sum(static_cast<std::size_t>(columns), 3.0f), workspace(static_cast<std::size_t>(64 * columns));
  const CudaBackend backend{nullptr, workspace.data(), workspace.size() * sizeof(float)};
  for (const bool accumulate : {true, false}) {
    std::vector<float> expected(static_cast<std::size_t>(columns), accumulate ? 3.0f : 0.0f);
    for (index_t i = 0; i < rows * columns; ++i)
      expected[static_cast<std::size_t>(i % columns)] += static_cast<float>(values[static_cast<std::size_t>(i)]);
    cuda::sum_rows(backend, y.data(), rows, columns, sum.data(), accumulate);
    CHECK(test::compare_bits<float>(expected, sum.to_vector()));
  }
}

TEST_CASE_TEMPLATE("cuda sum_rows: each column's sum, of any number of rows and at any address", T, float, bfloat16) {
  for (const index_t rows : {1, 2, 65, 200})
    for (const index_t columns : {1, 6, 8, 520}) check_sums<T>(rows, columns, 0);
  check_sums<T>(70, 8, 1);
}

TEST_CASE("cuda sum_rows: no rows sum to zero, and a workspace that is too small is an error") {
  Buffer<float> sum(4, 3.0f);
  const CudaBackend none;
  cuda::sum_rows<float>(none, nullptr, 0, 4, sum.data(), false);
  CHECK(sum.to_vector() == std::vector<float>(4, 0.0f));
  CHECK_THROWS_WITH_AS(cuda::sum_rows<float>(none, sum.data(), 1, 4, sum.data(), false),
                       doctest::Contains("sum_rows: needs 16 bytes of workspace"), Error);
}

}  // namespace
}  // namespace qat::sum_rows_test
