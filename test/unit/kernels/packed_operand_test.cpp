// Packed weights as an operand: the same bits as the dequantized weights.
#include "qat/kernels/cpu/packed_operand.hpp"

#include <doctest/doctest.h>

#include <vector>

#include "support/compare.hpp"
#include "support/packed_weights.hpp"

using qat::CpuBackend;
using qat::index_t;
using qat::Target;
using qat::kernels::MatrixOperand;
using qat::kernels::PackedOperand;
using qat::test::compare_bits;
using qat::test::RandomWeights;

TEST_CASE("fp32 activations: gemm with packed weights equals gemm with the dequantized weights bit for bit") {
  const CpuBackend backend(2);
  for (const char* text : qat::test::packed_schemes()) {
    const qat::QuantSpec spec = qat::parse_spec(text);
    for (const index_t M : {1, 15, 40})
      for (const index_t N : {1, 17, 33, 70})
        for (const index_t K : {1, 33, 100, 300}) {
          if (spec.granularity.group_size > K) continue;
          const RandomWeights w(spec, N, K);
          std::vector<float> x, dense;
          qat::CounterRandom random(9, 9);
          for (index_t i = 0; i < M * K; ++i) x.push_back(random.next_float() - 0.5f);
          for (index_t n = 0; n < N; ++n)
            for (index_t k = 0; k < K; ++k) dense.push_back(w.packed.dequantized(n, k));
          for (const Target target : qat::supported_targets()) {
            const qat::ScopedTarget scope(target);
            CAPTURE(qat::name(target));
            CAPTURE(text);
            CAPTURE(M);
            CAPTURE(N);
            CAPTURE(K);
            std::vector<float> expected(static_cast<std::size_t>(M * N)), actual(expected.size());
            qat::kernels::gemm(backend, M, N, K, MatrixOperand{x.data(), K, 1}, MatrixOperand{dense.data(), K, 1},
                               expected.data(), N);
            qat::kernels::gemm(backend, M, N, K, MatrixOperand{x.data(), K, 1}, PackedOperand(w.packed), actual.data(),
                               N);
            CHECK(compare_bits(expected, actual));
          }
        }
  }
}

TEST_CASE("packed weights as the left operand give the transposed product") {
  const CpuBackend backend(1);
  const RandomWeights w(qat::parse_spec("int4:group32:asymmetric"), 20, 70);
  std::vector<float> x(30 * 70), straight(30 * 20), turned(20 * 30), expected;
  qat::CounterRandom random(2, 2);
  for (float& value : x) value = random.next_float() - 0.5f;
  qat::kernels::gemm(backend, 30, 20, 70, MatrixOperand{x.data(), 70, 1}, PackedOperand(w.packed), straight.data(), 20);
  qat::kernels::gemm(backend, 20, 30, 70, PackedOperand(w.packed), MatrixOperand{x.data(), 70, 1}, turned.data(), 30);
  for (std::size_t n = 0; n < 20; ++n)
    for (std::size_t m = 0; m < 30; ++m) expected.push_back(straight[m * 20 + n]);
  CHECK(compare_bits(expected, turned));
}
