#include "qat/kernels/cuda/average.cuh"

#include <doctest/doctest.h>

#include <vector>

#include "qat/kernels/cpu/optimizer.hpp"
#include "support/compare.hpp"
#include "support/random_values.hpp"

namespace qat::cuda_average_test {
namespace {

TEST_CASE("cuda update_average: the processor's bits, of any size and at any address") {
  for (const index_t n : {1, 3, 4, 1023, 5000})
    for (const std::size_t offset : {0, 1})
      for (const float weight : {1.0f, 0.1f, 0.001f}) {
        CAPTURE(n);
        CAPTURE(offset);
        CAPTURE(weight);
        const std::vector<float> x = test::normal_values(n, 1);
        std::vector<float> expected = test::normal_values(n, 2);
        const emulation::Buffer<const float> device_x(x, offset);
        emulation::Buffer<float> average(expected, offset);
        kernels::update_average(CpuBackend(), x.data(), expected.data(), n, weight);
        cuda::update_average(CudaBackend{}, device_x.data(), average.data(), n, weight);
        CHECK(test::compare_bits<float>(expected, average.to_vector()));
      }
}

}  // namespace
}  // namespace qat::cuda_average_test
