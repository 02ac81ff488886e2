// Text of kernels/cpu/quantize.hpp, compiled once per target. Includes nothing; structs instead of lambdas.
//
// A run of tiles is taken in batches that fit the L1 cache: the ranges of up to kLanes tiles are reduced together (one
// tree of shuffles instead of kLanes horizontal reductions), their parameters are chosen together, one tile a lane (so
// divisions are shared), and then every tile is quantized while its values are still in the cache: one pass over
// memory. Each operation mirrors one line of quant/affine.hpp; rounding to a small float grid happens after every
// single operation, as there.
namespace qat::inline v0::kernels::QAT_TARGET::quantization {

namespace vec = simd::QAT_TARGET;
using vec::Float;
using vec::Int;
using vec::Mask;
inline constexpr index_t kLanes = vec::kLanes;

// ---------------------------------------------------------------- what vec.hpp does not have

#if QAT_TARGET_LEVEL >= 2
QAT_INLINE Int maximum(Int a, Int b) { return {_mm512_max_epi32(a.v, b.v)}; }
QAT_INLINE Mask
is_number(Float a) {  // by bits: a comparison of floats can be folded where the host says nothing is NaN
  return {_mm512_cmple_epi32_mask(_mm512_and_si512(_mm512_castps_si512(a.v), _mm512_set1_epi32(0x7FFFFFFF)),
                                  _mm512_set1_epi32(0x7F800000))};
}
QAT_INLINE std::uint32_t to_bits(Mask a) { return a.v; }
QAT_INLINE Mask from_mask_bits(std::uint32_t bits) { return {static_cast<__mmask16>(bits)}; }
QAT_INLINE void store_uint16(std::uint16_t* p, Int a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(a.v));
}
QAT_INLINE Float half_to_float(const std::uint16_t* p) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
QAT_INLINE Int float_to_half(Float a) { return {_mm512_cvtepu16_epi32(_mm512_cvtps_ph(a.v, 0))}; }
QAT_INLINE Float half_grid(Float a) { return {_mm512_cvtph_ps(_mm512_cvtps_ph(a.v, 0))}; }
/// Two vectors as int16, saturated, in an order that low_bytes_in_order() undoes for two of the results.
QAT_INLINE Int saturated_words(Int a, Int b) { return {_mm512_packs_epi32(a.v, b.v)}; }
QAT_INLINE Int add_words(Int a, Int b) { return {_mm512_adds_epi16(a.v, b.v)}; }
QAT_INLINE Int clamp_words(Int a, Int low, Int high) {
  return {_mm512_min_epi16(_mm512_max_epi16(a.v, low.v), high.v)};
}
QAT_INLINE Int low_bytes_in_order(Int a, Int b) {
  const __m512i low = _mm512_set1_epi16(0xFF);
  return {_mm512_permutexvar_epi32(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15),
                                   _mm512_packus_epi16(_mm512_and_si512(a.v, low), _mm512_and_si512(b.v, low)))};
}
/// Lane kControl >> 2 * i & 3 of every four as lane i of them.
template <int kControl>
QAT_INLINE Float permute_quads(Float a) {
  return {_mm512_shuffle_ps(a.v, a.v, kControl)};
}
QAT_INLINE Float unpack_low(Float a, Float b) { return {_mm512_unpacklo_ps(a.v, b.v)}; }
QAT_INLINE Float unpack_high(Float a, Float b) { return {_mm512_unpackhi_ps(a.v, b.v)}; }
QAT_INLINE Float unpack_low_pairs(Float a, Float b) {
  return {_mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(a.v), _mm512_castps_pd(b.v)))};
}
QAT_INLINE Float unpack_high_pairs(Float a, Float b) {
  return {_mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(a.v), _mm512_castps_pd(b.v)))};
}
#elif QAT_TARGET_LEVEL == 1
QAT_INLINE Int maximum(Int a, Int b) { return {_mm256_max_epi32(a.v, b.v)}; }
QAT_INLINE Mask is_number(Float a) {
  const __m256i magnitude = _mm256_and_si256(_mm256_castps_si256(a.v), _mm256_set1_epi32(0x7FFFFFFF));
  return {_mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32(0x7F800001), magnitude))};
}
QAT_INLINE std::uint32_t to_bits(Mask a) { return static_cast<std::uint32_t>(_mm256_movemask_ps(a.v)); }
QAT_INLINE Mask from_mask_bits(std::uint32_t bits) {
  const __m256i lane = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  return {
      _mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(static_cast<int>(bits)), lane), lane))};
}
QAT_INLINE void store_uint16(std::uint16_t* p, Int a) {
  const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(a.v, a.v), 0x08);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_castsi256_si128(packed));
}
QAT_INLINE Float half_to_float(const std::uint16_t* p) {
  return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
}
QAT_INLINE Int float_to_half(Float a) { return {_mm256_cvtepu16_epi32(_mm256_cvtps_ph(a.v, 0))}; }
QAT_INLINE Float half_grid(Float a) { return {_mm256_cvtph_ps(_mm256_cvtps_ph(a.v, 0))}; }
QAT_INLINE Int saturated_words(Int a, Int b) { return {_mm256_packs_epi32(a.v, b.v)}; }
QAT_INLINE Int add_words(Int a, Int b) { return {_mm256_adds_epi16(a.v, b.v)}; }
QAT_INLINE Int clamp_words(Int a, Int low, Int high) {
  return {_mm256_min_epi16(_mm256_max_epi16(a.v, low.v), high.v)};
}
QAT_INLINE Int low_bytes_in_order(Int a, Int b) {
  const __m256i low = _mm256_set1_epi16(0xFF);
  return {_mm256_permutevar8x32_epi32(_mm256_packus_epi16(_mm256_and_si256(a.v, low), _mm256_and_si256(b.v, low)),
                                      _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7))};
}
QAT_INLINE Float unpack_low(Float a, Float b) { return {_mm256_unpacklo_ps(a.v, b.v)}; }
QAT_INLINE Float unpack_high(Float a, Float b) { return {_mm256_unpackhi_ps(a.v, b.v)}; }
QAT_INLINE Float unpack_low_pairs(Float a, Float b) {
  return {_mm256_castpd_ps(_mm256_unpacklo_pd(_mm256_castps_pd(a.v), _mm256_castps_pd(b.v)))};
}
QAT_INLINE Float unpack_high_pairs(Float a, Float b) {
  return {_mm256_castpd_ps(_mm256_unpackhi_pd(_mm256_castps_pd(a.v), _mm256_castps_pd(b.v)))};
}
#else
QAT_INLINE Int maximum(Int a, Int b) {
  const vec::IntLanes greater = a.v > b.v;
  return {(a.v & greater) | (b.v & ~greater)};
}
QAT_INLINE Mask is_number(Float a) { return {(vec::as_int(a.v) & 0x7FFFFFFF) <= 0x7F800000}; }
QAT_INLINE std::uint32_t to_bits(Mask a) {
  return static_cast<std::uint32_t>((a.v[0] & 1) | (a.v[1] & 2) | (a.v[2] & 4) | (a.v[3] & 8));
}
QAT_INLINE Mask from_mask_bits(std::uint32_t bits) {
  const vec::IntLanes lane = {1, 2, 4, 8};
  return {(vec::set_int(static_cast<std::int32_t>(bits)).v & lane) == lane};
}
QAT_INLINE void store_uint16(std::uint16_t* p, Int a) {
  for (int i = 0; i < 4; ++i) p[i] = static_cast<std::uint16_t>(a.v[i]);
}
#if QAT_HAVE_NEON
QAT_INLINE Float half_to_float(const std::uint16_t* p) {
  double halves;
  Float out;
  __builtin_memcpy(&halves, p, sizeof halves);
  asm("fcvtl %0.4s, %1.4h" : "=w"(out.v) : "w"(halves));
  return out;
}
QAT_INLINE Int float_to_half(Float a) {
  double halves;
  Int out;
  asm("fcvtn %0.4h, %1.4s" : "=w"(halves) : "w"(a.v));
  asm("uxtl %0.4s, %1.4h" : "=w"(out.v) : "w"(halves));
  return out;
}
QAT_INLINE Float half_grid(Float a) {
  asm("fcvtn %0.4h, %0.4s\n\tfcvtl %0.4s, %0.4h" : "+w"(a.v));
  return a;
}
#else
QAT_INLINE Float half_to_float(const std::uint16_t* p) {
  Float out{};
  for (int i = 0; i < 4; ++i) out.v[i] = static_cast<float>(half::from_bits(p[i]));
  return out;
}
QAT_INLINE Int float_to_half(Float a) {
  Int out{};
  for (int i = 0; i < 4; ++i) out.v[i] = half(a.v[i]).bits;
  return out;
}
QAT_INLINE Float half_grid(Float a) {
  for (int i = 0; i < 4; ++i) a.v[i] = static_cast<float>(half(a.v[i]));
  return a;
}
#endif
QAT_INLINE Float unpack_low(Float a, Float b) { return {__builtin_shufflevector(a.v, b.v, 0, 4, 1, 5)}; }
QAT_INLINE Float unpack_high(Float a, Float b) { return {__builtin_shufflevector(a.v, b.v, 2, 6, 3, 7)}; }
QAT_INLINE Float unpack_low_pairs(Float a, Float b) { return {__builtin_shufflevector(a.v, b.v, 0, 1, 4, 5)}; }
QAT_INLINE Float unpack_high_pairs(Float a, Float b) { return {__builtin_shufflevector(a.v, b.v, 2, 3, 6, 7)}; }
#endif

