// Text of kernels/cpu/qgemm.hpp, compiled once per target: unpacking of bit-plane panels, and the int8 register tile.
namespace qat::inline v0::kernels::QAT_TARGET {

// Register tile: kQgemmRows x kQgemmVectors int32 accumulators and as many fp32 ones.
#if QAT_TARGET_LEVEL >= 2
inline constexpr int kQgemmRows = 7;  // 28 + 2 + 1 of 32 registers
inline constexpr int kQgemmVectors = 2;
#elif QAT_TARGET_LEVEL == 1
inline constexpr int kQgemmRows = 2;
inline constexpr int kQgemmVectors = 2;
#elif QAT_HAVE_NEON && QAT_TARGET_DOT8
inline constexpr int kQgemmRows = 3;  // 24 + 4 + 1 of 32 registers
inline constexpr int kQgemmVectors = 4;
#else
inline constexpr int kQgemmRows = 1;
inline constexpr int kQgemmVectors = 4;
#endif

/// Codes u of kLanes rows and the four columns of a quad: byte j of a lane is column 4 * quad + j.
template <int kBits>
struct PanelReader {
  const std::uint8_t* planes[4];  // widths 8, 4, 2, 1

  QAT_INLINE PanelReader(const PanelLayout& layout, const std::uint8_t* panel) {
    for (int i = 0, w = 8; w >= 1; w /= 2, ++i) {
      planes[i] = panel;
      if (kBits & w) panel += layout.plane_bytes(w);
    }
  }
  template <int kPlane>
  QAT_INLINE simd::QAT_TARGET::Int part(index_t quad, index_t row) const {
    namespace vec = simd::QAT_TARGET;
    constexpr int w = 8 >> kPlane;
    constexpr int below = kBits & (w - 1);
    constexpr int mask = static_cast<int>(((1u << w) - 1u) * 0x01010101u);
    constexpr index_t quads = 8 / w;
    const std::uint8_t* at = planes[kPlane] + quad / quads * PanelLayout::kChunkBytes + row * 4;
    vec::Int u = vec::load_int(reinterpret_cast<const std::int32_t*>(at));
    if constexpr (w == 8) return u;
    u = vec::shift_right(u, static_cast<int>(quad % quads) * w) & vec::set_int(mask);
    if constexpr (below > 0) u = vec::shift_left<below>(u);
    return u;
  }
  QAT_INLINE simd::QAT_TARGET::Int load(index_t quad, index_t row) const {
    namespace vec = simd::QAT_TARGET;
    vec::Int u = vec::set_int(0);
    if constexpr ((kBits & 8) != 0) u = part<0>(quad, row);
    if constexpr ((kBits & 4) != 0) u = part<1>(quad, row);
    if constexpr ((kBits & 2) != 0) u = (kBits & 4) != 0 ? u | part<2>(quad, row) : part<2>(quad, row);
    if constexpr ((kBits & 1) != 0) u = kBits > 1 ? u | part<3>(quad, row) : part<3>(quad, row);
    return u;
  }
};

/// Scales and zero points (in steps; in weight units if float) of rows [n, n + kLanes) at column k; n: a multiple of
/// kLanes. Rows beyond the last get scale 0 or an unused value.
struct LaneParams {
  simd::QAT_TARGET::Float scale, zero;

