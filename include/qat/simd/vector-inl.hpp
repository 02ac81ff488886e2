// Vectors of floats for one target, and the elementary functions of them. Included once per target by simd/vector.hpp,
// inside that target's region and namespace, with QAT_VECTOR_BYTES set; includes nothing.
//
// Lanes never mix except in sum() and max_of(), so what a lane computes does not depend on the vector's width. fma() is
// one rounding where the target has the instruction (AVX2 and AVX-512 give the same bits) and two on the baseline.

typedef float Vec __attribute__((vector_size(QAT_VECTOR_BYTES)));
typedef std::int32_t IntVec __attribute__((vector_size(QAT_VECTOR_BYTES)));
inline constexpr index_t kLanes = QAT_VECTOR_BYTES / 4;

QAT_INLINE Vec load(const float* p) {
  Vec v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
QAT_INLINE void store(float* p, Vec v) { __builtin_memcpy(p, &v, sizeof v); }

QAT_INLINE Vec broadcast(float value) { return value - Vec{}; }  // x - 0 is x, -0.0 included

/// p[0 .. count), the other lanes `fill`.
QAT_INLINE Vec load_partial(const float* p, index_t count, float fill) {
  float lanes[kLanes];
  for (index_t i = 0; i < kLanes; ++i) lanes[i] = fill;
  for (index_t i = 0; i < count; ++i) lanes[i] = p[i];
  return load(lanes);
}
QAT_INLINE void store_partial(float* p, Vec v, index_t count) {
  float lanes[kLanes];
  store(lanes, v);
  for (index_t i = 0; i < count; ++i) p[i] = lanes[i];
}

QAT_INLINE Vec fma(Vec a, Vec b, Vec c) {
#if QAT_VECTOR_BYTES == 64
  return reinterpret_cast<Vec>(_mm512_fmadd_ps(reinterpret_cast<__m512>(a), reinterpret_cast<__m512>(b),
                                               reinterpret_cast<__m512>(c)));
#elif QAT_VECTOR_BYTES == 32
  return reinterpret_cast<Vec>(_mm256_fmadd_ps(reinterpret_cast<__m256>(a), reinterpret_cast<__m256>(b),
                                               reinterpret_cast<__m256>(c)));
#else
  return a * b + c;
#endif
}

/// Correctly rounded.
QAT_INLINE Vec sqrt(Vec a) {
#if QAT_VECTOR_BYTES == 64
  return reinterpret_cast<Vec>(_mm512_sqrt_ps(reinterpret_cast<__m512>(a)));
#elif QAT_VECTOR_BYTES == 32
  return reinterpret_cast<Vec>(_mm256_sqrt_ps(reinterpret_cast<__m256>(a)));
#else
  Vec out;
  for (index_t i = 0; i < kLanes; ++i) out[i] = __builtin_sqrtf(a[i]);
  return out;
#endif
}

/// The larger of a and b; b where a is NaN.
QAT_INLINE Vec max(Vec a, Vec b) { return a > b ? a : b; }

/// 0, 1, 2, ...
QAT_INLINE IntVec lane_index() {
  IntVec v;
  for (index_t i = 0; i < kLanes; ++i) v[i] = static_cast<std::int32_t>(i);
  return v;
}

// Elements 0, n, 1, n + 1, ... and the upper halves likewise, of two vectors of n lanes.
#if QAT_VECTOR_BYTES == 64
QAT_INLINE Vec zip_low(Vec a, Vec b) {
  return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}
QAT_INLINE Vec zip_high(Vec a, Vec b) {
  return __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}
#elif QAT_VECTOR_BYTES == 32
QAT_INLINE Vec zip_low(Vec a, Vec b) { return __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11); }
QAT_INLINE Vec zip_high(Vec a, Vec b) { return __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15); }
#else
QAT_INLINE Vec zip_low(Vec a, Vec b) { return __builtin_shufflevector(a, b, 0, 4, 1, 5); }
QAT_INLINE Vec zip_high(Vec a, Vec b) { return __builtin_shufflevector(a, b, 2, 6, 3, 7); }
#endif