QAT_INLINE Float clamp(Float x, Float low, Float high) { return vec::minimum(high, vec::maximum(low, x)); }
QAT_INLINE Float negate(Float x) { return vec::from_bits(vec::bits(x) + vec::set_int(-0x7FFFFFFF - 1)); }
QAT_INLINE Float signed_as(Float magnitude, Float sign) {
  return vec::from_bits(vec::bits(magnitude) | (vec::bits(sign) & vec::set_int(-0x7FFFFFFF - 1)));
}

// ---------------------------------------------------------------- grids of the element types

QAT_INLINE Float bfloat16_grid(Float a) {
  const Int bits = vec::bits(a);
  const Int odd = vec::shift_right<16>(bits) & vec::set_int(1);
  const Int rounded = (bits + vec::set_int(0x7FFF) + odd) & vec::set_int(-0x10000);
  const Int quiet = (bits & vec::set_int(-0x7FFFFFFF - 1)) | vec::set_int(0x7FC00000);
  return vec::select(is_number(a), vec::from_bits(rounded), vec::from_bits(quiet));
}
QAT_INLINE Float float16_grid(Float a) {  // one NaN a sign, as half's encoder
  const Int quiet = (vec::bits(a) & vec::set_int(-0x7FFFFFFF - 1)) | vec::set_int(0x7FC00000);
  return half_grid(vec::select(is_number(a), a, vec::from_bits(quiet)));
}
/// x, as a value that no compiler fuses into the addition that follows: clang's -ffp-contract=fast overrules its
/// pragma.
QAT_INLINE Float rounded_product(Float x) {
#if defined(__clang__)
  asm("" : "+m"(x.v));
#endif
  return x;
}
template <FloatType kType>
QAT_INLINE Float grid(Float a) {
  if constexpr (kType == FloatType::kFloat16) return float16_grid(a);
  if constexpr (kType == FloatType::kBfloat16) return bfloat16_grid(a);
  return a;
}
QAT_INLINE Float grid_of(FloatType type, Float a) {
  if (type == FloatType::kFloat16) return float16_grid(a);
  if (type == FloatType::kBfloat16) return bfloat16_grid(a);
  return a;
}

/// kLanes elements as fp32.
QAT_INLINE Float load_elements(const float* p) { return vec::load(p); }
QAT_INLINE Float load_elements(const bfloat16* p) {
  return vec::from_bits(vec::shift_left<16>(vec::load_uint16(reinterpret_cast<const std::uint16_t*>(p))));
}
QAT_INLINE Float load_elements(const half* p) { return half_to_float(reinterpret_cast<const std::uint16_t*>(p)); }
/// The first n of kLanes elements, the others equal to `fill`.
template <class D>
QAT_NOINLINE inline Float load_filled(const D* p, index_t n, D fill) {
  D lanes[kLanes];
  for (index_t i = 0; i < kLanes; ++i) lanes[i] = fill;
  for (index_t i = 0; i < n; ++i) lanes[i] = p[i];
  return load_elements(lanes);
}
QAT_INLINE Float load_elements(const float* p, index_t n) { return vec::load(p, n); }
template <class D>
QAT_INLINE Float load_elements(const D* p, index_t n) {
  return load_filled(p, n, D());
}

/// kLanes values that lie on the grid of D.
QAT_INLINE void store_elements(float* p, Float a) { vec::store(p, a); }
QAT_INLINE void store_elements(bfloat16* p, Float a) {
  store_uint16(reinterpret_cast<std::uint16_t*>(p), vec::shift_right<16>(vec::bits(a)));
}
QAT_INLINE void store_elements(half* p, Float a) {
  store_uint16(reinterpret_cast<std::uint16_t*>(p), float_to_half(a));
}
QAT_INLINE void store_elements(float* p, Float a, index_t n) { vec::store(p, a, n); }
template <class D>
QAT_INLINE void store_elements(D* p, Float a, index_t n) {
  D lanes[kLanes];
  store_elements(lanes, a);
  for (index_t i = 0; i < n; ++i) p[i] = lanes[i];
}

// ---------------------------------------------------------------- ranges

struct MaxOfBits {  // of floats without sign, as integers: NaN and infinities win over everything finite
  static QAT_INLINE Float apply(Float a, Float b) { return vec::from_bits(maximum(vec::bits(a), vec::bits(b))); }
};
struct MaxOfFloats {
  static QAT_INLINE Float apply(Float a, Float b) { return vec::maximum(a, b); }
};
struct MinOfFloats {
  static QAT_INLINE Float apply(Float a, Float b) { return vec::minimum(a, b); }
};

/// rows: kLanes vectors. Lane i of the result is the reduction of rows[i].
template <class Op>
QAT_INLINE Float reduce_rows(const Float* rows) {
  Float quad[kLanes / 4];
  for (index_t i = 0; i < kLanes / 4; ++i) {
    const Float a = rows[4 * i], b = rows[4 * i + 1], c = rows[4 * i + 2], d = rows[4 * i + 3];
    const Float ab = Op::apply(unpack_low(a, b), unpack_high(a, b)),
                cd = Op::apply(unpack_low(c, d), unpack_high(c, d));
    quad[i] = Op::apply(unpack_low_pairs(ab, cd), unpack_high_pairs(ab, cd));
  }
#if QAT_TARGET_LEVEL >= 2
  const Float low =
      Op::apply({_mm512_shuffle_f32x4(quad[0].v, quad[1].v, 0x44)}, {_mm512_shuffle_f32x4(quad[0].v, quad[1].v, 0xEE)});
  const Float high =
      Op::apply({_mm512_shuffle_f32x4(quad[2].v, quad[3].v, 0x44)}, {_mm512_shuffle_f32x4(quad[2].v, quad[3].v, 0xEE)});
  return Op::apply({_mm512_shuffle_f32x4(low.v, high.v, 0x88)}, {_mm512_shuffle_f32x4(low.v, high.v, 0xDD)});
#elif QAT_TARGET_LEVEL == 1
  return Op::apply({_mm256_permute2f128_ps(quad[0].v, quad[1].v, 0x20)},
                   {_mm256_permute2f128_ps(quad[0].v, quad[1].v, 0x31)});
#else
  return quad[0];
#endif
}

