// Text of target_test.cpp, compiled once per target: which form ran, with an instruction that only its region allows.
namespace QAT_TARGET_PROBE::QAT_TARGET {

/// The target whose region this form was compiled in; kBaseline too if its instruction computes nonsense.
inline qat::Target form() {
  using qat::Target;
#if QAT_TARGET_BF16
  const __m512bh a = _mm512_cvtne2ps_pbh(_mm512_set1_ps(1.5f), _mm512_set1_ps(1.5f));
  const __m512bh b = _mm512_cvtne2ps_pbh(_mm512_set1_ps(4.0f), _mm512_set1_ps(4.0f));
  const float sum = _mm512_cvtss_f32(_mm512_dpbf16_ps(_mm512_setzero_ps(), a, b));
  return sum == 12.0f ? Target::kAvx512Bf16 : Target::kBaseline;
#elif QAT_TARGET_DOT8 && QAT_TARGET_LEVEL == 1
  const __m256i sums =
      _mm256_dpbusd_avx_epi32(_mm256_setzero_si256(), _mm256_set1_epi32(0x04030201), _mm256_set1_epi32(0x08070605));
  return _mm_cvtsi128_si32(_mm256_castsi256_si128(sums)) == 70 ? Target::kAvx2Vnni : Target::kBaseline;
#elif QAT_TARGET_DOT8 && QAT_TARGET_LEVEL >= 2
  const __m512i sums =
      _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi32(0x04030201), _mm512_set1_epi32(0x08070605));
  return _mm512_cvtsi512_si32(sums) == 70 ? Target::kAvx512Vnni : Target::kBaseline;
#elif QAT_TARGET_DOT8
  typedef int Lanes __attribute__((vector_size(16)));
  Lanes sums = {0, 0, 0, 0}, a = {0x04030201, 0, 0, 0}, b = {0x08070605, 0, 0, 0};
#if QAT_TARGET_DOT8 == 1
  asm("usdot %0.4s, %1.16b, %2.16b" : "+w"(sums) : "w"(a), "w"(b));
  return sums[0] == 70 ? Target::kNeonI8mm : Target::kBaseline;
#else
  asm("sdot %0.4s, %1.16b, %2.16b" : "+w"(sums) : "w"(a), "w"(b));
  return sums[0] == 70 ? Target::kNeonDot : Target::kBaseline;
#endif
#elif QAT_TARGET_LEVEL == 1
  return Target::kAvx2;
#elif QAT_TARGET_LEVEL == 2
  return Target::kAvx512;
#else
  return Target::kBaseline;
#endif
}

}  // namespace QAT_TARGET_PROBE::QAT_TARGET
