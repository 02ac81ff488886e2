// Text of simd/vec.hpp, compiled once per target.
//
//   Float, Int, Mask   kLanes lanes: 4 (baseline), 8 (avx2), 16 (avx512)
// Same bits on every target, except mul_add: two roundings on the baseline of x86-64, one elsewhere.
// Arithmetic is the language's own and moves of lanes are integer ones: under clang, a floating-point intrinsic keeps
// the fast-math flags of the program that includes <immintrin.h>, and may then be reassociated or assume that nothing
// is NaN. minimum, maximum: (a < b ? a : b) and (a > b ? a : b), so the second operand is the result if either is NaN
// (as minps, maxps). Partial loads fill the other lanes with zero; partial accesses touch no byte beyond n lanes, 0 <=
// n <= kLanes. NEON is written as assembly for the same reason: an instruction has no flags, and <arm_neon.h> takes a
// second to read.
namespace qat::inline v0::simd::QAT_TARGET {

#if QAT_TARGET_LEVEL >= 2

inline constexpr int kLanes = 16;
struct Float {
  __m512 v;
};
struct Int {
  __m512i v;
};
struct Mask {
  __mmask16 v;
};

QAT_INLINE __mmask16 first_lanes(index_t n) { return static_cast<__mmask16>((1u << n) - 1u); }

QAT_INLINE Float zero() { return {_mm512_setzero_ps()}; }
QAT_INLINE Float set(float x) { return {_mm512_set1_ps(x)}; }
QAT_INLINE Float load(const float* p) { return {_mm512_loadu_ps(p)}; }
QAT_INLINE Float load(const float* p, index_t n) {
  return {_mm512_castsi512_ps(_mm512_maskz_loadu_epi32(first_lanes(n), p))};
}
QAT_INLINE void store(float* p, Float x) { _mm512_storeu_ps(p, x.v); }
QAT_INLINE void store(float* p, Float x, index_t n) { _mm512_mask_storeu_ps(p, first_lanes(n), x.v); }
QAT_INLINE void stream(float* p, Float x) { _mm512_stream_ps(p, x.v); }
QAT_INLINE void stream_fence() { _mm_sfence(); }

QAT_INLINE Float operator+(Float a, Float b) { return {a.v + b.v}; }
QAT_INLINE Float operator-(Float a, Float b) { return {a.v - b.v}; }
QAT_INLINE Float operator*(Float a, Float b) { return {a.v * b.v}; }
QAT_INLINE Float operator/(Float a, Float b) { return {a.v / b.v}; }
QAT_INLINE Float mul_add(Float a, Float b, Float c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
/// One rounding on every target; slow on baseline.
QAT_INLINE Float fused_mul_add(Float a, Float b, Float c) { return mul_add(a, b, c); }
QAT_INLINE Float minimum(Float a, Float b) { return {_mm512_min_ps(a.v, b.v)}; }
QAT_INLINE Float maximum(Float a, Float b) { return {_mm512_max_ps(a.v, b.v)}; }
QAT_INLINE Float abs(Float a) { return {_mm512_abs_ps(a.v)}; }
QAT_INLINE Float sqrt(Float a) { return {_mm512_sqrt_ps(a.v)}; }
/// To the nearest integer, ties to even; infinities and NaN unchanged.
QAT_INLINE Float round_even(Float a) {
  return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
QAT_INLINE float reduce_max(Float a) { return _mm512_reduce_max_ps(a.v); }
QAT_INLINE float reduce_min(Float a) { return _mm512_reduce_min_ps(a.v); }

QAT_INLINE Mask operator<(Float a, Float b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)}; }
QAT_INLINE Mask operator<=(Float a, Float b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LE_OQ)}; }
QAT_INLINE Mask operator==(Float a, Float b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ)}; }
QAT_INLINE Mask operator&(Mask a, Mask b) { return {static_cast<__mmask16>(a.v & b.v)}; }
QAT_INLINE Mask operator|(Mask a, Mask b) { return {static_cast<__mmask16>(a.v | b.v)}; }
QAT_INLINE bool any(Mask a) { return a.v != 0; }
/// Lane-wise: condition ? a : b.
QAT_INLINE Float select(Mask condition, Float a, Float b) {
  return {
      _mm512_castsi512_ps(_mm512_mask_blend_epi32(condition.v, _mm512_castps_si512(b.v), _mm512_castps_si512(a.v)))};
}

