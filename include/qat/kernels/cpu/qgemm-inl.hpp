// Text of kernels/cpu/qgemm.hpp, compiled once per target: strips of unpacked weights times register tiles of rows.
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

/// Codes u of quad q of a segment; columns of other segments and of padding give 0.
template <int kBits>
QAT_INLINE simd::QAT_TARGET::Int segment_quad(const panels::QAT_TARGET::PanelReader<kBits>& panel, index_t columns,
                                              const QgemmSegment& segment, index_t q, index_t lane) {
  namespace vec = simd::QAT_TARGET;
  const index_t k = segment.begin + q * 4;
  const index_t left = segment.count - q * 4;
  if (k % 4 == 0 && (left >= 4 || k + left == columns)) return panel.load(k / 4, lane);
  vec::Int u = vec::shift_right(panel.load(k / 4, lane), static_cast<int>(k % 4) * 8);
  if (k % 4 != 0 && k % 4 + left > 4 && (k / 4 + 1) * 4 < columns)
    u = u | vec::shift_left(panel.load(k / 4 + 1, lane), static_cast<int>(4 - k % 4) * 8);
  if (left < 4) u = u & vec::set_int((1 << (8 * left)) - 1);
  return u;
}

/// Calls f(i, codes) for the quads 8 * block + i of a panel, i ascending. Here and not in the reader: f has
/// instructions that the reader's target may not have.
template <int kBits, class F, int... kQuads>
QAT_INLINE void for_quads(const panels::QAT_TARGET::PanelReader<kBits>& panel, index_t block, index_t lane, const F& f,
                          std::integer_sequence<int, kQuads...>) {
  (f(kQuads, panel.template load_in_block<kQuads>(block, lane)), ...);
}
template <int kBits, class F>
QAT_INLINE void for_quads(const panels::QAT_TARGET::PanelReader<kBits>& panel, index_t block, index_t lane,
                          const F& f) {
  for_quads(panel, block, lane, f, std::make_integer_sequence<int, 8>{});
}

/// Unpacks the strip of kQgemmVectors * kLanes weight rows from `row` on: codes by quads, and per segment scales and,
/// for other zero points than one constant, zero points and sums.
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
        if (call.zeros) {
          vec::store_int(strip.zeros + s * kWidth + r, vec::set_int(0));
          vec::store_int(strip.sums + s * kWidth + r, vec::set_int(0));
        }
      }
      continue;
    }
    const panels::QAT_TARGET::PanelReader<kBits> panel(layout,
                                                       w.data() + n / PanelLayout::kPanelRows * layout.panel_bytes());
    const panels::QAT_TARGET::LaneParams params(w, n);
    const index_t lane = n % PanelLayout::kPanelRows;
    for (index_t s = 0; s < call.segments; ++s) {
      const QgemmSegment& segment = call.segment[s];
      vec::Int sum = vec::set_int(0);
      index_t q = 0;
      if (segment.begin % 32 == 0) {
        for (; (q + 8) * 4 <= segment.count; q += 8) {
          for_quads(panel, (segment.begin / 4 + q) / 8, lane, [&](int, vec::Int u) QAT_INLINE_LAMBDA {
            if (call.zeros) sum = dot4<true>(sum, u, ones);
            vec::store_int(reinterpret_cast<std::int32_t*>(codes), u);
            codes += kWidth * 4;
          });
        }
      }
      for (; q < segment.quads; ++q, codes += kWidth * 4) {
        const vec::Int u = segment_quad<kBits>(panel, layout.columns, segment, q, lane);
        if (call.zeros) sum = dot4<true>(sum, u, ones);
        vec::store_int(reinterpret_cast<std::int32_t*>(codes), u);
      }
      vec::store(strip.scales + s * kWidth + r, params.scale(segment.tile, segment.begin));
      if (call.zeros) {
        const vec::Int zero = vec::to_int(params.zero(segment.tile, segment.begin)) - vec::set_int(w.spec().lowest());
        const vec::Int centred = sum - vec::multiply(zero, vec::set_int(static_cast<std::int32_t>(segment.count)));
        vec::store_int(strip.zeros + s * kWidth + r, call.paired ? pair_of(centred, zero) : zero);
        vec::store_int(strip.sums + s * kWidth + r, centred);
      }
    }
  }
}

template <class Lazy>
inline void qgemm_unpack(const QgemmCall& call, index_t row, const QgemmStrip& strip) {
  visit_width(call.weight->spec().bits, [&](auto bits) { unpack_strip<bits()>(call, row, strip); });
}

