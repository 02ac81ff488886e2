// Text of kernels/cpu/qgemm.hpp, compiled once per target: products that unpack weights in registers, for segments of
// whole blocks of 32 columns.
namespace qat::inline v0::kernels::QAT_TARGET {

// Rows of activations that run on packed weights directly, without unpacking a strip first.
inline constexpr int kDirectRows = QAT_TARGET_LEVEL >= 2 ? 4 : QAT_TARGET_LEVEL == 1 ? 1 : 0;

// Panels side by side for one row, and weights that lie in a cache; from memory one run of bytes is faster than two.
inline constexpr int kDirectPanels = QAT_TARGET_LEVEL >= 2 ? 2 : 1;

/// f(i) for i in [0, 8), constants.
template <class F, int... kQuads>
QAT_INLINE void for_quad_numbers(const F& f, std::integer_sequence<int, kQuads...>) {
  (f(std::integral_constant<int, kQuads>{}), ...);
}

/// A few rows of activations times kPanels panels side by side: every packed byte is read once, in order, and unpacked
/// in registers. For segments of whole blocks. kGrouped: activations have a scale for every call.x.scale_columns
/// columns.
template <int kBits, int kRows, bool kZeros, int kPanels, bool kGrouped>
inline void qgemm_direct(const QgemmCall& call, const std::uint8_t* a, index_t index) {
  namespace vec = simd::QAT_TARGET;
  using Reader = panels::QAT_TARGET::PanelReader<kBits>;
  using Params = panels::QAT_TARGET::LaneParams;
  constexpr int kPanelVectors = static_cast<int>(PanelLayout::kPanelRows) / vec::kLanes;
  constexpr int kVectors = kPanels * kPanelVectors;
  constexpr bool kWide = kWideMatters && kBits == 8;
  const PackedWeight& w = *call.weight;
  const index_t panel_bytes = w.layout().panel_bytes(), first = index * kPanels;
  // Where the second is padding, the first again.
  const index_t other = kPanels == 2 && first + 1 < w.layout().panels() ? first + 1 : first;
  const Reader panel[2] = {{w.layout(), w.data() + first * panel_bytes}, {w.layout(), w.data() + other * panel_bytes}};
  const Params params[2] = {{w, first * PanelLayout::kPanelRows}, {w, other * PanelLayout::kPanelRows}};
  const vec::Int ones = vec::set_int(0x01010101);
  vec::Float acc[kRows][kVectors];
  QAT_UNROLL(4)
  for (int r = 0; r < kRows; ++r) {
    QAT_UNROLL(2)
    for (int v = 0; v < kVectors; ++v) acc[r][v] = vec::zero();
  }
  index_t block = 0;
  for (index_t s = 0; s < call.segments; ++s) {
    const QgemmSegment& segment = call.segment[s];
    const std::uint8_t* sums = a + segment.blocks * 8 * kRows * 4;
    // Even and odd quads: two chains hide the latency of one row.
    vec::Int x[kRows][kVectors][2], u_sum[kVectors];
    QAT_UNROLL(2)
    for (int v = 0; v < kVectors; ++v) {
      u_sum[v] = vec::set_int(0);
      QAT_UNROLL(4)
      for (int r = 0; r < kRows; ++r) {
        std::int32_t sum = 0;
        if constexpr (!kZeros) __builtin_memcpy(&sum, sums + r * 4, 4);
        x[r][v][0] = vec::set_int(sum);
        x[r][v][1] = vec::set_int(0);
      }
    }
    for (index_t b = 0; b < segment.blocks; ++b, ++block, a += 8 * kRows * 4) {
      if constexpr (kPanels == 1)
        if (call.prefetch_bytes > 0) panel[0].prefetch(block, call.prefetch_bytes);
      for_quad_numbers(
          [&](auto quad) QAT_INLINE_LAMBDA {
            constexpr int i = quad();
            QAT_UNROLL(2)
            for (int v = 0; v < kVectors; ++v) {
              const vec::Int u =
                  panel[v / kPanelVectors].template load_in_block<i>(block, v % kPanelVectors * vec::kLanes);
              if constexpr (kZeros) u_sum[v] = dot4<true>(u_sum[v], u, ones);
              QAT_UNROLL(4)
              for (int r = 0; r < kRows; ++r) {
                std::int32_t four;
                __builtin_memcpy(&four, a + (i * kRows + r) * 4, 4);
                x[r][v][i % 2] = dot4<kWide>(x[r][v][i % 2], u, vec::set_int(four));
              }
            }
          },
          std::make_integer_sequence<int, 8>{});
    }
    QAT_UNROLL(2)
    for (int v = 0; v < kVectors; ++v) {
      const Params& own = params[v / kPanelVectors];
      const index_t lane = v % kPanelVectors * vec::kLanes;
      const vec::Float scale = own.scale(segment.tile, segment.begin, lane);
      vec::Int zero, centred, pair;
      if constexpr (kZeros) {
        zero = vec::to_int(own.zero(segment.tile, segment.begin, lane)) - vec::set_int(w.spec().lowest());
        centred = u_sum[v] - vec::multiply(zero, vec::set_int(static_cast<std::int32_t>(segment.count)));
        pair = pair_of(centred, zero);
      }
      QAT_UNROLL(4)
      for (int r = 0; r < kRows; ++r) {
        vec::Int total = x[r][v][0] + x[r][v][1];
        if constexpr (kZeros) {
          std::int32_t sum;
          __builtin_memcpy(&sum, sums + r * 4, 4);
          if (call.paired) {
            total = dot2(total, pair, vec::set_int(sum));
          } else {
            const std::int32_t x_zero = call.x.zero_points == nullptr || r >= call.rows ? 0 : call.x.zero_points[r];
            total = total - vec::multiply(zero, vec::set_int(sum)) - vec::multiply(centred, vec::set_int(x_zero));
          }
        }
        vec::Float factor = scale;
        if constexpr (kGrouped)
          if (r < call.rows) factor = factor * vec::set(call.x.scales[r * call.x_groups + segment.x_tile]);
        acc[r][v] = vec::fused_mul_add(factor, vec::to_float(total), acc[r][v]);
      }
    }
    a = sums + kRows * 4;
  }
  QAT_UNROLL(4)
  for (int r = 0; r < kRows; ++r) {
    if (r >= call.rows) break;
    QAT_UNROLL(2)
    for (int v = 0; v < kVectors; ++v)
      qgemm_store(call, acc[r][v], r, first * PanelLayout::kPanelRows + v * vec::kLanes);
  }
}

/// Scales of groups of activations have forms of their own for the widths that ggml's types need; others run on strips.
template <int kBits>
inline constexpr bool kTakesGroups = kBits == 4 || kBits == 8;

template <int kBits, int kRows, int kPanels>
inline QgemmDirect direct_of(const QgemmCall& call) {
  if (call.x.scale_columns > 0) {
    if constexpr (kTakesGroups<kBits>)
      return {call.zeros ? &qgemm_direct<kBits, kRows, true, kPanels, true>
                         : &qgemm_direct<kBits, kRows, false, kPanels, true>,
              kRows, kPanels};
    return {};
  }
  return {call.zeros ? &qgemm_direct<kBits, kRows, true, kPanels, false>
                     : &qgemm_direct<kBits, kRows, false, kPanels, false>,
          kRows, kPanels};
}
template <int kBits>
inline QgemmDirect direct_of(const QgemmCall& call) {
  if (call.rows > 1) return direct_of<kBits, kDirectRows, 1>(call);
  if (call.prefetch_bytes > 0) return direct_of<kBits, 1, 1>(call);
  return direct_of<kBits, 1, kDirectPanels>(call);
}

/// The function for all rows of the call, how many rows its packed activations have and how many panels it takes; null
/// if there is none.
template <class Lazy>
inline QgemmDirect qgemm_direct_of(const QgemmCall& call) {
  if constexpr (kDirectRows > 0) {
    if (call.rows > kDirectRows) return {};
    switch (call.weight->spec().bits) {
      case 2:
        return direct_of<2>(call);
      case 3:
        return direct_of<3>(call);
      case 4:
        return direct_of<4>(call);
      case 8:
        return direct_of<8>(call);
      default:
        break;
    }
  }
  return {};
}

#if QAT_TARGET_LEVEL >= 2
/// Activations of rows [row, row + rows) by blocks of 32 columns: [block][row][32 codes], and sums [segment][row] as
/// qgemm_pack_rows makes them. An odd last row is followed by one of zeros. For segments of whole blocks; out: aligned
/// to 64 bytes. Two rows at a time, which fill a line of every block.
template <class Lazy>
inline void qgemm_pack_blocks(const QgemmCall& call, index_t row, index_t rows, std::uint8_t* out, std::int32_t* sums) {
  const index_t padded = rows + rows % 2;
  const __m512i top = _mm512_set1_epi8(-128);
  for (index_t r = 0; r < padded; r += 2) {
    const bool alone = r + 1 == rows;
    const std::int8_t* const first = call.x.codes + (row + r) * call.x.stride;
    const std::int8_t* const second = alone ? first : first + call.x.stride;
    const __mmask16 both = alone ? 0x00FF : 0xFFFF;
    std::int32_t zero[2] = {0, 0};
    if (call.x.zero_points != nullptr) {
      zero[0] = call.x.zero_points[row + r];
      if (!alone) zero[1] = call.x.zero_points[row + r + 1];
    }
    std::uint8_t* to = out + r * 32;
    for (index_t s = 0; s < call.segments; ++s) {
      const QgemmSegment& segment = call.segment[s];
      __m512i eights = _mm512_setzero_si512();  // four sums of codes + 128 a row
      for (index_t k = segment.begin; k < segment.begin + segment.count; k += 32, to += padded * 32) {
        const __m512i x = _mm512_maskz_mov_epi32(
            both,
            _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(first + k))),
                               _mm256_loadu_si256(reinterpret_cast<const __m256i*>(second + k)), 1));
        _mm512_store_si512(to, x);
        eights = _mm512_add_epi64(eights, _mm512_sad_epu8(_mm512_xor_si512(x, top), _mm512_setzero_si512()));
      }
      eights = _mm512_add_epi64(eights, _mm512_shuffle_i32x4(eights, eights, 0xB1));
      eights = _mm512_add_epi64(eights, _mm512_unpackhi_epi64(eights, eights));
      const index_t offset = 128 * segment.count;
      std::int32_t sum[2] = {
          static_cast<std::int32_t>(_mm_cvtsi128_si64(_mm512_castsi512_si128(eights)) - offset),
          static_cast<std::int32_t>(_mm_cvtsi128_si64(_mm512_extracti32x4_epi32(eights, 2)) - offset)};
      for (int i = 0; i < 2; ++i) {
        if (!call.zeros) sum[i] *= -call.constant_zero;
        sums[s * padded + r + i] = call.paired ? pair_of(-zero[i], -sum[i]) : sum[i];
      }
    }
  }
}

