// Text of simd/math.hpp, compiled once per target. Functions that use mul_add give the same bits on every target
// with fused multiply-add, and differ by rounding on the baseline of x86-64. Lanes mix only in sum_of, max_of and the
// shuffles.
namespace qat::inline v0::simd::QAT_TARGET {

/// e^x.
/// Max error: 1 ULP (tested over the floats). Overflow gives +Inf, underflow passes through the subnormals, NaN stays.
/// Source: reduction x = n ln 2 + r in two parts, and the polynomial of Cephes' expf (S. Moshier).
QAT_INLINE Float exp(Float x) {
  const Float magic = set(0x1.8p23f);                 // adding it rounds to an integer, half to even
  x = minimum(set(89.0f), maximum(set(-104.0f), x));  // both return their second operand for NaN
  const Float shifted = mul_add(x, set(0x1.715476p+0f), magic);
  const Float n = shifted - magic;
  Float r = mul_add(n, set(-0.693359375f), x);  // n * 0.693359375 is exact: ten significant bits
  r = mul_add(n, set(2.12194440e-4f), r);
  Float p = set(1.9875691500e-4f);
  p = mul_add(p, r, set(1.3981999507e-3f));
  p = mul_add(p, r, set(8.3334519073e-3f));
  p = mul_add(p, r, set(4.1665795894e-2f));
  p = mul_add(p, r, set(1.6666665459e-1f));
  p = mul_add(p, r, set(5.0000001201e-1f));
  const Float y = mul_add(p, r * r, r) + set(1.0f);
#if QAT_TARGET_LEVEL >= 2
  return {_mm512_scalef_ps(y.v, n.v)};
#else
  // Two exact powers of two, because n reaches 128 and -150: only the last multiplication rounds.
  const Int exponent = bits(shifted) - set_int(0x4B400000);
  const Int half = shift_right<1>(exponent + set_int(512)) - set_int(256);  // floor(exponent / 2)
  const Int rest = exponent - half;
  return y * from_bits(shift_left<23>(half + set_int(127))) * from_bits(shift_left<23>(rest + set_int(127)));
#endif
}

/// 1 / (1 + e^-x); 0 and 1 at the ends.
QAT_INLINE Float sigmoid(Float x) { return set(1.0f) / (set(1.0f) + exp(zero() - x)); }

/// 0, 1, 2, ... as floats.
QAT_INLINE Float lane_index() {
  constexpr float kIndex[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  return load(kIndex);
}

// a0 b0 a1 b1 ... from the lower halves of a and b, and the same from the upper halves.
#if QAT_TARGET_LEVEL >= 2
QAT_INLINE Float zip_low(Float a, Float b) {
  const __m512i index = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  return {_mm512_permutex2var_ps(a.v, index, b.v)};
}
QAT_INLINE Float zip_high(Float a, Float b) {
  const __m512i index = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
  return {_mm512_permutex2var_ps(a.v, index, b.v)};
}
#elif QAT_TARGET_LEVEL == 1
QAT_INLINE Float zip_low(Float a, Float b) {
  return {_mm256_permute2f128_ps(_mm256_unpacklo_ps(a.v, b.v), _mm256_unpackhi_ps(a.v, b.v), 0x20)};
}
QAT_INLINE Float zip_high(Float a, Float b) {
  return {_mm256_permute2f128_ps(_mm256_unpacklo_ps(a.v, b.v), _mm256_unpackhi_ps(a.v, b.v), 0x31)};
}
#else
QAT_INLINE Float zip_low(Float a, Float b) { return {__builtin_shufflevector(a.v, b.v, 0, 4, 1, 5)}; }
QAT_INLINE Float zip_high(Float a, Float b) { return {__builtin_shufflevector(a.v, b.v, 2, 6, 3, 7)}; }
#endif

/// Transposes kLanes vectors of kLanes lanes, by log2(kLanes) rounds of perfect shuffles.
QAT_INLINE void transpose_tile(Float* tile) {
  Float other[kLanes];
  for (int width = kLanes; width > 1; width /= 2) {
    QAT_UNROLL(8)
    for (int i = 0; i < kLanes / 2; ++i) {
      other[2 * i] = zip_low(tile[i], tile[i + kLanes / 2]);
      other[2 * i + 1] = zip_high(tile[i], tile[i + kLanes / 2]);
    }
    QAT_UNROLL(16)
    for (int i = 0; i < kLanes; ++i) tile[i] = other[i];
  }
}

/// Sixteen lanes whatever the vector's width, so that sums along a row have one order on every target.
struct Lanes16 {
  Float part[16 / kLanes];
};
inline constexpr int kParts16 = 16 / kLanes;

QAT_INLINE Lanes16 set16(float x) {
  Lanes16 out;
  for (int i = 0; i < kParts16; ++i) out.part[i] = set(x);
  return out;
}
QAT_INLINE Lanes16 load16(const float* p) {
  Lanes16 out;
  for (int i = 0; i < kParts16; ++i) out.part[i] = load(p + i * kLanes);
  return out;
}
/// p[0 .. n), the other lanes `fill`; n may exceed 16.
QAT_INLINE Lanes16 load16(const float* p, index_t n, float fill) {
  if (n >= 16) return load16(p);
  float lanes[16];
  for (index_t i = 0; i < 16; ++i) lanes[i] = i < n ? p[i] : fill;
  return load16(lanes);
}
/// The lanes added as a binary tree: i with i + 8, + 4, + 2, + 1.
QAT_INLINE float sum_of(const Lanes16& x) {
  float lanes[16];
  for (int i = 0; i < kParts16; ++i) store(lanes + i * kLanes, x.part[i]);
  for (int width = 8; width > 0; width /= 2)
    for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  return lanes[0];
}
QAT_INLINE float max_of(const Lanes16& x) {
  Float largest = x.part[0];
  for (int i = 1; i < kParts16; ++i) largest = maximum(x.part[i], largest);
  return reduce_max(largest);
}

}  // namespace qat::inline v0::simd::QAT_TARGET
