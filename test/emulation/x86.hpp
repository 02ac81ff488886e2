// AVX2, AVX-512 and their dot products as plain code, from SIMDe, so that a processor without them runs every x86
// target's kernels. simd/region.hpp includes it in place of <immintrin.h> where QAT_X86_EMULATION names it. Below is
// what SIMDe 0.7.4 lacks or rounds differently: its fused multiply-add rounds twice.
#pragma once

#include <emmintrin.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#define SIMDE_ENABLE_NATIVE_ALIASES
#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wall"
#pragma GCC diagnostic ignored "-Wextra"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wpsabi"
#endif
#include <simde/x86/avx512.h>
#include <simde/x86/f16c.h>
#include <simde/x86/fma.h>
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#pragma GCC diagnostic ignored "-Wpsabi"
#pragma GCC diagnostic ignored "-Wignored-attributes"
#endif

namespace qat::emulation {

template <class Lane, class Vector>
struct Lanes {
  static constexpr int kCount = static_cast<int>(sizeof(Vector) / sizeof(Lane));
  Lane lane[sizeof(Vector) / sizeof(Lane)];
  explicit Lanes(Vector v) { std::memcpy(lane, &v, sizeof v); }
};

/// Vector of f(i) for each lane.
template <class Lane, class Vector, class F>
Vector generate(const F& f) {
  Lane lane[sizeof(Vector) / sizeof(Lane)];
  for (int i = 0; i < static_cast<int>(sizeof(Vector) / sizeof(Lane)); ++i) lane[i] = static_cast<Lane>(f(i));
  Vector v;
  std::memcpy(&v, lane, sizeof v);
  return v;
}

template <class Vector>
Vector fmadd(Vector a, Vector b, Vector c) {
  const Lanes<float, Vector> x(a), y(b), z(c);
  return generate<float, Vector>([&](int i) { return std::fma(x.lane[i], y.lane[i], z.lane[i]); });
}

/// Halves onto halves, as the compilers' own reductions add.
template <class F>
float reduce(__m512 a, const F& f) {
  Lanes<float, __m512> x(a);
  for (int half = 8; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) x.lane[i] = f(x.lane[i + half], x.lane[i]);
  return x.lane[0];
}

template <class To, class From, class Vector, class Wide>
Vector convert(Wide a) {
  const Lanes<From, Wide> x(a);
  return generate<To, Vector>([&](int i) { return x.lane[i]; });
}

inline float largest(float a, float b) { return a > b ? a : b; }
inline float smallest(float a, float b) { return a < b ? a : b; }
inline float sum(float a, float b) { return a + b; }

template <class Wide, class Narrow>
Wide half_to_float(Narrow a) {
  const Lanes<std::uint16_t, Narrow> x(a);
  return generate<float, Wide>([&](int i) { return static_cast<float>(std::bit_cast<_Float16>(x.lane[i])); });
}
template <class Narrow, class Wide>
Narrow float_to_half(Wide a) {
  const Lanes<float, Wide> x(a);
  return generate<std::uint16_t, Narrow>(
      [&](int i) { return std::bit_cast<std::uint16_t>(static_cast<_Float16>(x.lane[i])); });
}

}  // namespace qat::emulation

#define _MM_FROUND_TO_NEAREST_INT SIMDE_MM_FROUND_TO_NEAREST_INT
#define _MM_FROUND_NO_EXC SIMDE_MM_FROUND_NO_EXC
using __mmask16 = simde__mmask16;