QAT_INLINE Int set_int(std::int32_t x) { return {_mm512_set1_epi32(x)}; }
QAT_INLINE Int load_int(const std::int32_t* p) { return {_mm512_loadu_si512(p)}; }
QAT_INLINE void store_int(std::int32_t* p, Int x) { _mm512_storeu_si512(p, x.v); }
/// Nearest int32, ties to even; the operand must be inside the range of int32.
QAT_INLINE Int to_int(Float a) { return {_mm512_cvtps_epi32(a.v)}; }
QAT_INLINE Float to_float(Int a) { return {_mm512_cvtepi32_ps(a.v)}; }
QAT_INLINE Int bits(Float a) { return {_mm512_castps_si512(a.v)}; }
QAT_INLINE Float from_bits(Int a) { return {_mm512_castsi512_ps(a.v)}; }
QAT_INLINE Int operator+(Int a, Int b) { return {_mm512_add_epi32(a.v, b.v)}; }
QAT_INLINE Int operator-(Int a, Int b) { return {_mm512_sub_epi32(a.v, b.v)}; }
QAT_INLINE Int operator&(Int a, Int b) { return {_mm512_and_si512(a.v, b.v)}; }
QAT_INLINE Int operator|(Int a, Int b) { return {_mm512_or_si512(a.v, b.v)}; }
template <int kBits>
QAT_INLINE Int shift_right(Int a) {  // logical
  return {_mm512_srli_epi32(a.v, kBits)};
}
template <int kBits>
QAT_INLINE Int shift_left(Int a) {
  return {_mm512_slli_epi32(a.v, kBits)};
}
QAT_INLINE Int shift_right(Int a, int n) { return {_mm512_srl_epi32(a.v, _mm_cvtsi32_si128(n))}; }
QAT_INLINE Int shift_left(Int a, int n) { return {_mm512_sll_epi32(a.v, _mm_cvtsi32_si128(n))}; }
QAT_INLINE Int multiply(Int a, Int b) { return {_mm512_mullo_epi32(a.v, b.v)}; }
/// The low byte of each lane.
QAT_INLINE void store_low_bytes(std::int8_t* p, Int x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(x.v));
}
QAT_INLINE Int load_int8(const std::int8_t* p) {
  return {_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
}
QAT_INLINE Int load_uint16(const std::uint16_t* p) {
  return {_mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}

/// Transposes a kLanes x kLanes matrix held as rows.
QAT_INLINE void transpose(Float (&rows)[kLanes]) {
  __m512 t[16], u[16];
  QAT_UNROLL(8)
  for (int i = 0; i < 8; ++i) {
    t[2 * i] = _mm512_unpacklo_ps(rows[2 * i].v, rows[2 * i + 1].v);
    t[2 * i + 1] = _mm512_unpackhi_ps(rows[2 * i].v, rows[2 * i + 1].v);
  }
  QAT_UNROLL(4)
  for (int i = 0; i < 4; ++i) {
    u[4 * i] = _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(t[4 * i]), _mm512_castps_pd(t[4 * i + 2])));
    u[4 * i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(t[4 * i]), _mm512_castps_pd(t[4 * i + 2])));
    u[4 * i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(t[4 * i + 1]), _mm512_castps_pd(t[4 * i + 3])));
    u[4 * i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(t[4 * i + 1]), _mm512_castps_pd(t[4 * i + 3])));
  }
  // u[4 * i + j], quarter q: column 4 * q + j of rows 4 * i .. 4 * i + 3.
  QAT_UNROLL(4)
  for (int j = 0; j < 4; ++j) {
    const __m512 even0 = _mm512_shuffle_f32x4(u[j], u[4 + j], 0x88), odd0 = _mm512_shuffle_f32x4(u[j], u[4 + j], 0xDD);
    const __m512 even1 = _mm512_shuffle_f32x4(u[8 + j], u[12 + j], 0x88);
    const __m512 odd1 = _mm512_shuffle_f32x4(u[8 + j], u[12 + j], 0xDD);
    rows[j].v = _mm512_shuffle_f32x4(even0, even1, 0x88);
    rows[4 + j].v = _mm512_shuffle_f32x4(odd0, odd1, 0x88);
    rows[8 + j].v = _mm512_shuffle_f32x4(even0, even1, 0xDD);
    rows[12 + j].v = _mm512_shuffle_f32x4(odd0, odd1, 0xDD);
  }
}