/// Lane-wise partial results of one tile, before reduce_rows.
struct Extremes {
  Float magnitude, low, high;
  template <bool kMinMax>
  QAT_INLINE void observe(Float x) {
    magnitude = MaxOfBits::apply(vec::abs(x), magnitude);
    if constexpr (kMinMax) {
      low = vec::minimum(x, low);
      high = vec::maximum(x, high);
    }
  }
};

template <class D, bool kMinMax>
QAT_INLINE Extremes extremes_of(const D* x, index_t length) {
  if (length < kLanes) {
    const Float first = load_filled(x, length, x[0]);
    return {vec::abs(first), first, first};
  }
  const Float first = load_elements(x);
  Extremes a{vec::abs(first), first, first};
  index_t i = kLanes;
  if (length >= 8 * kLanes) {
    Extremes b = a, c = a, d = a;
    for (; i + 4 * kLanes <= length; i += 4 * kLanes) {
      a.template observe<kMinMax>(load_elements(x + i));
      b.template observe<kMinMax>(load_elements(x + i + kLanes));
      c.template observe<kMinMax>(load_elements(x + i + 2 * kLanes));
      d.template observe<kMinMax>(load_elements(x + i + 3 * kLanes));
    }
    a.magnitude =
        MaxOfBits::apply(MaxOfBits::apply(a.magnitude, b.magnitude), MaxOfBits::apply(c.magnitude, d.magnitude));
    if constexpr (kMinMax) {
      a.low = vec::minimum(vec::minimum(b.low, c.low), vec::minimum(d.low, a.low));
      a.high = vec::maximum(vec::maximum(b.high, c.high), vec::maximum(d.high, a.high));
    }
  }
  for (; i + kLanes <= length; i += kLanes) a.template observe<kMinMax>(load_elements(x + i));
  if (i < length) a.template observe<kMinMax>(load_filled(x + i, length - i, x[0]));
  return a;
}

/// Ranges of `count` tiles, one a lane.
struct BatchRange {
  alignas(64) float low[kLanes];
  alignas(64) float high[kLanes];
  alignas(64) float extremum[kLanes];  // the largest magnitude where only that is asked for
};

/// x: `count` <= kLanes tiles of `tile` elements, the last of `last`. kTile: a size to compile for, or 0. Returns how
/// many elements are not finite.
template <class D, bool kMinMax, index_t kTile>
QAT_NOINLINE inline index_t ranges_of(const D* x, index_t count, index_t tile, index_t last, bool want_extremum,
                                      BatchRange& out) {
  Float magnitude[kLanes], low[kLanes], high[kLanes], largest = vec::zero();
  for (index_t i = 0; i < kLanes; ++i) {
    if (i >= count) {
      if constexpr (!kMinMax) magnitude[i] = vec::zero();
      if constexpr (kMinMax) low[i] = high[i] = vec::zero();
      continue;
    }
    const index_t length = i + 1 == count ? last : tile;
    const Extremes e =
        length == kTile ? extremes_of<D, kMinMax>(x + i * kTile, kTile) : extremes_of<D, kMinMax>(x + i * tile, length);
    if constexpr (kMinMax) {  // magnitudes serve to find NaN and infinities in any tile
      largest = MaxOfBits::apply(e.magnitude, largest);
      low[i] = e.low;
      high[i] = e.high;
    } else {
      magnitude[i] = e.magnitude;
    }
  }
  if constexpr (!kMinMax) largest = reduce_rows<MaxOfBits>(magnitude);
  if constexpr (kMinMax) {
    const Float lowest = reduce_rows<MinOfFloats>(low), highest = reduce_rows<MaxOfFloats>(high);
    vec::store(out.low, lowest);
    vec::store(out.high, highest);
    if (want_extremum) {
      const Float mirrored = negate(lowest);
      vec::store(out.extremum, vec::select(highest < mirrored, lowest, highest));
      const std::uint32_t ties = to_bits(mirrored == highest);
      if (ties != 0) [[unlikely]] {  // the first of the two counts
        for (index_t i = 0; i < count; ++i)
          if ((ties >> i & 1) != 0) out.extremum[i] = detail::first_of_magnitude(x + i * tile, out.high[i]);
      }
    }
  } else {
    vec::store(out.extremum, largest);
  }
  index_t nonfinite = 0;
  const std::uint32_t finite = to_bits(is_number(largest) & (largest < vec::set(__builtin_inff())));
  constexpr std::uint32_t kAll = (1u << kLanes) - 1u;
  if (finite != kAll) [[unlikely]] {
    for (index_t i = 0; i < count; ++i) {
      if (!kMinMax && (finite >> i & 1) != 0) continue;
      const GroupRange range = detail::range_of_run(x + i * tile, i + 1 == count ? last : tile);
      out.low[i] = range.min;
      out.high[i] = range.max;
      out.extremum[i] = kMinMax || range.extremum > 0.0f ? range.extremum : -range.extremum;
      nonfinite += range.nonfinite;
    }
  }
  return nonfinite;
}

// ---------------------------------------------------------------- parameters of a batch of tiles, one a lane

struct BatchParams {
  alignas(64) float scale[kLanes];
  alignas(64) float zero_point[kLanes];
  alignas(64) float inverse_or_low[kLanes];     // 1/scale; the low end of the range under FloatZeroPoint
  alignas(64) std::int32_t zero_words[kLanes];  // the zero point in both halves, if in_words
  bool in_words = false;                        // every x * (1/s) fits int32: codes may be computed as CodeWords
};

QAT_INLINE Float round_scale(ScaleType type, Float s) {
  Float rounded = vec::abs(s);
  float smallest = 0x1p-126f, largest = 0x1.FFFFFEp127f;
  switch (type) {
    case ScaleType::kFloat16:
      rounded = float16_grid(rounded);
      smallest = 0x1p-14f;
      largest = 65504.0f;
      break;
    case ScaleType::kBfloat16:
      rounded = bfloat16_grid(rounded);
      largest = 0x1.FEp127f;
      break;
    case ScaleType::kBfloat16Safe:
      rounded = bfloat16_grid(rounded);
      smallest = 0x1p-14f;
      largest = 0x1.FEp15f;
      break;
    case ScaleType::kE8M0:
      rounded = vec::from_bits((vec::bits(rounded) + vec::set_int(0x7FFFFF)) & vec::set_int(0x7F800000));
      largest = 0x1p127f;
      break;
    case ScaleType::kE4M3: {
      float lanes[kLanes];
      vec::store(lanes, rounded);
      for (index_t i = 0; i < kLanes; ++i) lanes[i] = static_cast<float>(float8_e4m3(lanes[i]));
      rounded = vec::load(lanes);
      smallest = 0x1p-6f;
      largest = 448.0f;
      break;
    }
    case ScaleType::kGgmlHalf:
      rounded = float16_grid(rounded);
      smallest = 0x1p-24f;
      largest = 65504.0f;
      break;
    default:
      break;
  }
  return signed_as(clamp(rounded, vec::set(smallest), vec::set(largest)), s);
}

/// Parameters of a tile in every lane, or of one tile a lane.
struct Params {
  Float scale, zero_point, inverse_or_low;
};