#undef _mm256_maskload_epi32  // SIMDe's touch lanes that the mask leaves out
#undef _mm256_maskstore_ps
#define _mm256_maskload_epi32(p, k) (::qat::emulation::load_some<__m256i>(::qat::emulation::signs(k), p))
#define _mm256_maskstore_ps(p, k, a) (::qat::emulation::store_some(p, ::qat::emulation::signs(k), a))
#undef _mm512_abs_ps  // SIMDe's leaves the sign of -0
#define _mm512_abs_ps(a) _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(a), _mm512_set1_epi32(0x7FFFFFFF)))
#undef _mm256_fmadd_ps
#undef _mm512_fmadd_ps
#undef _mm256_cvtph_ps
#undef _mm256_cvtps_ph
#define _mm256_fmadd_ps(a, b, c) (::qat::emulation::fmadd<__m256>(a, b, c))
#define _mm512_fmadd_ps(a, b, c) (::qat::emulation::fmadd<__m512>(a, b, c))
#define _mm256_cvtph_ps(a) (::qat::emulation::half_to_float<__m256, __m128i>(a))
#define _mm512_cvtph_ps(a) (::qat::emulation::half_to_float<__m512, __m256i>(a))
#define _mm256_cvtps_ph(a, rounding) (::qat::emulation::float_to_half<__m128i, __m256>(a))
#define _mm512_cvtps_ph(a, rounding) (::qat::emulation::float_to_half<__m256i, __m512>(a))
#define _mm256_dpbusd_avx_epi32(a, b, c) simde_mm256_dpbusd_epi32(a, b, c)
#define _mm256_dpwssd_avx_epi32(a, b, c) simde_mm256_dpwssd_epi32(a, b, c)
#define _mm512_cvtepi32_epi16(a) (::qat::emulation::convert<std::int16_t, std::int32_t, __m256i, __m512i>(a))
#define _mm512_cvtepi32_epi8(a) (::qat::emulation::convert<std::int8_t, std::int32_t, __m128i, __m512i>(a))
#define _mm512_cvtepi32_ps(a) (::qat::emulation::convert<float, std::int32_t, __m512, __m512i>(a))
#define _mm512_cvtepi8_epi32(a) (::qat::emulation::convert<std::int32_t, std::int8_t, __m512i, __m128i>(a))
#define _mm512_cvtepu16_epi32(a) (::qat::emulation::convert<std::int32_t, std::uint16_t, __m512i, __m256i>(a))
#define _mm512_cvtps_epi32(a) (::qat::emulation::nearest(a))
#define _mm512_cvtneps_pbh(a) (::qat::emulation::to_bf16(a))
#define _mm512_mask_storeu_ps(p, k, a) (::qat::emulation::store_some(p, k, a))
#define _mm512_maskz_loadu_epi32(k, p) (::qat::emulation::load_some<__m512i>(k, p))
#define _mm512_reduce_add_ps(a) (::qat::emulation::reduce(a, ::qat::emulation::sum))
#define _mm512_reduce_max_ps(a) (::qat::emulation::reduce(a, ::qat::emulation::largest))
#define _mm512_reduce_min_ps(a) (::qat::emulation::reduce(a, ::qat::emulation::smallest))
#undef _mm512_madd_epi16  // its alias takes the masked form's arguments
#define _mm512_madd_epi16(a, b) simde_mm512_madd_epi16(a, b)
#define _mm512_shuffle_f32x4(a, b, order) \
  _mm512_castsi512_ps(_mm512_shuffle_i32x4(_mm512_castps_si512(a), _mm512_castps_si512(b), order))
#define _mm512_stream_ps(p, a) _mm512_storeu_ps(p, a)

namespace qat::emulation {

/// To the nearest integer, the even one of two; what has no int32 is the most negative one, as the instruction says.
inline __m512i nearest(__m512 a) {
  const Lanes<float, __m512> x(a);
  return generate<std::int32_t, __m512i>([&](int i) {
    const float r = std::nearbyint(x.lane[i]);
    return r >= -2147483648.0f && r < 2147483648.0f ? static_cast<std::int32_t>(r) : INT32_MIN;
  });
}
/// To the nearest, ties to even; subnormal numbers become zero and NaN quiet, as the instruction says.
inline simde__m256bh to_bf16(__m512 a) {
  const Lanes<std::uint32_t, __m512> x(a);
  return generate<std::uint16_t, simde__m256bh>([&](int i) {
    const std::uint32_t bits = x.lane[i], magnitude = bits & 0x7FFFFFFFu;
    if (magnitude > 0x7F800000u) return (bits >> 16) | 0x40u;
    if (magnitude < 0x00800000u) return bits >> 16 & 0x8000u;
    return (bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16;
  });
}
inline std::uint16_t signs(__m256i mask) {
  const Lanes<std::int32_t, __m256i> x(mask);
  std::uint16_t k = 0;
  for (int i = 0; i < 8; ++i) k = static_cast<std::uint16_t>(k | (x.lane[i] < 0 ? 1 << i : 0));
  return k;
}
template <class Vector>
void store_some(void* p, std::uint16_t k, Vector a) {
  const Lanes<float, Vector> x(a);
  for (int i = 0; i < x.kCount; ++i)
    if ((k >> i & 1) != 0) std::memcpy(static_cast<char*>(p) + 4 * i, &x.lane[i], 4);
}
template <class Vector>
Vector load_some(std::uint16_t k, const void* p) {
  return generate<std::int32_t, Vector>([&](int i) {
    std::int32_t x = 0;
    if ((k >> i & 1) != 0) std::memcpy(&x, static_cast<const char*>(p) + 4 * i, 4);
    return x;
  });
}

}  // namespace qat::emulation