#elif QAT_TARGET_LEVEL == 1

inline constexpr int kLanes = 8;
struct Float {
  __m256 v;
};
struct Int {
  __m256i v;
};
struct Mask {
  __m256 v;
};

QAT_INLINE __m256i first_lanes(index_t n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

QAT_INLINE Float zero() { return {_mm256_setzero_ps()}; }
QAT_INLINE Float set(float x) { return {_mm256_set1_ps(x)}; }
QAT_INLINE Float load(const float* p) { return {_mm256_loadu_ps(p)}; }
QAT_INLINE Float load(const float* p, index_t n) {
  return {_mm256_castsi256_ps(_mm256_maskload_epi32(reinterpret_cast<const int*>(p), first_lanes(n)))};
}
QAT_INLINE void store(float* p, Float x) { _mm256_storeu_ps(p, x.v); }
QAT_INLINE void store(float* p, Float x, index_t n) { _mm256_maskstore_ps(p, first_lanes(n), x.v); }
QAT_INLINE void stream(float* p, Float x) { _mm256_stream_ps(p, x.v); }
QAT_INLINE void stream_fence() { _mm_sfence(); }

QAT_INLINE Float operator+(Float a, Float b) { return {a.v + b.v}; }
QAT_INLINE Float operator-(Float a, Float b) { return {a.v - b.v}; }
QAT_INLINE Float operator*(Float a, Float b) { return {a.v * b.v}; }
QAT_INLINE Float operator/(Float a, Float b) { return {a.v / b.v}; }
QAT_INLINE Float mul_add(Float a, Float b, Float c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
QAT_INLINE Float fused_mul_add(Float a, Float b, Float c) { return mul_add(a, b, c); }
QAT_INLINE Float minimum(Float a, Float b) { return {_mm256_min_ps(a.v, b.v)}; }
QAT_INLINE Float maximum(Float a, Float b) { return {_mm256_max_ps(a.v, b.v)}; }
QAT_INLINE Float abs(Float a) { return {_mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.v)}; }
QAT_INLINE Float sqrt(Float a) { return {_mm256_sqrt_ps(a.v)}; }
QAT_INLINE Float round_even(Float a) { return {_mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
QAT_INLINE float reduce_max(Float a) {
  __m128 m = _mm_max_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  m = _mm_max_ps(m, _mm_movehl_ps(m, m));
  return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}
QAT_INLINE float reduce_min(Float a) {
  __m128 m = _mm_min_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  m = _mm_min_ps(m, _mm_movehl_ps(m, m));
  return _mm_cvtss_f32(_mm_min_ss(m, _mm_movehdup_ps(m)));
}

QAT_INLINE Mask operator<(Float a, Float b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ)}; }
QAT_INLINE Mask operator<=(Float a, Float b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LE_OQ)}; }
QAT_INLINE Mask operator==(Float a, Float b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_EQ_OQ)}; }
QAT_INLINE Mask operator&(Mask a, Mask b) { return {_mm256_and_ps(a.v, b.v)}; }
QAT_INLINE Mask operator|(Mask a, Mask b) { return {_mm256_or_ps(a.v, b.v)}; }
QAT_INLINE bool any(Mask a) { return _mm256_movemask_ps(a.v) != 0; }
QAT_INLINE Float select(Mask condition, Float a, Float b) {
  return {_mm256_castsi256_ps(
      _mm256_blendv_epi8(_mm256_castps_si256(b.v), _mm256_castps_si256(a.v), _mm256_castps_si256(condition.v)))};
}