  QAT_INLINE LaneParams(const PackedWeight& w, index_t n, index_t k) {
    namespace vec = simd::QAT_TARGET;
    const ScaleType type = w.spec().scale_type;
    const index_t tile = k / w.groups().tile_columns;
    const index_t slot = (n / PanelLayout::kPanelRows * w.groups().tiles_per_row + tile) * PanelLayout::kPanelRows +
                         n % PanelLayout::kPanelRows;
    const bool side_by_side = w.groups().tile_rows == 1 && (!w.has_zero_points() || !w.has_float_zero_point());
    bool done = false;
    if (side_by_side && type == ScaleType::kFloat32) {
      scale = vec::load(reinterpret_cast<const float*>(w.scale_data()) + slot);
      done = true;
    } else if (side_by_side && (type == ScaleType::kBfloat16 || type == ScaleType::kBfloat16Safe)) {
      const auto* stored = reinterpret_cast<const std::uint16_t*>(w.scale_data()) + slot;
      scale = vec::from_bits(vec::shift_left<16>(vec::load_uint16(stored)));
      done = true;
#if QAT_TARGET_LEVEL >= 2
    } else if (side_by_side && type == ScaleType::kFloat16) {
      scale = {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(w.scale_data() + slot * 2)))};
      done = true;
#elif QAT_TARGET_LEVEL == 1
    } else if (side_by_side && type == ScaleType::kFloat16) {
      scale = {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(w.scale_data() + slot * 2)))};
      done = true;
#endif
    }
    if (done) {
      if (w.has_zero_points()) {
        const vec::Int u =
            vec::load_int8(reinterpret_cast<const std::int8_t*>(w.zero_point_data()) + slot) & vec::set_int(255);
        zero = vec::to_float(u) + vec::set(static_cast<float>(w.spec().qmin()));
      } else {
        zero = vec::set(static_cast<float>(w.spec().qmin() + (1 << (w.spec().bits - 1))));
      }
      return;
    }
    float scales[vec::kLanes] = {}, zeros[vec::kLanes] = {};
    for (index_t i = 0; i < vec::kLanes && n + i < w.rows(); ++i) {
      const index_t group = w.group_of(n + i, k);
      scales[i] = w.scale(group);
      zeros[i] = w.zero_point(group);
    }
    scale = vec::load(scales);
    zero = vec::load(zeros);
  }
};

/// Weights of rows [row, row + width) and columns [k0, k0 + count) as floats, out[(k - k0) * width + r].
template <int kBits>
inline void dequantize_panel(const PackedWeight& w, index_t row, index_t k0, index_t count, index_t width, float* out) {
  namespace vec = simd::QAT_TARGET;
  const vec::Int byte = vec::set_int(255);
  const bool float_zero = w.has_float_zero_point();
  const float qmin = static_cast<float>(w.spec().qmin());
  const float middle = static_cast<float>(w.spec().qmin() + (1 << (kBits - 1)));
  for (index_t r = 0; r < width; r += vec::kLanes) {
    const index_t n = row + r;
    const PanelReader<kBits> panel(w.layout(), w.data() + n / PanelLayout::kPanelRows * w.layout().panel_bytes());
    const index_t lane = n % PanelLayout::kPanelRows;
    for (index_t k = k0; k < k0 + count;) {
      const LaneParams params(w, n, k);
      const index_t group_end = (k / w.groups().tile_columns + 1) * w.groups().tile_columns;
      const index_t end = group_end < k0 + count ? group_end : k0 + count;
      while (k < end) {
        float* to = out + (k - k0) * width + r;
        vec::Int quad = panel.load(k / 4, lane);
        if (k % 4 == 0 && end - k >= 4 && !float_zero) {
          QAT_UNROLL(4)
          for (int j = 0; j < 4; ++j) {
            const vec::Float q = vec::to_float(quad & byte) + vec::set(qmin);
            vec::store(to + j * width, (q - params.zero) * params.scale);
            quad = vec::shift_right<8>(quad);
          }
          k += 4;
          continue;
        }
        quad = vec::shift_right(quad, static_cast<int>(k % 4) * 8);
        const index_t stop = (k / 4 + 1) * 4 < end ? (k / 4 + 1) * 4 : end;
        for (; k < stop; ++k, to += width) {
          const vec::Float q = vec::to_float(quad & byte) + vec::set(qmin);
          quad = vec::shift_right<8>(quad);
          vec::store(
              to, float_zero ? (q - vec::set(middle)) * params.scale + params.zero : (q - params.zero) * params.scale);
        }
      }
    }
  }
}