/// tile[i][j] -> tile[j][i] of kLanes x kLanes values, by log2(kLanes) rounds of perfect shuffles.
QAT_INLINE void transpose_tile(Vec* tile) {
  Vec other[kLanes];
  for (index_t width = kLanes; width > 1; width /= 2) {
    for (index_t i = 0; i < kLanes / 2; ++i) {
      other[2 * i] = zip_low(tile[i], tile[i + kLanes / 2]);
      other[2 * i + 1] = zip_high(tile[i], tile[i + kLanes / 2]);
    }
    for (index_t i = 0; i < kLanes; ++i) tile[i] = other[i];
  }
}

/// Sixteen partial results whatever the vector's width, so that sums over a row have one order on every target.
struct Vec16 {
  static constexpr index_t kParts = 16 / kLanes;
  Vec part[kParts];
};
QAT_INLINE Vec16 broadcast16(float value) {
  Vec16 out;
  for (index_t i = 0; i < Vec16::kParts; ++i) out.part[i] = broadcast(value);
  return out;
}
QAT_INLINE Vec16 load16(const float* p) {
  Vec16 out;
  for (index_t i = 0; i < Vec16::kParts; ++i) out.part[i] = load(p + i * kLanes);
  return out;
}
QAT_INLINE Vec16 load16_partial(const float* p, index_t count, float fill) {
  float lanes[16];
  for (index_t i = 0; i < 16; ++i) lanes[i] = i < count ? p[i] : fill;
  return load16(lanes);
}
/// Sum of the sixteen lanes in the order of a binary tree: i with i + 8, + 4, + 2, + 1.
QAT_INLINE float sum(const Vec16& v) {
  float lanes[16];
  for (index_t i = 0; i < Vec16::kParts; ++i) store(lanes + i * kLanes, v.part[i]);
  for (index_t width = 8; width > 0; width /= 2)
    for (index_t i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  return lanes[0];
}
QAT_INLINE float max_of(const Vec16& v) {
  float lanes[16];
  for (index_t i = 0; i < Vec16::kParts; ++i) store(lanes + i * kLanes, v.part[i]);
  float largest = lanes[0];
  for (index_t i = 1; i < 16; ++i) largest = lanes[i] > largest ? lanes[i] : largest;
  return largest;
}

/// e^x.
/// Max error: 1 ULP (tested over every float). Overflow gives +Inf, underflow passes through the subnormals, NaN stays.
/// Source: range reduction x = n ln 2 + r and the polynomial of Cephes' expf (S. Moshier).
QAT_INLINE Vec exp(Vec x) {
  const Vec magic = broadcast(0x1.8p23f);  // adding it rounds to an integer, half to even
  x = x < -104.0f ? broadcast(-104.0f) : x;
  x = x > 89.0f ? broadcast(89.0f) : x;
  const Vec shifted = fma(x, broadcast(0x1.715476p+0f), magic);
  const Vec n = shifted - magic;
  Vec r = fma(n, broadcast(-0.693359375f), x);  // n * 0.693359375 is exact: ten significant bits
  r = fma(n, broadcast(2.12194440e-4f), r);
  Vec p = broadcast(1.9875691500e-4f);
  p = fma(p, r, broadcast(1.3981999507e-3f));
  p = fma(p, r, broadcast(8.3334519073e-3f));
  p = fma(p, r, broadcast(4.1665795894e-2f));
  p = fma(p, r, broadcast(1.6666665459e-1f));
  p = fma(p, r, broadcast(5.0000001201e-1f));
  const Vec y = fma(p, r * r, r) + 1.0f;
#if QAT_VECTOR_BYTES == 64
  return reinterpret_cast<Vec>(_mm512_scalef_ps(reinterpret_cast<__m512>(y), reinterpret_cast<__m512>(n)));
#else
  // Two exact powers of two, because n reaches 128 and -150: only the last multiplication rounds.
  const IntVec exponent = reinterpret_cast<IntVec>(shifted) - 0x4B400000;
  const IntVec half = exponent >> 1;
  const Vec scale0 = reinterpret_cast<Vec>((half + 127) << 23);
  const Vec scale1 = reinterpret_cast<Vec>((exponent - half + 127) << 23);
  return y * scale0 * scale1;
#endif
}

/// 1 / (1 + e^-x); 0 and 1 at the ends.
QAT_INLINE Vec sigmoid(Vec x) { return 1.0f / (1.0f + exp(-x)); }