QAT_INLINE Int set_int(std::int32_t x) { return {_mm256_set1_epi32(x)}; }
QAT_INLINE Int load_int(const std::int32_t* p) { return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))}; }
QAT_INLINE void store_int(std::int32_t* p, Int x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), x.v); }
QAT_INLINE Int to_int(Float a) { return {_mm256_cvtps_epi32(a.v)}; }
QAT_INLINE Float to_float(Int a) { return {_mm256_cvtepi32_ps(a.v)}; }
QAT_INLINE Int bits(Float a) { return {_mm256_castps_si256(a.v)}; }
QAT_INLINE Float from_bits(Int a) { return {_mm256_castsi256_ps(a.v)}; }
QAT_INLINE Int operator+(Int a, Int b) { return {_mm256_add_epi32(a.v, b.v)}; }
QAT_INLINE Int operator-(Int a, Int b) { return {_mm256_sub_epi32(a.v, b.v)}; }
QAT_INLINE Int operator&(Int a, Int b) { return {_mm256_and_si256(a.v, b.v)}; }
QAT_INLINE Int operator|(Int a, Int b) { return {_mm256_or_si256(a.v, b.v)}; }
template <int kBits>
QAT_INLINE Int shift_right(Int a) {
  return {_mm256_srli_epi32(a.v, kBits)};
}
template <int kBits>
QAT_INLINE Int shift_left(Int a) {
  return {_mm256_slli_epi32(a.v, kBits)};
}
QAT_INLINE Int shift_right(Int a, int n) { return {_mm256_srl_epi32(a.v, _mm_cvtsi32_si128(n))}; }
QAT_INLINE Int shift_left(Int a, int n) { return {_mm256_sll_epi32(a.v, _mm_cvtsi32_si128(n))}; }
QAT_INLINE Int multiply(Int a, Int b) { return {_mm256_mullo_epi32(a.v, b.v)}; }
QAT_INLINE void store_low_bytes(std::int8_t* p, Int x) {
  const __m256i low =
      _mm256_shuffle_epi8(x.v, _mm256_setr_epi8(0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,  //
                                                0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1));
  const __m256i joined = _mm256_permutevar8x32_epi32(low, _mm256_setr_epi32(0, 4, 0, 4, 0, 4, 0, 4));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm256_castsi256_si128(joined));
}
QAT_INLINE Int load_int8(const std::int8_t* p) {
  return {_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)))};
}
QAT_INLINE Int load_uint16(const std::uint16_t* p) {
  return {_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
}

QAT_INLINE void transpose(Float (&rows)[kLanes]) {
  __m256 t[8], u[8];
  QAT_UNROLL(4)
  for (int i = 0; i < 4; ++i) {
    t[2 * i] = _mm256_unpacklo_ps(rows[2 * i].v, rows[2 * i + 1].v);
    t[2 * i + 1] = _mm256_unpackhi_ps(rows[2 * i].v, rows[2 * i + 1].v);
  }
  QAT_UNROLL(2)
  for (int i = 0; i < 2; ++i) {
    u[4 * i] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0x44);
    u[4 * i + 1] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0xEE);
    u[4 * i + 2] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0x44);
    u[4 * i + 3] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0xEE);
  }
  QAT_UNROLL(4)
  for (int j = 0; j < 4; ++j) {
    rows[j].v = _mm256_permute2f128_ps(u[j], u[4 + j], 0x20);
    rows[4 + j].v = _mm256_permute2f128_ps(u[j], u[4 + j], 0x31);
  }
}

#else

inline constexpr int kLanes = 4;
typedef float FloatLanes __attribute__((vector_size(16)));
typedef std::int32_t IntLanes __attribute__((vector_size(16)));
typedef std::uint32_t UintLanes __attribute__((vector_size(16)));
struct Float {
  FloatLanes v;
};
struct Int {
  IntLanes v;
};
struct Mask {
  IntLanes v;
};

QAT_INLINE IntLanes as_int(FloatLanes x) { return reinterpret_cast<IntLanes>(x); }
QAT_INLINE FloatLanes as_float(IntLanes x) { return reinterpret_cast<FloatLanes>(x); }

