// Products of int8 activations with packed weights equal the reference bit for bit on every target.
#include "qat/kernels/cpu/qgemm.hpp"

#include <cmath>
#include <vector>

#include <doctest/doctest.h>

#include "support/compare.hpp"
#include "support/host_mode.hpp"
#include "support/packed_weights.hpp"
#include "support/tuning_scope.hpp"

using qat::CpuBackend;
using qat::index_t;
using qat::Target;
using qat::kernels::QuantizedActivations;
using qat::test::compare_bits;
using qat::test::RandomWeights;
using qat::test::TuningScope;

namespace {

struct Activations {
  std::vector<std::int8_t> codes;
  std::vector<float> scales;
  std::vector<std::int32_t> zero_points;
  index_t columns;
  bool asymmetric;
  index_t scale_columns = 0;

  Activations(index_t rows, index_t k, bool with_zero_points) : columns(k), asymmetric(with_zero_points) {
    qat::CounterRandom random(static_cast<std::uint64_t>(rows * 131 + k), 3);
    codes.resize(static_cast<std::size_t>(rows * k));
    for (std::int8_t& q : codes) q = static_cast<std::int8_t>(static_cast<int>(random.next_below(256)) - 128);
    for (index_t m = 0; m < rows; ++m) {
      scales.push_back(0.01f + random.next_float());
      zero_points.push_back(static_cast<std::int32_t>(random.next_below(256)) - 128);
    }
  }
  QuantizedActivations view() const {
    return {codes.data(), columns, scales.data(), asymmetric ? zero_points.data() : nullptr, scale_columns};
  }
  /// The same codes with a scale for every `width` columns and no zero points.
  Activations in_groups(index_t width) const {
    Activations grouped = *this;
    grouped.asymmetric = false;
    grouped.scale_columns = width;
    const std::size_t rows = scales.size(), groups = static_cast<std::size_t>((columns + width - 1) / width);
    grouped.scales.clear();
    for (std::size_t i = 0; i < rows * groups; ++i)
      grouped.scales.push_back(0.01f + static_cast<float>(i * 37 % 101) * 0.01f);
    return grouped;
  }
};

std::vector<float> reference(index_t M, const Activations& x, const RandomWeights& w, const float* bias) {
  std::vector<float> c(static_cast<std::size_t>(M * w.packed.rows()));
  qat::kernels::reference::qgemm(M, x.view(), w.packed, c.data(), w.packed.rows(), bias);
  return c;
}
/// One row has a form for weights from memory and one for weights that it ran on lately: both, of equal bits.
std::vector<float> product(const CpuBackend& backend, index_t M, const Activations& x, const RandomWeights& w,
                           const float* bias) {
  std::vector<float> c(static_cast<std::size_t>(M * w.packed.rows())), again(c.size());
  qat::kernels::detail::QgemmWorkspace::of_this_thread().recent = {};
  qat::kernels::qgemm(backend, M, x.view(), w.packed, c.data(), w.packed.rows(), bias);
  if (M == 1) {
    qat::kernels::qgemm(backend, M, x.view(), w.packed, again.data(), w.packed.rows(), bias);
    CHECK(compare_bits(c, again));
  }
  return c;
}

}  // namespace

TEST_CASE("int8 activations: every target, width, granularity and zero point form equals the reference bit for bit") {
  const CpuBackend backend(2);
  std::vector<float> bias(100);
  for (std::size_t i = 0; i < bias.size(); ++i) bias[i] = 0.37f * static_cast<float>(i) - 11.0f;
  for (const char* text : qat::test::packed_schemes()) {
    const qat::QuantSpec spec = qat::parse_spec(text);
    if (qat::has_float_zero_point(spec.mapping)) continue;
    for (const index_t M : {1, 2, 4, 7, 8, 15})
      for (const index_t N : {1, 15, 17, 33, 70})
        for (const index_t K : {1, 7, 32, 33, 100}) {
          if (spec.granularity.group_size > K) continue;
          const RandomWeights w(spec, N, K);
          const Activations x(M, K, (M + K) % 2 == 0);
          const float* shift = N % 2 == 0 ? bias.data() : nullptr;
          const std::vector<float> expected = reference(M, x, w, shift);
          for (const Target target : qat::supported_targets()) {
            const qat::ScopedTarget scope(target);
            CAPTURE(qat::name(target));
            CAPTURE(text);
            CAPTURE(M);
            CAPTURE(N);
            CAPTURE(K);
            CHECK(compare_bits(expected, product(backend, M, x, w, shift)));
          }
        }
  }
}

