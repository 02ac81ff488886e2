// Products of bf16 activations with packed weights: within the derived bound of the exact sum, and exact where they say
// so.
#include "qat/kernels/cpu/bf16_gemm.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "support/compare.hpp"
#include "support/packed_weights.hpp"
#include "support/random_values.hpp"
#include "support/tuning_scope.hpp"

using qat::CpuBackend;
using qat::index_t;
using qat::kernels::bf16_gemm;
using qat::test::compare_bits;
using qat::test::RandomWeights;
using qat::test::TuningScope;

namespace {

std::vector<float> bf16_product(const CpuBackend& backend, index_t M, const std::vector<float>& x,
                                const qat::PackedWeight& w, const float* bias) {
  std::vector<float> c(static_cast<std::size_t>(M * w.rows()));
  bf16_gemm(backend, M, {x.data(), w.columns(), 1}, w, c.data(), w.rows(), bias);
  return c;
}

struct Expected {
  double value;
  double dot_bound, chain_bound;  // what bf16_gemm states with the bf16 dot product, and gemm with fused multiply-adds
};

std::vector<Expected> exact_product(index_t M, const std::vector<float>& x, const qat::PackedWeight& w,
                                    const std::vector<float>& bias) {
  const index_t N = w.rows(), K = w.columns();
  std::vector<double> rounded, weight, scale;
  for (const float v : x) rounded.push_back(static_cast<double>(static_cast<float>(qat::bfloat16(v))));
  for (index_t n = 0; n < N; ++n)
    for (index_t k = 0; k < K; ++k) {
      weight.push_back(static_cast<double>(w.dequantized(n, k)));
      scale.push_back(std::fabs(static_cast<double>(w.scale(w.group_of(n, k)))));
    }
  std::vector<Expected> all;
  for (index_t m = 0; m < M; ++m)
    for (index_t n = 0; n < N; ++n) {
      double sum = 0.0, size = 0.0, scaled = 0.0;
      const double* a = rounded.data() + m * K;
      for (index_t k = 0; k < K; ++k) {
        const double product = a[k] * weight[static_cast<std::size_t>(n * K + k)];
        sum += product;
        size += std::fabs(product);
        scaled += std::fabs(a[k]) * scale[static_cast<std::size_t>(n * K + k)];
      }
      const double columns = static_cast<double>(K),
                   value = sum + static_cast<double>(bias[static_cast<std::size_t>(n)]);
      const double last = std::fabs(value);  // the addition of the bias
      all.push_back({value, 0x1p-24 * ((25.0 + columns / 32.0) * 286.0 * scaled + last),
                     0x1p-24 * ((columns + 1.0) * size + last)});
    }
  return all;
}

/// Whether bf16_gemm multiplies with bf16 dot products here, as its documentation says.
bool runs_bf16_dot(const qat::QuantSpec& spec, index_t K) {
  const index_t group = spec.granularity.kind == qat::GranularityKind::kPerGroup ? spec.granularity.group_size : K;
  return qat::active_target() == qat::Target::kAvx512Bf16 && spec.bits >= 2 && spec.bits <= 4 && K % 32 == 0 &&
         group % 32 == 0 && !qat::has_float_zero_point(spec.mapping);
}

}  // namespace