QAT_INLINE Float zero() { return {FloatLanes{0, 0, 0, 0}}; }
QAT_INLINE Float set(float x) { return {FloatLanes{x, x, x, x}}; }
QAT_INLINE Float load(const float* p) {
  Float x;
  __builtin_memcpy(&x.v, p, sizeof x.v);
  return x;
}
QAT_INLINE Float load(const float* p, index_t n) {
  float lanes[4] = {0, 0, 0, 0};
  for (index_t i = 0; i < n; ++i) lanes[i] = p[i];
  return load(lanes);
}
QAT_INLINE void store(float* p, Float x) { __builtin_memcpy(p, &x.v, sizeof x.v); }
QAT_INLINE void store(float* p, Float x, index_t n) {
  for (index_t i = 0; i < n; ++i) p[i] = x.v[i];
}
QAT_INLINE void stream(float* p, Float x) { store(p, x); }
QAT_INLINE void stream_fence() {}

QAT_INLINE Float operator+(Float a, Float b) { return {a.v + b.v}; }
QAT_INLINE Float operator-(Float a, Float b) { return {a.v - b.v}; }
QAT_INLINE Float operator*(Float a, Float b) { return {a.v * b.v}; }
QAT_INLINE Float operator/(Float a, Float b) { return {a.v / b.v}; }
#if QAT_HAVE_NEON
QAT_INLINE Float mul_add(Float a, Float b, Float c) {
  asm("fmla %0.4s, %1.4s, %2.4s" : "+w"(c.v) : "w"(a.v), "w"(b.v));
  return c;
}
QAT_INLINE Float fused_mul_add(Float a, Float b, Float c) { return mul_add(a, b, c); }
#else
QAT_INLINE Float mul_add(Float a, Float b, Float c) { return {a.v * b.v + c.v}; }
QAT_INLINE Float fused_mul_add(Float a, Float b, Float c) {
  for (int i = 0; i < 4; ++i) c.v[i] = __builtin_fmaf(a.v[i], b.v[i], c.v[i]);
  return c;
}
#endif

QAT_INLINE Mask operator<(Float a, Float b) { return {a.v < b.v}; }
QAT_INLINE Mask operator<=(Float a, Float b) { return {a.v <= b.v}; }
QAT_INLINE Mask operator==(Float a, Float b) { return {a.v == b.v}; }
QAT_INLINE Mask operator&(Mask a, Mask b) { return {a.v & b.v}; }
QAT_INLINE Mask operator|(Mask a, Mask b) { return {a.v | b.v}; }
QAT_INLINE bool any(Mask a) { return (a.v[0] | a.v[1] | a.v[2] | a.v[3]) != 0; }
QAT_INLINE Float select(Mask condition, Float a, Float b) {
  return {as_float((as_int(a.v) & condition.v) | (as_int(b.v) & ~condition.v))};
}
QAT_INLINE Float minimum(Float a, Float b) { return select(a < b, a, b); }
QAT_INLINE Float maximum(Float a, Float b) { return select(b < a, a, b); }
QAT_INLINE Float abs(Float a) { return {as_float(as_int(a.v) & 0x7FFFFFFF)}; }
#if QAT_HAVE_NEON
QAT_INLINE Float sqrt(Float a) {
  Float root;
  asm("fsqrt %0.4s, %1.4s" : "=w"(root.v) : "w"(a.v));
  return root;
}
QAT_INLINE Float round_even(Float a) {
  Float rounded;
  asm("frintn %0.4s, %1.4s" : "=w"(rounded.v) : "w"(a.v));
  return rounded;
}
#else
QAT_INLINE Float sqrt(Float a) {
  for (int i = 0; i < 4; ++i) a.v[i] = __builtin_sqrtf(a.v[i]);
  return a;
}
QAT_INLINE Float round_even(Float a) {
  // Adding 2^23 leaves no bits for a fraction, so the addition rounds to an integer; larger values are integers
  // already.
  const Float magnitude = abs(a);
  const Float rounded = (magnitude + set(0x1p23f)) - set(0x1p23f);
  const IntLanes sign = as_int(a.v) & ~0x7FFFFFFF;
  return select(magnitude < set(0x1p23f), Float{as_float(as_int(rounded.v) | sign)}, a);
}
#endif
QAT_INLINE float reduce_max(Float a) {
  const float x = a.v[0] > a.v[1] ? a.v[0] : a.v[1];
  const float y = a.v[2] > a.v[3] ? a.v[2] : a.v[3];
  return x > y ? x : y;
}
QAT_INLINE float reduce_min(Float a) {
  const float x = a.v[0] < a.v[1] ? a.v[0] : a.v[1];
  const float y = a.v[2] < a.v[3] ? a.v[2] : a.v[3];
  return x < y ? x : y;
}

