// The avx2vnni form of the int8 kernels on a processor that has their instructions in the encoding of AVX-512 alone:
// the region is compiled for that encoding, everything else is the form's own text. No processor and no emulator at
// hand may run the form itself; target_test.cpp counts that as skipped.
#if defined(__x86_64__)
#include <immintrin.h>
#define QAT_AVX2VNNI_FEATURES "avx2,fma,f16c,bmi,bmi2,avx512f,avx512vl,avx512vnni"
#define _mm256_dpbusd_avx_epi32 _mm256_dpbusd_epi32
#define _mm256_dpwssd_avx_epi32 _mm256_dpwssd_epi32
#endif

#include <doctest/doctest.h>

#include "qat/kernels/cpu/qgemm.hpp"
#include "support/compare.hpp"
#include "support/packed_weights.hpp"
#include "support/skip.hpp"

#if QAT_HAVE_X86_TARGETS
TEST_CASE("avx2vnni, its instructions encoded as AVX-512's: int8 products equal the reference bit for bit") {
  using namespace qat;
  if (!is_supported(Target::kAvx512Vnni)) {
    QAT_SKIP("avx2vnni in the encoding of AVX-512", "this processor has no int8 dot product");
    return;
  }
  const int before = detail::active_target_slot().exchange(static_cast<int>(Target::kAvx2Vnni));
  const CpuBackend backend(1);
  int products = 0;
  for (const char* text : test::packed_schemes()) {
    const QuantSpec spec = parse_spec(text);
    if (has_float_zero_point(spec.mapping)) continue;
    for (const index_t M : {1, 2, 5, 17})
      for (const index_t N : {1, 17, 70})
        for (const index_t K : {7, 64, 100}) {
          if (spec.granularity.group_size > K) continue;
          CAPTURE(text);
          const test::RandomWeights w(spec, N, K);
          CounterRandom random(static_cast<std::uint64_t>(M + K));
          std::vector<std::int8_t> codes(static_cast<std::size_t>(M * K));
          for (std::int8_t& q : codes) q = static_cast<std::int8_t>(static_cast<int>(random.next_below(256)) - 128);
          const std::vector<float> scales(static_cast<std::size_t>(M), 0.3f);
          const std::vector<std::int32_t> zeros(static_cast<std::size_t>(M), 5);
          const kernels::QuantizedActivations x{codes.data(), K, scales.data(), N == 17 ? zeros.data() : nullptr};
          std::vector<float> expected(static_cast<std::size_t>(M * N)), actual(expected.size());
          kernels::reference::qgemm(M, x, w.packed, expected.data(), N);
          kernels::qgemm(backend, M, x, w.packed, actual.data(), N);
          CHECK(test::compare_bits(expected, actual));
          ++products;
        }
  }
  CHECK(products > 200);
  detail::active_target_slot().store(before);
}
#endif