QAT_INLINE Params finished(Float scale, Float zero_point, const AffineScheme& a) {
  if (has_float_zero_point(a.spec.mapping)) {
    const Float middle = vec::set(a.middle());
    return {scale, zero_point, grid_of(a.scale, zero_point - grid_of(a.scale, scale * middle))};
  }
  return {scale, zero_point, grid_of(a.scale, vec::set(1.0f) / scale)};
}
QAT_INLINE void store_params(const Params& p, BatchParams& out) {
  vec::store(out.scale, p.scale);
  vec::store(out.zero_point, p.zero_point);
  vec::store(out.inverse_or_low, p.inverse_or_low);
}
QAT_NOINLINE inline void finish_params(Float scale, Float zero_point, const AffineScheme& a, BatchParams& out) {
  store_params(finished(scale, zero_point, a), out);
}

inline Float in_input_grid(const AffineScheme& a, Float x) {
  const float largest = largest_finite(a.input);
  return clamp(grid_of(a.input, x), vec::set(-largest), vec::set(largest));
}

/// choose_qparams of affine.hpp, one tile a lane. extremum: of the symmetric mappings; low, high: of the others.
QAT_INLINE Params chosen_params(Float low, Float high, Float extremum, const AffineScheme& a) {
  const MappingKind mapping = a.spec.mapping;
  const Float zero = vec::zero();
  Float mn = zero, mx = zero, s = zero;
  const bool raw = has_float_zero_point(mapping) || mapping == MappingKind::kAsymmetricRaw;
  if (mapping != MappingKind::kSymmetric && mapping != MappingKind::kSignedExtremum) {
    mn = low;
    mx = high;
    if (!raw) {
      mn = vec::select(mn < zero, mn, zero);
      mx = vec::select(zero < mx, mx, zero);
    }
  }
  switch (mapping) {
    case MappingKind::kSymmetric:
      s = in_input_grid(a, extremum / vec::set((a.qmax - a.qmin) * 0.5f));
      break;
    case MappingKind::kSymmetricNoClip:
      s = vec::maximum(a.qmin < 0.0f ? in_input_grid(a, mn / vec::set(a.qmin)) : zero,
                       a.qmax > 0.0f ? in_input_grid(a, mx / vec::set(a.qmax)) : zero);
      break;
    case MappingKind::kSignedExtremum:
      s = in_input_grid(a, extremum / vec::set(a.qmin));
      break;
    default:
      s = in_input_grid(a, in_input_grid(a, mx - mn) / vec::set(a.qmax - a.qmin));
      break;
  }
  const Float magnitude = in_input_grid(a, vec::maximum(vec::abs(s), vec::set(a.eps)));
  s = vec::select(s < zero, negate(magnitude), magnitude);

  Float z = vec::set(a.spec.is_signed ? 0.0f : a.middle());
  if (has_float_zero_point(mapping)) {
    z = grid_of(a.scale, in_input_grid(a, mn + in_input_grid(a, s * vec::set(a.middle()))));
  } else if (mapping == MappingKind::kAsymmetric || mapping == MappingKind::kAsymmetricRaw) {
    const Float steps = vec::round_even(in_input_grid(a, mn / s));
    z = clamp(in_input_grid(a, vec::set(a.qmin) - steps), vec::set(a.qmin), vec::set(a.qmax));
  }
  if (has_ggml_scale(a.spec)) {  // of kSymmetric
    const Float bound = vec::set((a.qmax - a.qmin) * 0.5f);
    const auto by_range = vec::set(a.eps) <= extremum / bound;
    const Float inverse = vec::select(by_range, bound / extremum, vec::set(1.0f) / s);
    if (a.spec.scale_type == ScaleType::kGgmlHalf)
      return {round_scale(ScaleType::kGgmlHalf, s), z, vec::select(vec::set(0x1p-25f) < s, inverse, zero)};
    return {round_scale(ScaleType::kGgmlFloat, vec::select(by_range, vec::set(1.0f) / inverse, s)), z, inverse};
  }
  return finished(round_scale(a.spec.scale_type, s), z, a);
}
QAT_NOINLINE inline void choose_params(const BatchRange& range, const AffineScheme& a, BatchParams& out) {
  const bool symmetric = a.spec.mapping == MappingKind::kSymmetric,
             extremum = a.spec.mapping == MappingKind::kSignedExtremum;
  const Float none = vec::zero();
  store_params(chosen_params(symmetric ? none : vec::load(range.low), symmetric ? none : vec::load(range.high),
                             symmetric || extremum ? vec::load(range.extremum) : none, a),
               out);
}

// ---------------------------------------------------------------- elements

/// D: grid of the tensor, P: of its products with the scale; kFloatZero: FloatZeroPoint.
template <FloatType D, FloatType P, bool kFloatZero>
struct Arithmetic {
  Float qmin, qmax, middle;

  QAT_INLINE explicit Arithmetic(const AffineScheme& a)
      : qmin(vec::set(a.qmin)), qmax(vec::set(a.qmax)), middle(vec::set(a.middle())) {}

  QAT_INLINE Float unclamped_code(Float x, const Params& p) const {
    if constexpr (kFloatZero) {  // + 0: the code is an integer, which has no -0
      return vec::round_even(grid<P>(grid<P>(x - p.inverse_or_low) / p.scale)) + vec::zero();
    } else {
      return grid<P>(vec::round_even(grid<P>(x * p.inverse_or_low)) + p.zero_point);
    }
  }
  QAT_INLINE Float code(Float x, Float unclamped, const Params& p) const {
    return vec::select(is_number(x), clamp(unclamped, qmin, qmax), kFloatZero ? middle : p.zero_point);
  }
  QAT_INLINE Float dequantize(Float code, const Params& p) const {
    if constexpr (kFloatZero) {
      return grid<D>(rounded_product(grid<D>(grid<D>(code - middle) * p.scale)) + p.zero_point);
    } else {
      return grid<D>(grid<P>(grid<D>(code - p.zero_point) * p.scale));
    }
  }
  QAT_INLINE Float scale_gradient(Float dy, const Params& p) const {
    const Float steps = grid<D>(grid<P>(dy * p.scale));
    if constexpr (kFloatZero) return grid<D>(grid<P>(steps / p.scale));
    return grid<D>(grid<P>(steps * p.inverse_or_low));
  }
};

/// Appends bits to memory, least significant first.
struct BitWriter {
  std::uint8_t* p;
  std::uint64_t word = 0;
  int filled;
  /// Continues at any bit; the bits before it in its byte are kept.
  QAT_INLINE BitWriter(std::uint8_t* mask, index_t bit)
      : p(mask == nullptr ? nullptr : mask + bit / 8), filled(static_cast<int>(bit % 8)) {
    if (p != nullptr && filled != 0) word = *p & ((1u << filled) - 1u);
  }
  QAT_INLINE void put(std::uint32_t bits, index_t n) {
    word |= static_cast<std::uint64_t>(bits & ((1u << n) - 1u)) << filled;
    filled += static_cast<int>(n);
    if (filled >= 32) {
      const std::uint32_t low = static_cast<std::uint32_t>(word);
      __builtin_memcpy(p, &low, 4);
      p += 4;
      word >>= 32;
      filled -= 32;
    }
  }
  QAT_INLINE void flush() {
    for (; filled > 0; filled -= 8, word >>= 8) *p++ = static_cast<std::uint8_t>(word);
    filled = 0;
  }
};
/// Bits [i, i + n), n <= 16, of a mask.
QAT_INLINE std::uint32_t bits_at(const std::uint8_t* p, index_t i, index_t n) {
  std::uint32_t bits = 0;
  const index_t first = i / 8, last = (i + n - 1) / 8;
  for (index_t byte = first; byte <= last; ++byte) bits |= static_cast<std::uint32_t>(p[byte]) << (8 * (byte - first));
  return bits >> (i % 8);
}