/// Activations of one row tile, by quads: per segment [quad][row][4 codes], then one int32 per row made of the sum of
/// the codes: times minus the weights' zero point if that is one constant; else, if paired, (-zero point, -sum); else
/// itself. Rows from x.rows on are zero.
template <class Lazy>
inline void qgemm_pack_rows(const QgemmCall& call, index_t row, index_t rows, std::uint8_t* out) {
  for (index_t r = 0; r < rows; ++r) {
    const bool padding = row + r >= call.rows;
    const std::int8_t* codes = call.x.codes + (padding ? 0 : (row + r) * call.x.stride);
    const std::int32_t zero = call.x.zero_points == nullptr || padding ? 0 : call.x.zero_points[row + r];
    std::uint8_t* to = out + r * 4;
    for (index_t s = 0; s < call.segments; ++s) {
      const QgemmSegment& segment = call.segment[s];
      const std::int8_t* from = codes + segment.begin;
      const index_t full = segment.count / 4;
      std::int32_t sum = 0;
      if (padding) {
        for (index_t q = 0; q < segment.quads; ++q) __builtin_memset(to + q * rows * 4, 0, 4);
      } else {
        for (index_t q = 0; q < full; ++q) __builtin_memcpy(to + q * rows * 4, from + q * 4, 4);
        if (full != segment.quads) {
          std::int8_t last[4] = {0, 0, 0, 0};
          for (index_t i = full * 4; i < segment.count; ++i) last[i - full * 4] = from[i];
          __builtin_memcpy(to + full * rows * 4, last, 4);
        }
        for (index_t k = 0; k < segment.count; ++k) sum += from[k];
      }
      if (!call.zeros) sum *= -call.constant_zero;
      if (call.paired) sum = pair_of(-zero, -sum);
      to += segment.quads * rows * 4;
      __builtin_memcpy(to, &sum, 4);
      to += rows * 4;
    }
  }
}

/// c = acc * scale of the activations (+ bias) of one row and kLanes columns.
QAT_INLINE void qgemm_store(const QgemmCall& call, simd::QAT_TARGET::Float acc, index_t row, index_t column) {
  namespace vec = simd::QAT_TARGET;
  const index_t left = call.weight->rows() - column;
  if (left <= 0) return;
  const index_t n = left < vec::kLanes ? left : index_t{vec::kLanes};
  vec::Float y = call.x.scale_columns == 0 ? acc * vec::set(call.x.scales[row]) : acc;
  if (call.bias != nullptr) y = y + vec::load(call.bias + column, n);
  vec::store(call.c + row * call.ldc + column, y, n);
}

/// kGrouped: activations have a scale for every call.x.scale_columns columns.
template <int kRows, bool kZeros, bool kWide, bool kGrouped>
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
      QAT_UNROLL(4)
      for (int v = 0; v < kQgemmVectors; ++v) {
        if constexpr (!kZeros) {
          x[r][v] = vec::set_int(sum);
        } else {
          const vec::Int zero = vec::load_int(strip.zeros + s * kWidth + v * vec::kLanes);
          if (call.paired) {
            x[r][v] = dot2(vec::set_int(0), zero, vec::set_int(sum));
          } else {
            const std::int32_t x_zero = call.x.zero_points == nullptr ? 0 : call.x.zero_points[row + r];
            x[r][v] = vec::set_int(0) - vec::multiply(zero, vec::set_int(sum)) -
                      vec::multiply(vec::load_int(strip.sums + s * kWidth + v * vec::kLanes), vec::set_int(x_zero));
          }
        }
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
      for (int r = 0; r < kRows; ++r) {
        vec::Float factor = scale;
        if constexpr (kGrouped)
          factor = factor * vec::set(call.x.scales[(row + r) * call.x_groups + call.segment[s].x_tile]);
        acc[r][v] = vec::fused_mul_add(factor, vec::to_float(x[r][v]), acc[r][v]);
      }
    }
  }
  QAT_UNROLL(8)
  for (int r = 0; r < kRows; ++r) {
    QAT_UNROLL(4)
    for (int v = 0; v < kQgemmVectors; ++v) qgemm_store(call, acc[r][v], row + r, column + v * vec::kLanes);
  }
}

using QgemmTileFunction = void (*)(const QgemmCall&, const QgemmStrip&, const std::uint8_t*, index_t, index_t);

template <bool kZeros, bool kWide, bool kGrouped, class Sequence>
struct QgemmTiles;
template <bool kZeros, bool kWide, bool kGrouped, int... kRowsMinus1>
struct QgemmTiles<kZeros, kWide, kGrouped, std::integer_sequence<int, kRowsMinus1...>> {
  static constexpr QgemmTileFunction functions[] = {&qgemm_tile<kRowsMinus1 + 1, kZeros, kWide, kGrouped>...};
};

template <bool kWide, bool kGrouped>
inline QgemmTileFunction qgemm_tile_function(bool zeros, index_t rows) {
  using Rows = std::make_integer_sequence<int, kQgemmRows>;
  return zeros ? QgemmTiles<true, kWide, kGrouped, Rows>::functions[rows - 1]
               : QgemmTiles<false, kWide, kGrouped, Rows>::functions[rows - 1];
}

template <class Lazy>
inline void qgemm_tile_of(const QgemmCall& call, const QgemmStrip& strip, const std::uint8_t* a, index_t row,
                          index_t rows, index_t column) {
  const bool wide = kWideMatters && call.weight->spec().bits == 8;
  const QgemmTileFunction function = call.x.scale_columns > 0
                                         ? qgemm_tile_function<kWideMatters, true>(call.zeros, rows)
                                     : wide ? qgemm_tile_function<kWideMatters, false>(call.zeros, rows)
                                            : qgemm_tile_function<false, false>(call.zeros, rows);
  function(call, strip, a, row, column);
}

}  // namespace qat::inline v0::kernels::QAT_TARGET