TEST_CASE(
    "bf16 activations: every target is within the bound its form states of the exact sum of the rounded activations") {
  const CpuBackend backend(2);
  for (const char* text : {"int4:group32:symmetric:bf16safe", "int4:group64:asymmetric:float16",
                           "uint3:group32:asymmetric", "int2:axis0:symmetric", "int8:group32:symmetric",
                           "int4:group8:symmetric", "uint4:group32:float_zero_point:bfloat16"})
    for (const index_t M : {1, 5, 66})
      for (const index_t N : {16, 37})
        for (const index_t K : {64, 100, 256}) {
          const qat::QuantSpec spec = qat::parse_spec(text);
          const RandomWeights w(spec, N, K);
          const std::vector<float> x = qat::test::uniform_values(M * K, 7), bias = qat::test::uniform_values(N, 8);
          const std::vector<Expected> expected = exact_product(M, x, w.packed, bias);
          for (const qat::Target target : qat::supported_targets()) {
            const qat::ScopedTarget scope(target);
            const TuningScope restored;
            qat::kernels::cpu_tuning().bf16_dot = true;
            CAPTURE(qat::name(target));
            CAPTURE(text);
            CAPTURE(M);
            CAPTURE(N);
            CAPTURE(K);
            const std::vector<float> actual = bf16_product(backend, M, x, w.packed, bias.data());
            const bool dot = runs_bf16_dot(spec, K);
            const double roundings = has_fused_multiply_add(target) ? 1.0 : 2.0;  // a step of the chain
            bool within = true;
            for (std::size_t i = 0; i < actual.size(); ++i) {
              const double bound = dot ? expected[i].dot_bound : roundings * expected[i].chain_bound;
              within = within && std::fabs(static_cast<double>(actual[i]) - expected[i].value) <= bound;
            }
            CHECK(within);
          }
        }
}

TEST_CASE("bf16 activations: the bits of a row depend neither on the rows beside it nor on the threads") {
  const RandomWeights w(qat::parse_spec("int4:group32:asymmetric:bf16safe"), 100, 320);
  const std::vector<float> x = qat::test::uniform_values(130 * 320, 9);
  for (const qat::Target target : qat::supported_targets()) {
    const qat::ScopedTarget scope(target);
    CAPTURE(qat::name(target));
    const std::vector<float> all = bf16_product(CpuBackend(1), 130, x, w.packed, nullptr);
    CHECK(compare_bits(all, bf16_product(CpuBackend(3), 130, x, w.packed, nullptr)));
    for (const index_t row : {0, 64, 129}) {
      const std::vector<float> one(x.begin() + row * 320, x.begin() + (row + 1) * 320);
      const std::vector<float> expected(all.begin() + row * 100, all.begin() + (row + 1) * 100);
      CHECK(compare_bits(expected, bf16_product(CpuBackend(1), 1, one, w.packed, nullptr)));
    }
  }
}

TEST_CASE("bf16 activations: without the dot product it is gemm on the rounded activations, bit for bit") {
  const RandomWeights w(qat::parse_spec("int4:group32:symmetric"), 40, 96);
  const std::vector<float> x = qat::test::uniform_values(9 * 96, 10);
  std::vector<float> rounded, expected(9 * 40);
  for (const float v : x) rounded.push_back(static_cast<float>(qat::bfloat16(v)));
  const CpuBackend backend(1);
  const TuningScope restored;
  qat::kernels::cpu_tuning().bf16_dot = false;
  qat::kernels::gemm(backend, 9, 40, 96, qat::kernels::MatrixOperand{rounded.data(), 96, 1},
                     qat::kernels::PackedOperand(w.packed), expected.data(), 40);
  CHECK(compare_bits(expected, bf16_product(backend, 9, x, w.packed, nullptr)));
  std::vector<float> none;
  CHECK_THROWS_AS(bf16_gemm(backend, -1, {none.data(), 96, 1}, w.packed, none.data(), 40), qat::Error);
}

TEST_CASE("bf16 activations: NaN and infinity reach the outputs of their row and no other") {
  const RandomWeights w(qat::parse_spec("int4:group32:symmetric"), 20, 64);
  for (const qat::Target target : qat::supported_targets()) {
    const qat::ScopedTarget scope(target);
    CAPTURE(qat::name(target));
    for (const std::uint32_t bits : {0x7FC00000u, 0x7FFFFFFFu, 0x7F800000u}) {
      std::vector<float> x = qat::test::uniform_values(3 * 64, 11);
      const std::vector<float> clean = bf16_product(CpuBackend(1), 3, x, w.packed, nullptr);
      x[64 + 17] = std::bit_cast<float>(bits);
      const std::vector<float> y = bf16_product(CpuBackend(1), 3, x, w.packed, nullptr);
      for (std::size_t n = 0; n < 20; ++n) {
        CHECK(!std::isfinite(y[20 + n]));
        CHECK(y[n] == clean[n]);
        CHECK(y[40 + n] == clean[40 + n]);
      }
    }
  }
}