TEST_CASE("int8 activations: groups of whole blocks, many rows and long groups equal the reference bit for bit") {
  const CpuBackend backend(2);
  for (const char* text :
       {"int4:group32:symmetric:bf16safe", "int4:group64:asymmetric:float16", "int3:group32:symmetric",
        "uint2:group128:asymmetric", "int8:axis0:symmetric", "int4:group256:asymmetric", "int8:group32:asymmetric",
        "int4:tensor:symmetric", "int5:group32:symmetric"}) {
    const qat::QuantSpec spec = qat::parse_spec(text);
    for (const index_t M : {1, 3, 5, 65, 127})
      for (const index_t N : {16, 37})
        for (const index_t K : {64, 256}) {
          if (spec.granularity.group_size > K) continue;
          const RandomWeights w(spec, N, K);
          const Activations x(M, K, M % 2 == 1);
          const std::vector<float> expected = reference(M, x, w, nullptr);
          for (const Target target : qat::supported_targets())
            for (const bool row_stream : {true, false}) {
              const qat::ScopedTarget scope(target);
              const TuningScope restored;
              qat::kernels::cpu_tuning().row_stream = row_stream;
              CAPTURE(qat::name(target));
              CAPTURE(text);
              CAPTURE(M);
              CAPTURE(N);
              CAPTURE(K);
              CAPTURE(row_stream);
              CHECK(compare_bits(expected, product(backend, M, x, w, nullptr)));
            }
        }
  }
}

TEST_CASE("int8 activations with a scale for every group of columns: every target equals the reference bit for bit") {
  const CpuBackend backend(2);
  for (const char* text :
       {"int4:group32:signed_extremum:bf16safe", "int4:group64:asymmetric:float16", "int8:axis0:symmetric",
        "int2narrow:group32:symmetric:float16", "iq4_nl:group32:signed_extremum:bf16safe",
        "e2m1:group32:symmetric:e8m0", "uint5:group20:asymmetric", "int8narrow:tensor:symmetric"}) {
    const qat::QuantSpec spec = qat::parse_spec(text);
    for (const index_t M : {1, 3, 5, 33, 67})
      for (const index_t N : {16, 37})
        for (const index_t K : {64, 100, 192})
          for (const index_t width : {32, 48, 64}) {
            const RandomWeights w(spec, N, K);
            const Activations x = Activations(M, K, false).in_groups(width);
            const std::vector<float> expected = reference(M, x, w, nullptr);
            for (const Target target : qat::supported_targets()) {
              const qat::ScopedTarget scope(target);
              const TuningScope restored;
              qat::kernels::cpu_tuning().row_stream = N % 2 == 1;
              CAPTURE(qat::name(target));
              CAPTURE(text);
              CAPTURE(M);
              CAPTURE(N);
              CAPTURE(K);
              CAPTURE(width);
              CHECK(compare_bits(expected, product(backend, M, x, w, nullptr)));
            }
          }
  }
}

TEST_CASE("rows of Q8_0 times Q4_0: exact integer sums of blocks, times two halves, one after the other") {
  constexpr index_t kColumns = 96;
  const RandomWeights w(qat::parse_spec("int4:group32:signed_extremum:float16"), 3, kColumns);
  const Activations x = Activations(2, kColumns, false).in_groups(32);
  const std::vector<float> c = product(CpuBackend(1), 2, x, w, nullptr);
  for (index_t m = 0; m < 2; ++m)
    for (index_t n = 0; n < 3; ++n) {
      float sum = 0.0f;
      for (index_t block = 0; block < 3; ++block) {
        int dot = 0;
        for (index_t k = 32 * block; k < 32 * block + 32; ++k)
          dot += x.codes[static_cast<std::size_t>(m * kColumns + k)] * w.packed.code(n, k);
        sum = std::fma(w.packed.scale(n * 3 + block) * x.scales[static_cast<std::size_t>(m * 3 + block)],
                       static_cast<float>(dot), sum);
      }
      CHECK(c[static_cast<std::size_t>(m * 3 + n)] == sum);
    }
}