/// Up to kQgemmRowBlock rows times two panels: the weights of 32 columns stay in 16 registers while all rows pass by,
/// four at a time so that eight chains of multiplications are under way, and the outputs stay in the first-level cache.
/// Reads every packed byte once for all rows.
template <int kBits, bool kZeros, bool kGrouped>
inline void qgemm_row_stream(const QgemmCall& call, const std::uint8_t* a, const std::int32_t* sums, index_t row,
                             index_t rows, index_t pair_index) {
  namespace vec = simd::QAT_TARGET;
  using Reader = panels::QAT_TARGET::PanelReader<kBits>;
  constexpr bool kWide = kWideMatters && kBits == 8;
  constexpr index_t kWidth = 2 * vec::kLanes;
  const PackedWeight& w = *call.weight;
  const index_t padded = rows + rows % 2;
  const index_t first = 2 * pair_index, second = first + 1 < w.layout().panels() ? first + 1 : first;
  const Reader panel0(w.layout(), w.data() + first * w.layout().panel_bytes());
  const Reader panel1(w.layout(), w.data() + second * w.layout().panel_bytes());
  const panels::QAT_TARGET::LaneParams params0(w, first * vec::kLanes), params1(w, second * vec::kLanes);
  const vec::Int ones = vec::set_int(0x01010101);
  alignas(64) float acc[kQgemmRowBlock * kWidth];             // [row][32]
  alignas(64) std::int32_t partial[kQgemmRowBlock * kWidth];  // of a segment of several blocks
  const index_t column = first * vec::kLanes, ldc = call.ldc;
  float* c = call.c + row * ldc + column;
  index_t left[2] = {w.rows() - column, w.rows() - column - vec::kLanes};
  for (index_t& n : left) n = n < 0 ? 0 : n < vec::kLanes ? n : index_t{vec::kLanes};
  const index_t blocks = w.columns() / 32, ahead = call.prefetch_bytes / (kBits * PanelLayout::kChunkBytes);
  for (index_t i = 0; i < padded * kWidth; i += vec::kLanes) vec::store(acc + i, vec::zero());
  index_t block = 0;
  for (index_t s = 0; s < call.segments; ++s, sums += padded) {
    const QgemmSegment& segment = call.segment[s];
    const vec::Float scale[2] = {params0.scale(segment.tile, segment.begin),
                                 params1.scale(segment.tile, segment.begin)};
    if (call.prefetch_bytes > 0) {
      params0.prefetch_scale(segment.tile, 2);
      params1.prefetch_scale(segment.tile, 2);
    }
    if (s + 1 == call.segments)  // lines of C, each row's in a page of its own
      for (index_t r = 0; r < rows; ++r)
        for (int v = 0; v < 2; ++v) __builtin_prefetch(c + r * ldc + v * vec::kLanes, 1, 2);
    vec::Int sum[2] = {vec::set_int(0), vec::set_int(0)}, zero[2], pair[2];
    for (index_t b = 0; b < segment.blocks; ++b, ++block, a += padded * 32) {
      const bool begins = b == 0, ends = b + 1 == segment.blocks;
      if (call.prefetch_bytes > 0) {  // past the ends of these panels, those of the next pair
        const bool next = block + ahead >= blocks;
        panel0.prefetch(block + ahead - (next ? blocks : 0), next ? 2 * w.layout().panel_bytes() : 0);
        panel1.prefetch(block + ahead - (next ? blocks : 0), next ? 2 * w.layout().panel_bytes() : 0);
      }
      vec::Int u[2][8];
      for_quads(panel0, block, 0, [&](int i, vec::Int codes) QAT_INLINE_LAMBDA { u[0][i] = codes; });
      for_quads(panel1, block, 0, [&](int i, vec::Int codes) QAT_INLINE_LAMBDA { u[1][i] = codes; });
      if constexpr (kZeros) {
        QAT_UNROLL(8)
        for (int j = 0; j < 8; ++j) {
          sum[0] = dot4<true>(sum[0], u[0][j], ones);
          sum[1] = dot4<true>(sum[1], u[1][j], ones);
        }
        if (ends) {
          const vec::Int qmin = vec::set_int(w.spec().lowest());
          const vec::Int count = vec::set_int(static_cast<std::int32_t>(segment.count));
          zero[0] = vec::to_int(params0.zero(segment.tile, segment.begin)) - qmin;
          zero[1] = vec::to_int(params1.zero(segment.tile, segment.begin)) - qmin;
          QAT_UNROLL(2)
          for (int v = 0; v < 2; ++v) {
            sum[v] = sum[v] - vec::multiply(zero[v], count);
            pair[v] = pair_of(sum[v], zero[v]);
          }
        }
      }
      const auto pass = [&](auto count, index_t r) QAT_INLINE_LAMBDA {
        constexpr int kRows = count();
        std::int32_t* part = partial + r * kWidth;
        vec::Int x[kRows][2];
        QAT_UNROLL(4)
        for (int i = 0; i < kRows; ++i) {
          QAT_UNROLL(2)
          for (int v = 0; v < 2; ++v)
            x[i][v] =
                begins ? vec::set_int(kZeros ? 0 : sums[r + i]) : vec::load_int(part + i * kWidth + v * vec::kLanes);
        }
        const std::uint8_t* codes = a + r * 32;
        QAT_UNROLL(8)
        for (int j = 0; j < 8; ++j) {
          QAT_UNROLL(4)
          for (int i = 0; i < kRows; ++i) {
            std::int32_t four;
            __builtin_memcpy(&four, codes + i * 32 + j * 4, 4);
            const vec::Int quad = vec::set_int(four);
            x[i][0] = dot4<kWide>(x[i][0], u[0][j], quad);
            x[i][1] = dot4<kWide>(x[i][1], u[1][j], quad);
          }
        }
        QAT_UNROLL(4)
        for (int i = 0; i < kRows; ++i) {
          QAT_UNROLL(2)
          for (int v = 0; v < 2; ++v) {
            if (!ends) {
              vec::store_int(part + i * kWidth + v * vec::kLanes, x[i][v]);
              continue;
            }
            if constexpr (kZeros) {
              const vec::Int of_row = vec::set_int(sums[r + i]);
              if (call.paired) {
                x[i][v] = dot2(x[i][v], pair[v], of_row);
              } else {
                const bool none = call.x.zero_points == nullptr || r + i >= rows;
                const vec::Int x_zero = vec::set_int(none ? 0 : call.x.zero_points[row + r + i]);
                x[i][v] = x[i][v] - vec::multiply(zero[v], of_row) - vec::multiply(sum[v], x_zero);
              }
            }
            float* const sum_of_groups = acc + (r + i) * kWidth + v * vec::kLanes;
            const vec::Float before = vec::load(sum_of_groups);
            vec::Float factor = scale[v];
            if constexpr (kGrouped)
              if (r + i < rows)
                factor = factor * vec::set(call.x.scales[(row + r + i) * call.x_groups + segment.x_tile]);
            vec::store(sum_of_groups, vec::fused_mul_add(factor, vec::to_float(x[i][v]), before));
          }
        }
      };
      index_t r = 0;
      for (; r + 4 <= padded; r += 4) pass(std::integral_constant<int, 4>{}, r);
      if (r < padded) pass(std::integral_constant<int, 2>{}, r);
    }
  }
  vec::Float bias[2] = {vec::zero(), vec::zero()};
  const bool has_bias = call.bias != nullptr;
  if (has_bias)
    for (int v = 0; v < 2; ++v) bias[v] = vec::load(call.bias + (left[v] > 0 ? column + v * vec::kLanes : 0), left[v]);
  for (index_t r = 0; r < rows; ++r, c += ldc) {
    QAT_UNROLL(2)
    for (int v = 0; v < 2; ++v) {
      vec::Float y = vec::load(acc + r * kWidth + v * vec::kLanes);
      if constexpr (!kGrouped) y = y * vec::set(call.x.scales[row + r]);
      if (has_bias) y = y + bias[v];
      vec::store(c + v * vec::kLanes, y, left[v]);
    }
  }
}
#endif