inline void dequantize_panel(const PackedWeight& w, index_t row, index_t k0, index_t count, index_t width, float* out) {
  switch (w.spec().bits) {
    case 1:
      return dequantize_panel<1>(w, row, k0, count, width, out);
    case 2:
      return dequantize_panel<2>(w, row, k0, count, width, out);
    case 3:
      return dequantize_panel<3>(w, row, k0, count, width, out);
    case 4:
      return dequantize_panel<4>(w, row, k0, count, width, out);
    case 5:
      return dequantize_panel<5>(w, row, k0, count, width, out);
    case 6:
      return dequantize_panel<6>(w, row, k0, count, width, out);
    case 7:
      return dequantize_panel<7>(w, row, k0, count, width, out);
    default:
      return dequantize_panel<8>(w, row, k0, count, width, out);
  }
}

/// acc + the four products of unsigned bytes (u) and signed bytes (s) of each lane. kWide: u may exceed 127.
template <bool kWide>
QAT_INLINE simd::QAT_TARGET::Int dot4(simd::QAT_TARGET::Int acc, simd::QAT_TARGET::Int u, simd::QAT_TARGET::Int s) {
#if QAT_TARGET_DOT8 && QAT_TARGET_LEVEL == 1
  return {_mm256_dpbusd_avx_epi32(acc.v, u.v, s.v)};
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

/// Unpacks the strip of kQgemmVectors * kLanes weight rows from `row` on: codes by quads, and per segment scales and,
/// for general zero points, zero points and sums.
template <int kBits>
inline void unpack_strip(const QgemmCall& call, index_t row, const QgemmStrip& strip) {
  namespace vec = simd::QAT_TARGET;
  constexpr index_t kWidth = kQgemmVectors * vec::kLanes;
  const PackedWeight& w = *call.weight;
  const PanelLayout& layout = w.layout();
  const vec::Int ones = vec::set_int(0x01010101);
  for (index_t r = 0; r < kWidth; r += vec::kLanes) {
    const index_t n = row + r;
    std::uint8_t* codes = strip.codes + r * 4;
    if (n >= (layout.rows + 15) / 16 * 16) {  // a whole vector of padding
      for (index_t q = 0; q < call.quads; ++q)
        vec::store_int(reinterpret_cast<std::int32_t*>(codes + q * kWidth * 4), vec::set_int(0));
      for (index_t s = 0; s < call.segments; ++s) {
        vec::store(strip.scales + s * kWidth + r, vec::zero());
        if (call.general) {
          vec::store_int(strip.zeros + s * kWidth + r, vec::set_int(0));
          vec::store_int(strip.sums + s * kWidth + r, vec::set_int(0));
        }
      }
      continue;
    }
    const PanelReader<kBits> panel(layout, w.data() + n / PanelLayout::kPanelRows * layout.panel_bytes());
    const index_t lane = n % PanelLayout::kPanelRows;
    for (index_t s = 0; s < call.segments; ++s) {
      const QgemmSegment& segment = call.segment[s];
      vec::Int sum = vec::set_int(0);
      for (index_t q = 0; q < segment.quads; ++q, codes += kWidth * 4) {
        vec::Int u;
        const index_t k = segment.begin + q * 4;
        const index_t left = segment.count - q * 4;
        if (k % 4 == 0 && (left >= 4 || k + left == layout.columns)) {
          u = panel.load(k / 4, lane);
        } else {  // a segment that starts or ends inside a quad
          u = vec::shift_right(panel.load(k / 4, lane), static_cast<int>(k % 4) * 8);
          if (k % 4 != 0 && k % 4 + left > 4 && (k / 4 + 1) * 4 < layout.columns)
            u = u | vec::shift_left(panel.load(k / 4 + 1, lane), static_cast<int>(4 - k % 4) * 8);
          if (left < 4) u = u & vec::set_int((1 << (8 * left)) - 1);
        }
        if (call.general) sum = dot4<true>(sum, u, ones);
        vec::store_int(reinterpret_cast<std::int32_t*>(codes), u);
      }
      const LaneParams params(w, n, segment.begin);
      vec::store(strip.scales + s * kWidth + r, params.scale);
      if (call.general) {
        const vec::Int zero = vec::to_int(params.zero) - vec::set_int(w.spec().qmin());
        vec::store_int(strip.zeros + s * kWidth + r, zero);
        vec::store_int(strip.sums + s * kWidth + r,
                       sum - vec::multiply(zero, vec::set_int(static_cast<std::int32_t>(segment.count))));
      }
    }
  }
}

inline void qgemm_unpack(const QgemmCall& call, index_t row, const QgemmStrip& strip) {
  switch (call.weight->spec().bits) {
    case 1:
      return unpack_strip<1>(call, row, strip);
    case 2:
      return unpack_strip<2>(call, row, strip);
    case 3:
      return unpack_strip<3>(call, row, strip);
    case 4:
      return unpack_strip<4>(call, row, strip);
    case 5:
      return unpack_strip<5>(call, row, strip);
    case 6:
      return unpack_strip<6>(call, row, strip);
    case 7:
      return unpack_strip<7>(call, row, strip);
    default:
      return unpack_strip<8>(call, row, strip);
  }
}

/// Activations of one row tile, by quads: per segment [quad][row][4 codes], then one int32 per row: the sum of the
/// codes, times minus the weights' zero point if that is one constant.
inline void qgemm_pack_rows(const QgemmCall& call, index_t row, index_t rows, std::uint8_t* out) {
  for (index_t r = 0; r < rows; ++r) {
    const std::int8_t* codes = call.x.codes + (row + r) * call.x.stride;
    std::uint8_t* to = out + r * 4;
    for (index_t s = 0; s < call.segments; ++s) {
      const QgemmSegment& segment = call.segment[s];
      const std::int8_t* from = codes + segment.begin;
      const index_t full = segment.count / 4;
      for (index_t q = 0; q < full; ++q) __builtin_memcpy(to + q * rows * 4, from + q * 4, 4);
      if (full != segment.quads) {
        std::int8_t last[4] = {0, 0, 0, 0};
        for (index_t i = full * 4; i < segment.count; ++i) last[i - full * 4] = from[i];
        __builtin_memcpy(to + full * rows * 4, last, 4);
      }
      std::int32_t sum = 0;
      for (index_t k = 0; k < segment.count; ++k) sum += from[k];
      if (!call.general) sum *= -call.constant_zero;
      to += segment.quads * rows * 4;
      __builtin_memcpy(to, &sum, 4);
      to += rows * 4;
    }
  }
}

template <int kRows, bool kGeneral, bool kWide>
inline void qgemm_tile(const QgemmCall& call, const QgemmStrip& strip, const std::uint8_t* a, index_t row,
                       index_t column) {
  namespace vec = simd::QAT_TARGET;
  constexpr index_t kWidth = kQgemmVectors * vec::kLanes;
  vec::Float acc[kRows][kQgemmVectors];
  QAT_UNROLL(8)
  for (int r = 0; r < kRows; ++r) {
    QAT_UNROLL(4)
    for (int v = 0; v < kQgemmVectors; ++v) acc[r][v] = vec::zero();
  }
  const std::uint8_t* b = strip.codes;
  for (index_t s = 0; s < call.segments; ++s) {
    const index_t quads = call.segment[s].quads;
    const std::uint8_t* sums = a + quads * kRows * 4;
    vec::Int x[kRows][kQgemmVectors];
    QAT_UNROLL(8)
    for (int r = 0; r < kRows; ++r) {
      std::int32_t sum;
      __builtin_memcpy(&sum, sums + r * 4, 4);
      if constexpr (kGeneral) {
        const std::int32_t zero = call.x.zero_points == nullptr ? 0 : call.x.zero_points[row + r];
        QAT_UNROLL(4)
        for (int v = 0; v < kQgemmVectors; ++v)
          x[r][v] = vec::set_int(0) -
                    vec::multiply(vec::load_int(strip.zeros + s * kWidth + v * vec::kLanes), vec::set_int(sum)) -
                    vec::multiply(vec::load_int(strip.sums + s * kWidth + v * vec::kLanes), vec::set_int(zero));
      } else {
        QAT_UNROLL(4)
        for (int v = 0; v < kQgemmVectors; ++v) x[r][v] = vec::set_int(sum);
      }
    }
    for (index_t q = 0; q < quads; ++q, a += kRows * 4, b += kWidth * 4) {
      vec::Int u[kQgemmVectors];
      QAT_UNROLL(4)
      for (int v = 0; v < kQgemmVectors; ++v)
        u[v] = vec::load_int(reinterpret_cast<const std::int32_t*>(b + v * vec::kLanes * 4));
      QAT_UNROLL(8)
      for (int r = 0; r < kRows; ++r) {
        std::int32_t four;
        __builtin_memcpy(&four, a + r * 4, 4);
        const vec::Int codes = vec::set_int(four);
        QAT_UNROLL(4)
        for (int v = 0; v < kQgemmVectors; ++v) x[r][v] = dot4<kWide>(x[r][v], u[v], codes);
      }
    }
    a += kRows * 4;
    QAT_UNROLL(4)
    for (int v = 0; v < kQgemmVectors; ++v) {
      const vec::Float scale = vec::load(strip.scales + s * kWidth + v * vec::kLanes);
      QAT_UNROLL(8)
      for (int r = 0; r < kRows; ++r) acc[r][v] = vec::fused_mul_add(scale, vec::to_float(x[r][v]), acc[r][v]);
    }
  }
  QAT_UNROLL(8)
  for (int r = 0; r < kRows; ++r) {
    const vec::Float scale = vec::set(call.x.scales[row + r]);
    float* c = call.c + (row + r) * call.ldc + column;
    QAT_UNROLL(4)
    for (int v = 0; v < kQgemmVectors; ++v) {
      const index_t left = call.weight->rows() - column - v * vec::kLanes;
      if (left <= 0) break;
      const index_t n = left < vec::kLanes ? left : index_t{vec::kLanes};
      vec::Float y = acc[r][v] * scale;
      if (call.bias != nullptr) y = y + vec::load(call.bias + column + v * vec::kLanes, n);
      vec::store(c + v * vec::kLanes, y, n);
    }
  }
}

using QgemmTileFunction = void (*)(const QgemmCall&, const QgemmStrip&, const std::uint8_t*, index_t, index_t);

template <bool kGeneral, bool kWide, class Sequence>
struct QgemmTiles;
template <bool kGeneral, bool kWide, int... kRowsMinus1>
struct QgemmTiles<kGeneral, kWide, std::integer_sequence<int, kRowsMinus1...>> {
  static constexpr QgemmTileFunction functions[] = {&qgemm_tile<kRowsMinus1 + 1, kGeneral, kWide>...};
};

inline void qgemm_tile(const QgemmCall& call, const QgemmStrip& strip, const std::uint8_t* a, index_t row, index_t rows,
                       index_t column) {
  using Rows = std::make_integer_sequence<int, kQgemmRows>;
  // The dot product of unsigned by signed bytes and the baseline form take any byte.
  constexpr bool kWide = QAT_TARGET_DOT8 == 2 || (QAT_TARGET_LEVEL > 0 && QAT_TARGET_DOT8 == 0);
  const bool wide = kWide && call.weight->spec().bits == 8;
  const QgemmTileFunction function = call.general ? (wide ? QgemmTiles<true, kWide, Rows>::functions[rows - 1]
                                                          : QgemmTiles<true, false, Rows>::functions[rows - 1])
                                                  : (wide ? QgemmTiles<false, kWide, Rows>::functions[rows - 1]
                                                          : QgemmTiles<false, false, Rows>::functions[rows - 1]);
  function(call, strip, a, row, column);
}

inline constexpr QgemmKernels kQgemmKernels = {kQgemmRows, kQgemmVectors* simd::QAT_TARGET::kLanes, &qgemm_pack_rows,
                                               &qgemm_unpack, &qgemm_tile};

}  // namespace qat::inline v0::kernels::QAT_TARGET