TEST_CASE("1, 2, 3 and 7 threads, and a host that flushes subnormals, give the same bytes") {
  const RandomWeights w(qat::parse_spec("int4:group32:asymmetric:bf16safe"), 200, 300);
  const Activations x(600, 300, true);
  for (const Target target : qat::supported_targets()) {
    const qat::ScopedTarget scope(target);
    CAPTURE(qat::name(target));
    const std::vector<float> expected = product(CpuBackend(1), 600, x, w, nullptr);
    for (const int threads : {2, 3, 7}) {
      const qat::test::HostMode host;
      CHECK(compare_bits(expected, product(CpuBackend(threads), 600, x, w, nullptr)));
    }
  }
}

TEST_CASE("sums that would leave int32 are split: 8-bit extremes over 2^20 columns") {
  constexpr index_t kColumns = index_t{1} << 20;
  std::vector<std::int8_t> weights(kColumns * 2, -1), activations(kColumns, -128);  // codes 255 with zero point 0
  const float scales[2] = {0.5f, 0.25f}, zeros[2] = {0.0f, 0.0f}, activation_scale = 1.0f;
  const std::int32_t activation_zero = 127;
  const qat::PackedWeight w =
      qat::PackedWeight::pack(qat::parse_spec("uint8:axis0:asymmetric"), 2, kColumns, weights.data(), scales, zeros);
  const QuantizedActivations x{activations.data(), kColumns, &activation_scale, &activation_zero};
  std::vector<float> expected(2), actual(2);
  qat::kernels::reference::qgemm(1, x, w, expected.data(), 2);
  CHECK(std::fabs(expected[0] / (-255.0 * 255.0 * kColumns * 0.5) - 1.0) < 1e-6);
  for (const Target target : qat::supported_targets()) {
    const qat::ScopedTarget scope(target);
    CAPTURE(qat::name(target));
    qat::kernels::qgemm(CpuBackend(1), 1, x, w, actual.data(), 2);
    CHECK(compare_bits(expected, actual));
  }
}

TEST_CASE("float zero points and negative sizes are refused") {
  const RandomWeights w(qat::parse_spec("uint4:group32:float_zero_point"), 4, 32);
  const Activations x(1, 32, false);
  float c[4];
  CHECK_THROWS_AS(qat::kernels::qgemm(CpuBackend(1), 1, x.view(), w.packed, c, 4), qat::Error);
  const RandomWeights plain(qat::parse_spec("int4:group32:symmetric"), 4, 32);
  CHECK_THROWS_AS(qat::kernels::qgemm(CpuBackend(1), -1, x.view(), plain.packed, c, 4), qat::Error);
  QuantizedActivations both = Activations(1, 32, true).view();
  both.scale_columns = 32;
  CHECK_THROWS_AS(qat::kernels::qgemm(CpuBackend(1), 1, both, plain.packed, c, 4), qat::Error);
}

TEST_CASE("weights count as cached while at most 512 KiB, they included, were read since they were used") {
  using qat::kernels::kQgemmCachedBytes;
  qat::kernels::detail::RecentWeights recent;
  const char a = 0, b = 0, c = 0;
  CHECK_FALSE(recent.use(&a, 1000));
  CHECK(recent.use(&a, 1000));
  CHECK_FALSE(recent.use(&b, kQgemmCachedBytes - 1000));
  CHECK(recent.use(&a, 1000));
  CHECK_FALSE(recent.use(&c, kQgemmCachedBytes));
  CHECK_FALSE(recent.use(&a, 1000));
  CHECK_FALSE(recent.use(&b, kQgemmCachedBytes + 1));
  CHECK_FALSE(recent.use(&b, kQgemmCachedBytes + 1));
}