QAT_INLINE Int set_int(std::int32_t x) { return {IntLanes{x, x, x, x}}; }
QAT_INLINE Int load_int(const std::int32_t* p) {
  Int x;
  __builtin_memcpy(&x.v, p, sizeof x.v);
  return x;
}
QAT_INLINE void store_int(std::int32_t* p, Int x) { __builtin_memcpy(p, &x.v, sizeof x.v); }
QAT_INLINE Int to_int(Float a) { return {__builtin_convertvector(round_even(a).v, IntLanes)}; }
QAT_INLINE Float to_float(Int a) { return {__builtin_convertvector(a.v, FloatLanes)}; }
QAT_INLINE Int bits(Float a) { return {as_int(a.v)}; }
QAT_INLINE Float from_bits(Int a) { return {as_float(a.v)}; }
QAT_INLINE Int operator+(Int a, Int b) {  // wraps, as the instruction does
  return {reinterpret_cast<IntLanes>(reinterpret_cast<UintLanes>(a.v) + reinterpret_cast<UintLanes>(b.v))};
}
QAT_INLINE Int operator-(Int a, Int b) {  // wraps, as the instruction does
  return {reinterpret_cast<IntLanes>(reinterpret_cast<UintLanes>(a.v) - reinterpret_cast<UintLanes>(b.v))};
}
QAT_INLINE Int operator&(Int a, Int b) { return {a.v & b.v}; }
QAT_INLINE Int operator|(Int a, Int b) { return {a.v | b.v}; }
template <int kBits>
QAT_INLINE Int shift_right(Int a) {
  return {reinterpret_cast<IntLanes>(reinterpret_cast<UintLanes>(a.v) >> kBits)};
}
template <int kBits>
QAT_INLINE Int shift_left(Int a) {
  return {reinterpret_cast<IntLanes>(reinterpret_cast<UintLanes>(a.v) << kBits)};
}
QAT_INLINE Int shift_right(Int a, int n) { return {reinterpret_cast<IntLanes>(reinterpret_cast<UintLanes>(a.v) >> n)}; }
QAT_INLINE Int shift_left(Int a, int n) { return {reinterpret_cast<IntLanes>(reinterpret_cast<UintLanes>(a.v) << n)}; }
QAT_INLINE Int multiply(Int a, Int b) {
  return {reinterpret_cast<IntLanes>(reinterpret_cast<UintLanes>(a.v) * reinterpret_cast<UintLanes>(b.v))};
}
QAT_INLINE void store_low_bytes(std::int8_t* p, Int x) {
  for (int i = 0; i < 4; ++i) p[i] = static_cast<std::int8_t>(x.v[i]);
}
QAT_INLINE Int load_int8(const std::int8_t* p) { return {IntLanes{p[0], p[1], p[2], p[3]}}; }
QAT_INLINE Int load_uint16(const std::uint16_t* p) { return {IntLanes{p[0], p[1], p[2], p[3]}}; }

QAT_INLINE void transpose(Float (&rows)[kLanes]) {
  const FloatLanes a = rows[0].v, b = rows[1].v, c = rows[2].v, d = rows[3].v;
  const FloatLanes ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5),
                   ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
  const FloatLanes cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5),
                   cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
  rows[0].v = __builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5);
  rows[1].v = __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7);
  rows[2].v = __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5);
  rows[3].v = __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7);
}

#endif

}  // namespace qat::inline v0::simd::QAT_TARGET
