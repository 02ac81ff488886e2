// fp32 activations times packed weights: the bits of gemm with the dequantized weights, in every form.
#include "qat/kernels/cpu/packed_gemm.hpp"

#include <doctest/doctest.h>

#include <vector>

#include "support/compare.hpp"
#include "support/host_mode.hpp"
#include "support/packed_weights.hpp"
#include "support/random_values.hpp"

using qat::CpuBackend;
using qat::index_t;
using qat::Target;
using qat::kernels::MatrixOperand;
using qat::kernels::packed_gemm;
using qat::test::compare_bits;
using qat::test::RandomWeights;
using qat::test::uniform_values;

namespace {

std::vector<float> expected_product(const CpuBackend& backend, index_t M, const MatrixOperand& x,
                                    const qat::PackedWeight& w, const float* bias) {
  const index_t N = w.rows(), K = w.columns();
  std::vector<float> dense, c(static_cast<std::size_t>(M * N));
  for (index_t n = 0; n < N; ++n)
    for (index_t k = 0; k < K; ++k) dense.push_back(w.dequantized(n, k));
  qat::kernels::gemm(backend, M, N, K, x, MatrixOperand{dense.data(), K, 1}, c.data(), N, false, bias);
  return c;
}

}  // namespace

TEST_CASE("packed_gemm equals gemm with the dequantized weights bit for bit: every scheme, target and number of rows") {
  const CpuBackend backend(2);
  const std::vector<float> bias = uniform_values(100, 9, 0.5f);
  for (const char* text : qat::test::packed_schemes()) {
    const qat::QuantSpec spec = qat::parse_spec(text);
    for (const index_t M : {1, 2, 3, 6, 7, 9, 12, 13, 29, 40})
      for (const index_t N : {1, 17, 64, 70})
        for (const index_t K : {7, 100, 256}) {
          if (spec.granularity.group_size > K) continue;
          const RandomWeights w(spec, N, K);
          const std::vector<float> values = uniform_values(M * K, 9, 0.5f);
          // By rows, and as the transpose of a matrix.
          const MatrixOperand x = M % 2 == 0 ? MatrixOperand{values.data(), 1, M} : MatrixOperand{values.data(), K, 1};
          const float* shift = N % 2 == 0 ? bias.data() : nullptr;
          for (const Target target : qat::supported_targets()) {
            const qat::ScopedTarget scope(target);
            CAPTURE(qat::name(target));
            CAPTURE(text);
            CAPTURE(M);
            CAPTURE(N);
            CAPTURE(K);
            std::vector<float> actual(static_cast<std::size_t>(M * N), -7.0f);
            packed_gemm(backend, M, x, w.packed, actual.data(), N, shift);
            CHECK(compare_bits(expected_product(backend, M, x, w.packed, shift), actual));
          }
        }
  }
}

TEST_CASE("packed_gemm: any number of threads, rows of C that are apart, a host that flushes subnormals") {
  const RandomWeights w(qat::parse_spec("int4:group32:asymmetric:bf16safe"), 200, 320);
  std::vector<float> x = uniform_values(14 * 320, 9, 0.5f);
  for (std::size_t i = 0; i < x.size(); i += 3) x[i] *= 1e-38f;
  const MatrixOperand operand{x.data(), 320, 1};
  const std::vector<float> expected = expected_product(CpuBackend(1), 14, operand, w.packed, nullptr);
  for (const int threads : {1, 3}) {
    const qat::test::HostMode host;
    std::vector<float> c(14 * 210, 3.0f), rows;
    packed_gemm(CpuBackend(threads), 14, operand, w.packed, c.data(), 210);
    for (std::size_t m = 0; m < 14; ++m)
      for (std::size_t n = 0; n < 210; ++n) {
        if (n < 200) rows.push_back(c[m * 210 + n]);
        if (n >= 200) CHECK(c[m * 210 + n] == 3.0f);
      }
    CHECK(compare_bits(expected, rows));
  }
}

TEST_CASE("packed_gemm: a backend that multiplies in bf16 gets what gemm gives there") {
  const CpuBackend backend(1, qat::MatmulPrecision::kBfloat16);
  const RandomWeights w(qat::parse_spec("int4:group32:symmetric"), 48, 64);
  const std::vector<float> x = uniform_values(5 * 64, 9, 0.5f);
  const MatrixOperand operand{x.data(), 64, 1};
  std::vector<float> expected(5 * 48), actual(5 * 48);
  for (const Target target : qat::supported_targets()) {
    const qat::ScopedTarget scope(target);
    CAPTURE(qat::name(target));
    qat::kernels::gemm(backend, 5, 48, 64, operand, qat::kernels::PackedOperand(w.packed), expected.data(), 48);
    packed_gemm(backend, 5, operand, w.packed, actual.data(), 48);
    CHECK(compare_bits(expected, actual));
  }
}

TEST_CASE("packed_gemm: no rows, and a negative number of them") {
  const RandomWeights w(qat::parse_spec("int4:group32:symmetric"), 4, 32);
  float c = 5.0f;
  packed_gemm(CpuBackend(1), 0, MatrixOperand{&c, 32, 1}, w.packed, &c, 4);
  CHECK(c == 5.0f);
  CHECK_THROWS_AS(packed_gemm(CpuBackend(1), -1, MatrixOperand{&c, 32, 1}, w.packed, &c, 4), qat::Error);
}