template <QuantizeOp kOp, class D, FloatType P, bool kFloatZero, bool kStream>
struct Elements {
  using Job = detail::QuantizeJob<D>;
  const Job& job;
  Arithmetic<kFloatTypeOf<D>, P, kFloatZero> arithmetic;
  Float mask_low, mask_high;
  Int code_bits;
  BitWriter writer;

  static constexpr bool kWritesMask = kOp == QuantizeOp::kFakeQuantizeMask || kOp == QuantizeOp::kQuantizeMask;

  QAT_INLINE Elements(const Job& j, index_t offset)
      : job(j),
        arithmetic(j.scheme),
        mask_low(vec::set(j.mask_low)),
        mask_high(vec::set(j.mask_high)),
        code_bits(vec::set_int(j.scheme.spec.is_signed ? -1 : 0xFF)),
        writer(kWritesMask ? j.mask_out : nullptr, offset) {}

  template <bool kFull>
  QAT_INLINE Float read(const D* p, index_t n) const {
    if constexpr (kFull) return load_elements(p);
    return load_elements(p, n);
  }
  template <bool kFull>
  QAT_INLINE void write(D* p, Float value, index_t n) const {
    if constexpr (!kFull) {
      store_elements(p, value, n);
    } else if constexpr (kStream) {
      vec::stream(p, value);
    } else {
      store_elements(p, value);
    }
  }
  QAT_INLINE Mask passes(Float x, Float unclamped) const {
    return (mask_low <= unclamped) & (unclamped <= mask_high) & is_number(x);
  }

  /// Elements [i, i + n) of the tensor; kFull: n is kLanes.
  template <bool kFull>
  QAT_INLINE void step(index_t i, index_t n, const Params& p) {
    if constexpr (kOp == QuantizeOp::kFakeQuantize || kOp == QuantizeOp::kFakeQuantizeMask) {
      const Float x = read<kFull>(job.x + i, n);
      const Float unclamped = arithmetic.unclamped_code(x, p);
      if constexpr (kWritesMask) writer.put(to_bits(passes(x, unclamped)), n);
      write<kFull>(job.y + i, arithmetic.dequantize(arithmetic.code(x, unclamped, p), p), n);
    } else if constexpr (kOp == QuantizeOp::kQuantize || kOp == QuantizeOp::kQuantizeMask) {
      const Float x = read<kFull>(job.x + i, n);
      const Float unclamped = arithmetic.unclamped_code(x, p);
      if constexpr (kWritesMask) writer.put(to_bits(passes(x, unclamped)), n);
      const Int code = vec::to_int(arithmetic.code(x, unclamped, p));
      if constexpr (kFull) {
        vec::store_low_bytes(job.codes_out + i, code);
      } else {
        std::int8_t lanes[kLanes];
        vec::store_low_bytes(lanes, code);
        for (index_t k = 0; k < n; ++k) job.codes_out[i + k] = lanes[k];
      }
    } else if constexpr (kOp == QuantizeOp::kDequantize) {
      std::int8_t lanes[kLanes] = {};
      if constexpr (!kFull)
        for (index_t k = 0; k < n; ++k) lanes[k] = job.codes[i + k];
      const Int code = vec::load_int8(kFull ? job.codes + i : lanes) & code_bits;
      write<kFull>(job.y + i, arithmetic.dequantize(vec::to_float(code), p), n);
    } else if constexpr (kOp == QuantizeOp::kBackward || kOp == QuantizeOp::kBackwardMasked) {
      Mask pass;
      if constexpr (kOp == QuantizeOp::kBackward) {
        const Float x = read<kFull>(job.x + i, n);
        pass = passes(x, arithmetic.unclamped_code(x, p));
      } else {
        pass = from_mask_bits(bits_at(job.mask, i, n));
      }
      Float g = vec::select(pass, arithmetic.scale_gradient(read<kFull>(job.dy + i, n), p), vec::zero());
      if (job.accumulate) g = grid<kFloatTypeOf<D>>(read<kFull>(job.y + i, n) + g);
      write<kFull>(job.y + i, g, n);
    }
  }
};

#if QAT_TARGET_LEVEL >= 1
inline constexpr bool kHasCodeWords = true;
/// Codes of finite elements as int16: round(x * (1/s)) saturates far outside [qmin, qmax], and so does the addition of
/// the zero point, so that clamping gives the codes of the definition. Needs x * (1/s) inside int32.
struct CodeWords {
  Int low, high;
  QAT_INLINE explicit CodeWords(const AffineScheme& a)
      : low(words(static_cast<int>(a.qmin))), high(words(static_cast<int>(a.qmax))) {}
  static QAT_INLINE Int words(int value) {
    return vec::set_int(static_cast<std::int32_t>((static_cast<std::uint32_t>(value) & 0xFFFFu) * 0x10001u));
  }
  /// Two vectors of one tile.
  QAT_INLINE Int of(const float* x, const BatchParams& params, index_t lane) const {
    const Float inverse = vec::set(params.inverse_or_low[lane]);
    const Int steps =
        saturated_words(vec::to_int(vec::load(x) * inverse), vec::to_int(vec::load(x + kLanes) * inverse));
    return clamp_words(add_words(steps, vec::set_int(params.zero_words[lane])), low, high);
  }
  /// Four vectors: two of the tile of lane `a`, two of that of lane `b`.
  QAT_INLINE void store(const float* x, const BatchParams& params, index_t a, index_t b, std::int8_t* codes) const {
    vec::store_int(reinterpret_cast<std::int32_t*>(codes),
                   low_bytes_in_order(of(x, params, a), of(x + 2 * kLanes, params, b)));
  }
};
/// Fills what CodeWords needs of tiles whose largest magnitudes are given.
QAT_INLINE void allow_words(Float magnitude, BatchParams& params) {
  const Mask fits = magnitude * vec::abs(vec::load(params.inverse_or_low)) < vec::set(0x1p30f);
  params.in_words = to_bits(fits) == (1u << kLanes) - 1u;
  const Int zero = vec::to_int(vec::load(params.zero_point));
  vec::store_int(params.zero_words, (zero & vec::set_int(0xFFFF)) | vec::shift_left<16>(zero));
}
#else
inline constexpr bool kHasCodeWords = false;
struct CodeWords {
  QAT_INLINE explicit CodeWords(const AffineScheme&) {}
  QAT_INLINE void store(const float*, const BatchParams&, index_t, index_t, std::int8_t*) const {}
};
QAT_INLINE void allow_words(Float, BatchParams&) {}
#endif

/// Tiles of a batch, as many as fit 16 KiB: a vector of them where their parameters are chosen from what was just read,
/// four where they are given, as the divisions of several vectors overlap.
inline constexpr index_t kGivenVectors = 4, kGivenAhead = 512;
QAT_INLINE index_t batch_tiles(index_t tile, bool given) {
  const index_t fit = 4096 / tile, most = given ? kGivenVectors * kLanes : index_t{kLanes};
  return fit < 1 ? 1 : fit < most ? fit : most;
}