#if QAT_TARGET_LEVEL >= 2
/// Rows of activations in groups beyond which strips are faster. Measured on a Zen 5.
inline constexpr index_t kMostGroupedRows = 48;

template <class Lazy, int kBits>
inline QgemmRowStream row_stream_of(const QgemmCall& call) {
  if (call.x.scale_columns > 0) {
    if constexpr (kTakesGroups<kBits>)
      if (call.rows <= kMostGroupedRows)
        return {&qgemm_pack_blocks<Lazy>,
                call.zeros ? &qgemm_row_stream<kBits, true, true> : &qgemm_row_stream<kBits, false, true>};
    return {};
  }
  return {&qgemm_pack_blocks<Lazy>,
          call.zeros ? &qgemm_row_stream<kBits, true, false> : &qgemm_row_stream<kBits, false, false>};
}
#endif

/// The row stream for the call's weights; null if there is none.
template <class Lazy>
inline QgemmRowStream qgemm_row_stream_of(const QgemmCall& call) {
#if QAT_TARGET_LEVEL >= 2
  switch (call.weight->spec().bits) {
    case 2:
      return row_stream_of<Lazy, 2>(call);
    case 3:
      return row_stream_of<Lazy, 3>(call);
    case 4:
      return row_stream_of<Lazy, 4>(call);
    case 8:
      return row_stream_of<Lazy, 8>(call);
    default:
      break;
  }
#else
  static_cast<void>(call);
#endif
  return {};
}

/// A template, as the functions it names and all that calls them: a program that does not multiply does not compile
/// them.
template <class Lazy>
inline constexpr QgemmKernels kQgemmKernels = {kQgemmRows,
                                               kQgemmVectors* simd::QAT_TARGET::kLanes,
                                               &qgemm_direct_of<Lazy>,
                                               &qgemm_pack_rows<Lazy>,
                                               &qgemm_unpack<Lazy>,
                                               &qgemm_tile_of<Lazy>,
                                               &qgemm_row_stream_of<Lazy>};

}  // namespace qat::inline v0::kernels::QAT_TARGET
