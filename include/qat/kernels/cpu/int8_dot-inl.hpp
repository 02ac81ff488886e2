// Text of kernels/cpu/int8_dot.hpp, compiled once per target.
namespace qat::inline v0::kernels::QAT_TARGET {

// Whether a byte u above 127 needs care; the dot product of unsigned by signed bytes and the baseline form take any.
inline constexpr bool kWideMatters = QAT_TARGET_DOT8 == 2 || (QAT_TARGET_LEVEL > 0 && QAT_TARGET_DOT8 == 0);

/// acc + the four products of unsigned bytes (u) and signed bytes (s) of each lane. kWide: u may exceed 127.
template <bool kWide>
QAT_INLINE simd::QAT_TARGET::Int dot4(simd::QAT_TARGET::Int acc, simd::QAT_TARGET::Int u, simd::QAT_TARGET::Int s) {
#if QAT_TARGET_DOT8 && QAT_TARGET_LEVEL == 1
  return {_mm256_dpbusd_avx_epi32(acc.v, u.v, s.v)};
#elif QAT_TARGET_DOT8 && QAT_TARGET_LEVEL >= 2 && defined(QAT_X86_EMULATION)
  return {_mm512_dpbusd_epi32(acc.v, u.v, s.v)};
#elif QAT_TARGET_DOT8 && QAT_TARGET_LEVEL >= 2
  // As assembly: g++ 12 turns the intrinsic in an unrolled tile into register copies and spills.
  asm("vpdpbusd %2, %1, %0" : "+v"(acc.v) : "v"(u.v), "v"(s.v));
  return acc;
#elif QAT_TARGET_LEVEL >= 2
  const __m512i ones = _mm512_set1_epi16(1);
  if constexpr (kWide) {  // 2 * 255 * 127 exceeds int16, so the top bit of u goes apart
    const __m512i top = _mm512_and_si512(u.v, _mm512_set1_epi8(-128));
    acc.v = _mm512_add_epi32(acc.v, _mm512_madd_epi16(_mm512_maddubs_epi16(top, s.v), ones));
    u.v = _mm512_andnot_si512(_mm512_set1_epi8(-128), u.v);
  }
  return {_mm512_add_epi32(acc.v, _mm512_madd_epi16(_mm512_maddubs_epi16(u.v, s.v), ones))};
#elif QAT_TARGET_LEVEL == 1
  const __m256i ones = _mm256_set1_epi16(1);
  if constexpr (kWide) {
    const __m256i top = _mm256_and_si256(u.v, _mm256_set1_epi8(-128));
    acc.v = _mm256_add_epi32(acc.v, _mm256_madd_epi16(_mm256_maddubs_epi16(top, s.v), ones));
    u.v = _mm256_andnot_si256(_mm256_set1_epi8(-128), u.v);
  }
  return {_mm256_add_epi32(acc.v, _mm256_madd_epi16(_mm256_maddubs_epi16(u.v, s.v), ones))};
#elif QAT_TARGET_DOT8 == 1
  asm("usdot %0.4s, %1.16b, %2.16b" : "+w"(acc.v) : "w"(u.v), "w"(s.v));
  return acc;
#elif QAT_TARGET_DOT8 == 2
  if constexpr (kWide) {  // u - 128 is signed; 128 times the sum of s is 2 * 64 times it
    const simd::QAT_TARGET::Int half = simd::QAT_TARGET::set_int(0x40404040);
    const simd::QAT_TARGET::Int flip = simd::QAT_TARGET::set_int(-0x7F7F7F80);
    asm("sdot %0.4s, %1.16b, %2.16b" : "+w"(acc.v) : "w"(half.v), "w"(s.v));
    asm("sdot %0.4s, %1.16b, %2.16b" : "+w"(acc.v) : "w"(half.v), "w"(s.v));
    u.v = u.v ^ flip.v;
  }
  asm("sdot %0.4s, %1.16b, %2.16b" : "+w"(acc.v) : "w"(u.v), "w"(s.v));
  return acc;
#else
  for (int j = 0; j < 4; ++j) acc.v += ((u.v >> (8 * j)) & 255) * ((s.v << (24 - 8 * j)) >> 24);
  return acc;
#endif
}

/// acc + the two products of signed 16-bit halves of each lane.
QAT_INLINE simd::QAT_TARGET::Int dot2(simd::QAT_TARGET::Int acc, simd::QAT_TARGET::Int a, simd::QAT_TARGET::Int b) {
#if QAT_TARGET_DOT8 && QAT_TARGET_LEVEL == 1
  return {_mm256_dpwssd_avx_epi32(acc.v, a.v, b.v)};
#elif QAT_TARGET_DOT8 && QAT_TARGET_LEVEL >= 2 && defined(QAT_X86_EMULATION)
  return {_mm512_dpwssd_epi32(acc.v, a.v, b.v)};
#elif QAT_TARGET_DOT8 && QAT_TARGET_LEVEL >= 2
  asm("vpdpwssd %2, %1, %0" : "+v"(acc.v) : "v"(a.v), "v"(b.v));
  return acc;
#elif QAT_TARGET_LEVEL >= 2
  return {_mm512_add_epi32(acc.v, _mm512_madd_epi16(a.v, b.v))};
#elif QAT_TARGET_LEVEL == 1
  return {_mm256_add_epi32(acc.v, _mm256_madd_epi16(a.v, b.v))};
#else
  acc.v += ((a.v << 16) >> 16) * ((b.v << 16) >> 16) + (a.v >> 16) * (b.v >> 16);
  return acc;
#endif
}

/// Two signed 16-bit halves of a lane.
QAT_INLINE std::int32_t pair_of(std::int32_t low, std::int32_t high) {
  return static_cast<std::int32_t>((static_cast<std::uint32_t>(low) & 0xFFFFu) | static_cast<std::uint32_t>(high)
                                                                                     << 16);
}
QAT_INLINE simd::QAT_TARGET::Int pair_of(simd::QAT_TARGET::Int low, simd::QAT_TARGET::Int high) {
  namespace vec = simd::QAT_TARGET;
  return (low & vec::set_int(0xFFFF)) | vec::shift_left<16>(high);
}

}  // namespace qat::inline v0::kernels::QAT_TARGET