/// The parameters that are given for `count` <= kLanes tiles, or chosen from x: these begin at element `offset`, the
/// last of them of `last` elements. Returns how many elements are not finite.
template <index_t kTile, bool kWords, class D>
QAT_INLINE index_t params_of(const detail::QuantizeJob<D>& job, index_t offset, index_t index, index_t count,
                             index_t tile, index_t last, BatchParams& params) {
  const AffineScheme& a = job.scheme;
  if (job.scale != nullptr) {
    // A line of them lasts for kilobytes of elements, too long for a prefetcher to remember it.
    __builtin_prefetch(job.scale + index + kGivenAhead);
    if (job.zero_point != nullptr) __builtin_prefetch(job.zero_point + index + kGivenAhead);
    const Float zero_point = job.zero_point != nullptr ? vec::load(job.zero_point + index, count)
                                                       : vec::set(a.spec.is_signed ? 0.0f : a.middle());
    finish_params(vec::load(job.scale + index, count), zero_point, a, params);
    return 0;
  }
  BatchRange range;
  const D* const x = job.x + offset;
  const bool want_extremum = a.spec.mapping == MappingKind::kSignedExtremum;
  const index_t nonfinite = a.spec.mapping == MappingKind::kSymmetric
                                ? ranges_of<D, false, kTile>(x, count, tile, last, false, range)
                                : ranges_of<D, true, kTile>(x, count, tile, last, want_extremum, range);
  choose_params(range, a, params);
  if constexpr (kWords) {
    if (nonfinite == 0) {
      const Float magnitude = a.spec.mapping == MappingKind::kSymmetric
                                  ? vec::load(range.extremum)
                                  : vec::maximum(vec::abs(vec::load(range.low)), vec::abs(vec::load(range.high)));
      allow_words(magnitude, params);
    }
  }
  if (job.scale_out != nullptr) vec::store(job.scale_out + index, vec::load(params.scale), count);
  if (job.zero_point_out != nullptr) vec::store(job.zero_point_out + index, vec::load(params.zero_point), count);
  return nonfinite;
}

/// What dequantizing a tile needs of its given parameters.
template <class D>
QAT_INLINE Params given_params(const detail::QuantizeJob<D>& job, index_t tile) {
  const AffineScheme& a = job.scheme;
  const float zero_point = job.zero_point != nullptr ? job.zero_point[tile] : a.spec.is_signed ? 0.0f : a.middle();
  return {vec::set(job.scale[tile]), vec::set(zero_point), vec::zero()};
}

/// kTile: the tile size, or 0 for job-time sizes.
template <QuantizeOp kOp, class D, FloatType P, bool kFloatZero, bool kStream, index_t kTile>
inline index_t run_batches(const detail::QuantizeJob<D>& job, const detail::TileRun& run) {
  // The ranges of a large batch are read at once, so its elements are asked for while those before it are written.
  constexpr bool kPrefetches = kStream && kOp == QuantizeOp::kFakeQuantize && kTile == 0;
  constexpr index_t kAhead = 4;  // batches: codes take little time to write, and packing them some
  constexpr bool kWords = kOp == QuantizeOp::kQuantize && std::is_same_v<D, float> && !kFloatZero && kHasCodeWords;
  const index_t tile = kTile != 0 ? kTile : run.tile;
  const index_t batch = batch_tiles(tile, job.scale != nullptr);
  const CodeWords code_words(job.scheme);
  Elements<kOp, D, P, kFloatZero, kStream> elements(job, run.offset);
  index_t nonfinite = 0;
  for (index_t t = 0; t < run.count; t += batch) {
    const index_t end = run.count - t < batch ? run.count : t + batch;
    BatchParams params[kGivenVectors];
    for (index_t i = kOp == QuantizeOp::kDequantize ? end : t; i < end; i += kLanes) {
      const index_t count = end - i < kLanes ? end - i : kLanes;
      nonfinite += params_of<kTile, kWords>(job, run.offset + i * tile, run.first_tile + i, count, tile,
                                            i + count == run.count ? run.last : tile, params[(i - t) / kLanes]);
    }
    for (index_t i = kOp == QuantizeOp::kChoose ? end : t; i < end; ++i) {
      const BatchParams& own = params[(i - t) / kLanes];
      const index_t lane = (i - t) % kLanes;
      const Params p =
          kOp == QuantizeOp::kDequantize
              ? given_params(job, run.first_tile + i)
              : Params{vec::set(own.scale[lane]), vec::set(own.zero_point[lane]), vec::set(own.inverse_or_low[lane])};
      const index_t begin = run.offset + i * tile, length = i + 1 == run.count ? run.last : tile;
      index_t k = 0;
      if constexpr (kWords) {
        if (own.in_words && kTile == 2 * kLanes && i + 1 < end && (i + 2 < run.count || run.last == tile)) {
          for (index_t line = 0; line < 2 * tile; line += 16)
            __builtin_prefetch(job.x + begin + line + kAhead * batch * tile);
          code_words.store(job.x + begin, own, lane, lane + 1, job.codes_out + begin);
          ++i;
          continue;
        }
        if (own.in_words)
          for (; k + 4 * kLanes <= length; k += 4 * kLanes) {
            for (index_t line = 0; line < 4 * kLanes; line += 16)
              __builtin_prefetch(job.x + begin + k + line + batch * tile);
            code_words.store(job.x + begin + k, own, lane, lane, job.codes_out + begin + k);
          }
      }
      if (kTile != 0 && k == 0 && length == kTile) {
        QAT_UNROLL(8)
        for (index_t vector = 0; vector < kTile; vector += kLanes)
          elements.template step<true>(begin + vector, kLanes, p);
        continue;
      }
      for (; k + kLanes <= length; k += kLanes) {
        if constexpr (kPrefetches) __builtin_prefetch(job.x + begin + k + batch * tile);
        elements.template step<true>(begin + k, kLanes, p);
      }
      if (k < length) elements.template step<false>(begin + k, length - k, p);
    }
  }
  if constexpr (kOp == QuantizeOp::kFakeQuantizeMask || kOp == QuantizeOp::kQuantizeMask) elements.writer.flush();
  if constexpr (kStream) vec::stream_fence();
  return nonfinite;
}

#if QAT_TARGET_LEVEL >= 2
/// Blocks of 128 elements that stay in registers between the choice of their parameters and their use: four rows of two
/// vectors, tiles of 32, 64 or 128 elements.
inline constexpr index_t kBlock = 128;

/// Lane i of every four: the reduction of the tile of row i % 4.
template <class Op>
QAT_INLINE Float reduce_block(const Float* rows, index_t tile) {
  const Float ab = Op::apply(unpack_low(rows[0], rows[1]), unpack_high(rows[0], rows[1])),
              cd = Op::apply(unpack_low(rows[2], rows[3]), unpack_high(rows[2], rows[3]));
  Float quads = Op::apply(unpack_low_pairs(ab, cd), unpack_high_pairs(ab, cd));
  if (tile >= 64) quads = Op::apply(quads, permute_quads<0xB1>(quads));
  if (tile >= 128) quads = Op::apply(quads, permute_quads<0x4E>(quads));
  quads = Op::apply(quads, {_mm512_shuffle_f32x4(quads.v, quads.v, 0x4E)});
  return Op::apply(quads, {_mm512_shuffle_f32x4(quads.v, quads.v, 0xB1)});
}

/// What the compiler may know of a scheme. kSymmetric: Symmetric of a signed type, whose zero points are 0. kPlain:
/// with fp32 scales as well, so that no code of an element in the range of its tile, scaled to +-(qmax - qmin)/2,
/// rounds to less than qmin.
enum class Known { kAny, kSymmetric, kPlain };
template <bool kPlain>
inline constexpr Known kKnownIf = kPlain ? Known::kPlain : Known::kAny;
template <Known kKnown>
QAT_INLINE AffineScheme known_scheme(AffineScheme a) {
  a.input = a.product = FloatType::kFloat32;
  if constexpr (kKnown != Known::kAny) {
    a.spec.mapping = MappingKind::kSymmetric;
    a.spec.is_signed = true;
  }
  if constexpr (kKnown == Known::kPlain) {
    a.spec.scale_type = ScaleType::kFloat32;
    a.scale = FloatType::kFloat32;
  }
  return a;
}
inline Known known_of(const AffineScheme& a) {
  if (a.spec.mapping != MappingKind::kSymmetric || !a.spec.is_signed) return Known::kAny;
  return a.spec.scale_type == ScaleType::kFloat32 ? Known::kPlain : Known::kSymmetric;
}

/// Chooses the parameters of row i % 4 into lane i. False: there are elements that are not finite, nothing is chosen.
/// magnitude: the largest of the tile of row i % 4.
template <Known kKnown>
QAT_INLINE bool choose_block(const Float* x, index_t tile, const AffineScheme& a, Params& p, Float& magnitude) {
  Float rows[4], low[4], high[4];
  QAT_UNROLL(4)
  for (int i = 0; i < 4; ++i) {
    rows[i] = MaxOfBits::apply(vec::abs(x[2 * i]), vec::abs(x[2 * i + 1]));
    if constexpr (kKnown == Known::kAny) {
      low[i] = vec::minimum(x[2 * i], x[2 * i + 1]);
      high[i] = vec::maximum(x[2 * i], x[2 * i + 1]);
    }
  }
  magnitude = reduce_block<MaxOfBits>(rows, tile);
  const Mask finite = is_number(magnitude) & (magnitude < vec::set(__builtin_inff()));
  if (to_bits(finite) != (1u << kLanes) - 1u) [[unlikely]]
    return false;
  if constexpr (kKnown == Known::kPlain) {  // chosen_params() of a magnitude
    const Float smallest = vec::maximum(vec::set(a.eps), vec::set(0x1p-126f));
    const Float s =
        vec::minimum(vec::maximum(magnitude / vec::set((a.qmax - a.qmin) * 0.5f), smallest), vec::set(0x1.FFFFFEp127f));
    p = {s, vec::zero(), vec::set(1.0f) / s};
  } else if constexpr (kKnown == Known::kSymmetric) {
    p = chosen_params(vec::zero(), vec::zero(), magnitude, a);
  } else {
    p = chosen_params(reduce_block<MinOfFloats>(low, tile), reduce_block<MaxOfFloats>(high, tile), magnitude, a);
  }
  return true;
}
QAT_INLINE void load_block(const float* p, Float* x) {
  QAT_UNROLL(8)
  for (int i = 0; i < 8; ++i) x[i] = vec::load(p + i * kLanes);
}
/// lanes: of rows. Stores those of tiles.
QAT_INLINE void store_of_tiles(float* p, Float lanes, index_t tile) {
  vec::store(p, tile == 64 ? permute_quads<0x08>(lanes) : lanes, kBlock / tile);
}
/// Whether tiles can be worked on in blocks. SignedExtremum takes the first of two extrema, which blocks do not know.
inline bool has_blocks(const AffineScheme& a, index_t tile) {
  return a.spec.mapping != MappingKind::kSignedExtremum && !has_float_zero_point(a.spec.mapping) &&
         a.spec.levels == Levels::kAll && (tile == 32 || tile == 64 || tile == 128);
}

/// Consecutive blocks, one after the other: each is in registers before its turn.
template <bool kPlain, bool kStream>
struct FakeQuantizeBlocks {
  const detail::QuantizeJob<float>& job;
  const AffineScheme& scheme;
  Arithmetic<FloatType::kFloat32, FloatType::kFloat32, false> arithmetic;
  index_t offset, first_tile, tile, count;
  Float x[8];

  QAT_INLINE FakeQuantizeBlocks(const detail::QuantizeJob<float>& j, const AffineScheme& a, const detail::TileRun& run,
                                index_t begin, index_t n)
      : job(j),
        scheme(a),
        arithmetic(a),
        offset(run.offset + begin * kBlock),
        first_tile(run.first_tile + begin * (kBlock / run.tile)),
        tile(run.tile),
        count(n) {
    load(job.x + offset);
  }
  QAT_INLINE void load(const float* p) { load_block(p, x); }
  /// The value of an element that is finite.
  QAT_INLINE Float value(Float element, const Params& p) const {
    if constexpr (kPlain) {  // + 0: the code of -0 is +0
      const Float code = vec::minimum(vec::round_even(element * p.inverse_or_low), arithmetic.qmax);
      return vec::fused_mul_add(code, p.scale, vec::zero());
    }
    return arithmetic.dequantize(clamp(arithmetic.unclamped_code(element, p), arithmetic.qmin, arithmetic.qmax), p);
  }
  /// Writes row kRow and reads that of the next block: loads and stores that alternate run as fast as a copy.
  template <int kRow>
  QAT_INLINE void row(const Params& block, float* y, const float* next) {
    constexpr int kLane = 0x55 * kRow;
    const Params p{permute_quads<kLane>(block.scale), permute_quads<kLane>(block.zero_point),
                   permute_quads<kLane>(block.inverse_or_low)};
    QAT_UNROLL(2)
    for (int i = 2 * kRow; i < 2 * kRow + 2; ++i) {
      const Float out = value(x[i], p);
      kStream ? vec::stream(y + i * kLanes, out) : vec::store(y + i * kLanes, out);
      x[i] = vec::load(next + i * kLanes);
    }
  }
  /// Block b. slow(its first tile, tiles) does one with elements that are not finite and returns how many they are.
  template <class Slow>
  QAT_INLINE index_t run(index_t b, const Slow& slow) {
    const float* const next = job.x + offset + (b + 1 < count ? b + 1 : b) * kBlock;
    const index_t tiles = kBlock / tile, first = first_tile + b * tiles;
    Params p;
    Float magnitude;
    if (!choose_block<kKnownIf<kPlain>>(x, tile, scheme, p, magnitude)) [[unlikely]] {
      const index_t nonfinite = slow(first, tiles);
      load(next);
      return nonfinite;
    }
    if (job.scale_out != nullptr) store_of_tiles(job.scale_out + first, p.scale, tile);
    if (job.zero_point_out != nullptr) store_of_tiles(job.zero_point_out + first, p.zero_point, tile);
    float* const y = job.y + offset + b * kBlock;
    row<0>(p, y, next);
    row<1>(p, y, next);
    row<2>(p, y, next);
    row<3>(p, y, next);
    return 0;
  }
};

/// Fake quantization of a run of tiles with chosen parameters: blocks, and what is left or not finite in batches. Where
/// memory is the limit, from two places at once, which the hardware serves faster than one.
template <bool kPlain, bool kStream>
QAT_NOINLINE inline index_t fake_quantize_blocks(const detail::QuantizeJob<float>& job, const detail::TileRun& run) {
  const AffineScheme a = known_scheme<kKnownIf<kPlain>>(job.scheme);
  const index_t tiles = kBlock / run.tile;
  const index_t blocks = (run.last == run.tile ? run.count : run.count - 1) / tiles,
                half = kStream ? blocks / 2 : blocks;
  const auto batches = [&](index_t first, index_t count) {
    const index_t t = first - run.first_tile, last = t + count == run.count ? run.last : run.tile;
    return run_batches<QuantizeOp::kFakeQuantize, float, FloatType::kFloat32, false, kStream, 0>(
        job, {run.offset + t * run.tile, first, count, run.tile, last});
  };
  index_t nonfinite = 0, done = 0;
  if (half > 0) {
    FakeQuantizeBlocks<kPlain, kStream> one(job, a, run, 0, half);
    if constexpr (kStream) {
      FakeQuantizeBlocks<kPlain, kStream> two(job, a, run, half, half);
      for (index_t b = 0; b < half; ++b) {
        nonfinite += one.run(b, batches);
        nonfinite += two.run(b, batches);
      }
      done = 2 * half * tiles;
    } else {
      for (index_t b = 0; b < half; ++b) nonfinite += one.run(b, batches);
      done = half * tiles;
    }
  }
  if (done < run.count) nonfinite += batches(run.first_tile + done, run.count - done);
  if constexpr (kStream) vec::stream_fence();
  return nonfinite;
}

/// Lane-wise range of a row, four vectors at a time.
struct RowRange {
  Float magnitude[2], low[2], high[2];

  QAT_INLINE explicit RowRange(const float* x) {
    const Float first = vec::load(x);
    for (int i = 0; i < 2; ++i) {
      magnitude[i] = vec::abs(first);
      low[i] = high[i] = first;
    }
  }
  QAT_INLINE void observe(const float* x) {
    QAT_UNROLL(4)
    for (int i = 0; i < 4; ++i) {
      const Float v = vec::load(x + i * kLanes);
      magnitude[i % 2] = MaxOfBits::apply(vec::abs(v), magnitude[i % 2]);
      low[i % 2] = vec::minimum(v, low[i % 2]);
      high[i % 2] = vec::maximum(v, high[i % 2]);
    }
  }
  /// The parameters in every lane. False: there are elements that are not finite, nothing is chosen.
  QAT_INLINE bool choose(const AffineScheme& a, Params& p) const {
    const Float largest = in_all_lanes<MaxOfBits>(magnitude);
    const Mask finite = is_number(largest) & (largest < vec::set(__builtin_inff()));
    if (to_bits(finite) != (1u << kLanes) - 1u) [[unlikely]]
      return false;
    p = chosen_params(in_all_lanes<MinOfFloats>(low), in_all_lanes<MaxOfFloats>(high), largest, a);
    return true;
  }

 private:
  template <class Op>
  static QAT_INLINE Float in_all_lanes(const Float* two) {
    const Float rows[4] = {two[0], two[1], two[0], two[1]};
    return reduce_block<Op>(rows, kBlock);
  }
};
/// Whether tiles are rows that fake_quantize_rows() takes: two of them fit the first-level cache, or nearly.
inline bool has_rows(const AffineScheme& a, const detail::TileRun& run) {
  return a.spec.mapping != MappingKind::kSignedExtremum && run.tile >= 1024 && run.tile <= 16384 &&
         run.tile % (4 * kLanes) == 0 && run.last == run.tile;
}

/// Fake quantization of rows with chosen parameters where memory is the limit: the range of the next row is found while
/// this one is written, and the row after it is asked for.
QAT_NOINLINE inline index_t fake_quantize_rows(const detail::QuantizeJob<float>& job, const detail::TileRun& run) {
  constexpr index_t kStep = 4 * kLanes;
  const AffineScheme a = known_scheme<Known::kAny>(job.scheme);
  const Arithmetic<FloatType::kFloat32, FloatType::kFloat32, false> arithmetic(a);
  const index_t tile = run.tile;
  const float* x = job.x + run.offset;
  float* y = job.y + run.offset;
  RowRange range(x);
  for (index_t k = 0; k < tile; k += kStep) range.observe(x + k);
  index_t nonfinite = 0;
  for (index_t r = 0; r < run.count; ++r, x += tile, y += tile) {
    const index_t index = run.first_tile + r;
    const float* const next = r + 1 < run.count ? x + tile : x;
    Params p;
    const bool chosen = range.choose(a, p);
    range = RowRange(next);
    if (!chosen) [[unlikely]] {
      for (index_t k = 0; k < tile; k += kStep) range.observe(next + k);
      nonfinite += run_batches<QuantizeOp::kFakeQuantize, float, FloatType::kFloat32, false, true, 0>(
          job, {run.offset + r * tile, index, 1, tile, tile});
      continue;
    }
    if (job.scale_out != nullptr) vec::store(job.scale_out + index, p.scale, 1);
    if (job.zero_point_out != nullptr) vec::store(job.zero_point_out + index, p.zero_point, 1);
    for (index_t k = 0; k < tile; k += kStep) {
      range.observe(next + k);
      QAT_UNROLL(4)
      for (index_t i = k; i < k + kStep; i += kLanes) __builtin_prefetch(next + tile + kStep + i);
      QAT_UNROLL(4)
      for (index_t i = k; i < k + kStep; i += kLanes) {
        const Float unclamped = arithmetic.unclamped_code(vec::load(x + i), p);
        vec::stream(y + i, arithmetic.dequantize(clamp(unclamped, arithmetic.qmin, arithmetic.qmax), p));
      }
    }
  }
  vec::stream_fence();
  return nonfinite;
}
#endif

template <QuantizeOp kOp, class D, FloatType P, bool kFloatZero>
inline index_t run_typed(const detail::QuantizeJob<D>& job, const detail::TileRun& run) {
  // A non-temporal store needs its alignment at the start of every tile.
  constexpr bool kPlain = std::is_same_v<D, float> && !kFloatZero;
  constexpr bool kCanStream =
      kPlain && (kOp == QuantizeOp::kFakeQuantize || kOp == QuantizeOp::kDequantize || kOp == QuantizeOp::kBackward);
  if constexpr (kCanStream) {
    const bool aligned = reinterpret_cast<std::uintptr_t>(job.y + run.offset) % sizeof(Float) == 0;
    const bool streams = job.stream && aligned && run.tile % kLanes == 0;
#if QAT_TARGET_LEVEL >= 2
    if constexpr (kOp == QuantizeOp::kFakeQuantize) {
      if (job.scale == nullptr && has_blocks(job.scheme, run.tile)) {
        if (known_of(job.scheme) == Known::kPlain)
          return streams ? fake_quantize_blocks<true, true>(job, run) : fake_quantize_blocks<true, false>(job, run);
        return streams ? fake_quantize_blocks<false, true>(job, run) : fake_quantize_blocks<false, false>(job, run);
      }
      if (streams && job.scale == nullptr && has_rows(job.scheme, run)) return fake_quantize_rows(job, run);
    }
#endif
    if (streams) {
      if (run.tile == 32) return run_batches<kOp, D, P, kFloatZero, true, 32>(job, run);
      return run_batches<kOp, D, P, kFloatZero, true, 0>(job, run);
    }
  }
  if constexpr (kCanStream || (kPlain && kOp == QuantizeOp::kQuantize))
    if (run.tile == 32) return run_batches<kOp, D, P, kFloatZero, false, 32>(job, run);
  return run_batches<kOp, D, P, kFloatZero, false, 0>(job, run);
}

/// A run of consecutive tiles. Returns how many elements of x are not finite (0 where parameters are given).
template <QuantizeOp kOp, class D>
inline index_t run_tiles(const detail::QuantizeJob<D>& job, const detail::TileRun& run) {
  constexpr FloatType kInput = kFloatTypeOf<D>;
  if (has_float_zero_point(job.scheme.spec.mapping)) {
    if (kInput == FloatType::kFloat32 || job.scheme.product == FloatType::kFloat32)
      return run_typed<kOp, D, FloatType::kFloat32, true>(job, run);
    return run_typed<kOp, D, kInput, true>(job, run);
  }
  if (kInput == FloatType::kFloat32 || job.scheme.product == FloatType::kFloat32)
    return run_typed<kOp, D, FloatType::kFloat32, false>(job, run);
  return run_typed<kOp, D, kInput, false>(job, run);
}

/// Range of a long run of elements.
template <class D>
inline GroupRange range_of(const D* x, index_t length) {
  BatchRange range;
  if (ranges_of<D, true, 0>(x, 1, length, length, true, range) != 0) return detail::range_of_run(x, length);
  return {range.low[0], range.high[0], range.extremum[0], length, 0};
}

}  // namespace qat::inline v0::kernels::QAT_TARGET::quantization
