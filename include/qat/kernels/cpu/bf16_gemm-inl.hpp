// Text of kernels/cpu/bf16_gemm.hpp, compiled once per target; only one with bf16 dot products has a form.
namespace qat::inline v0::kernels::QAT_TARGET {

#if QAT_TARGET_BF16

/// Rows times w, rounded to bf16: [block of 32 columns][row][16 pairs], pair 2 * q + j of a block holds columns 4 * q +
/// j and 4 * q + j + 2; and [block][row] what chains start with: the sums of the rounded values, if the zero point is
/// one for all weights times what it takes off.
inline void bf16_pack_rows(const PackedWeight& w, const Bf16Rows& source, index_t rows, std::uint32_t* out,
                           float* sums) {
  const index_t blocks = w.columns() / 32;
  const bool zeros = w.has_zero_points();
  const float start = zeros ? 0.0f : static_cast<float>(w.spec().lowest() - 128) - w.constant_zero_point();
  const __m512i low = _mm512_setr_epi32(0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21, 24, 25, 28, 29);
  const __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(2));
  for (index_t r = 0; r < rows; ++r) {
    const float* x = source.x + r * source.stride;
    for (index_t b = 0; b < blocks; ++b, x += 32) {
      const __m512 a = _mm512_loadu_ps(x), c = _mm512_loadu_ps(x + 16);
      const __m512i first = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(_mm512_permutex2var_ps(a, low, c)));
      const __m512i second = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(_mm512_permutex2var_ps(a, high, c)));
      _mm512_storeu_si512(out + (b * rows + r) * 16, _mm512_or_si512(first, _mm512_slli_epi32(second, 16)));
      const __m512 sum =
          _mm512_castsi512_ps(_mm512_slli_epi32(first, 16)) + _mm512_castsi512_ps(_mm512_slli_epi32(second, 16));
      const float all = _mm512_reduce_add_ps(sum);
      sums[b * rows + r] = zeros ? all : start * all;
    }
  }
}

QAT_INLINE __m512 dot_bf16(__m512 acc, __m512i weights, std::uint32_t pair) {
  return _mm512_dpbf16_ps(acc, (__m512bh)weights, (__m512bh)_mm512_set1_epi32(static_cast<int>(pair)));
}

/// 128 + u in bf16 of the 32 columns of a block, in the pairs of bf16_pack_rows.
template <int kBits, int... kQuads>
QAT_INLINE void load_pairs(const panels::QAT_TARGET::PanelReader<kBits>& panel, index_t block, __m512i (&u)[16],
                           std::integer_sequence<int, kQuads...>) {
  const __m512i bytes = _mm512_set1_epi32(0x00FF00FF), exponent = _mm512_set1_epi32(0x43004300);
  const auto pair = [&](__m512i codes) QAT_INLINE_LAMBDA {
    return _mm512_ternarylogic_epi32(codes, bytes, exponent, 0xEA);  // (codes & bytes) | exponent
  };
  __m512i quad;
  ((quad = panel.template load_in_block<kQuads>(block, 0).v, u[2 * kQuads] = pair(quad),
    u[2 * kQuads + 1] = pair(_mm512_srli_epi32(quad, 8))),
   ...);
}

/// What a chain of dot products starts with (see bf16_pack_rows).
template <bool kZeros>
QAT_INLINE __m512 chain_start(simd::QAT_TARGET::Float start, float sum) {
  if constexpr (kZeros) return (start * simd::QAT_TARGET::set(sum)).v;
  return simd::QAT_TARGET::set(sum).v;
}

/// kRows rows side by side times the 32 columns of a block, added to their outputs.
template <int kRows, bool kZeros>
QAT_INLINE void add_rows(const __m512i (&u)[16], const std::uint32_t* pairs, const float* sums,
                         simd::QAT_TARGET::Float start, simd::QAT_TARGET::Float scale, float* acc) {
  namespace vec = simd::QAT_TARGET;
  __m512 even[kRows], odd[kRows];
  QAT_UNROLL(6)
  for (int r = 0; r < kRows; ++r) {
    even[r] = chain_start<kZeros>(start, sums[r]);
    odd[r] = _mm512_setzero_ps();
  }
  QAT_UNROLL(8)
  for (int i = 0; i < 8; ++i) {
    QAT_UNROLL(6)
    for (int r = 0; r < kRows; ++r) even[r] = dot_bf16(even[r], u[2 * i], pairs[r * 16 + 2 * i]);
    QAT_UNROLL(6)
    for (int r = 0; r < kRows; ++r) odd[r] = dot_bf16(odd[r], u[2 * i + 1], pairs[r * 16 + 2 * i + 1]);
  }
  QAT_UNROLL(6)
  for (int r = 0; r < kRows; ++r) {
    float* c = acc + r * vec::kLanes;
    vec::store(c, vec::fused_mul_add(vec::Float{even[r] + odd[r]}, scale, vec::load(c)));
  }
}

/// Up to kBf16RowBlock rows times one panel. Codes enter as 128 + u, which bf16 holds exactly with the bits 0x4300 | u;
/// what that and the zero point add is taken off by the sum of the activations. kZeros: weights have zero points.
/// kManyRows: six rows pass by side by side, whose twelve chains fill two dot products a cycle of six cycles each (Zen
/// 5), which pays from some 24 on.
template <int kBits, bool kZeros, bool kManyRows>
inline void bf16_row_stream(const Bf16Call& call, const std::uint32_t* a, const float* sums, index_t row, index_t rows,
                            index_t index) {
  namespace vec = simd::QAT_TARGET;
  const PackedWeight& w = *call.weight;
  const panels::QAT_TARGET::PanelReader<kBits> panel(w.layout(), w.data() + index * w.layout().panel_bytes());
  const panels::QAT_TARGET::LaneParams params(w, index * PanelLayout::kPanelRows);
  const vec::Float offset = vec::set(static_cast<float>(w.spec().lowest() - 128));
  alignas(64) float acc[kBf16RowBlock * vec::kLanes];  // [row][16]
  for (index_t i = 0; i < rows * vec::kLanes; i += vec::kLanes) vec::store(acc + i, vec::zero());
  const index_t blocks = w.columns() / 32, blocks_per_tile = w.groups().tile_columns / 32;
  index_t tile = 0, left = blocks_per_tile;
  for (index_t b = 0; b < blocks; ++b, a += rows * 16, sums += rows) {
    if (call.prefetch_bytes > 0) panel.prefetch(b, call.prefetch_bytes);
    __m512i u[16];
    load_pairs(panel, b, u, std::make_integer_sequence<int, 8>{});
    const vec::Float scale = params.scale(tile, b * 32), start = offset - params.zero(tile, b * 32);
    index_t r = 0;
    const auto add = [&](auto count) QAT_INLINE_LAMBDA {
      add_rows<count(), kZeros>(u, a + r * 16, sums + r, start, scale, acc + r * vec::kLanes);
      r += count();
    };
    if constexpr (kManyRows) {
      while (r + 6 <= rows) add(std::integral_constant<int, 6>{});
      if (r + 4 <= rows) add(std::integral_constant<int, 4>{});
      if (r + 2 <= rows) add(std::integral_constant<int, 2>{});
    }
    while (r < rows) add(std::integral_constant<int, 1>{});
    if (--left == 0) {
      ++tile;
      left = blocks_per_tile;
    }
  }
  const index_t column = index * PanelLayout::kPanelRows;
  const index_t n = w.rows() - column < vec::kLanes ? w.rows() - column : index_t{vec::kLanes};
  for (index_t r = 0; r < rows; ++r) {
    vec::Float y = vec::load(acc + r * vec::kLanes);
    if (call.bias != nullptr) y = y + vec::load(call.bias + column, n);
    vec::store(call.c + (row + r) * call.ldc + column, y, n);
  }
}

template <int kBits>
Bf16Kernels bf16_kernels_of(bool zeros) {
  if (zeros) return {&bf16_pack_rows, &bf16_row_stream<kBits, true, false>, &bf16_row_stream<kBits, true, true>};
  return {&bf16_pack_rows, &bf16_row_stream<kBits, false, false>, &bf16_row_stream<kBits, false, true>};
}
template <class Lazy>
Bf16Kernels bf16_kernels(int bits, bool zeros) {
  switch (bits) {
    case 2:
      return bf16_kernels_of<2>(zeros);
    case 3:
      return bf16_kernels_of<3>(zeros);
    case 4:
      return bf16_kernels_of<4>(zeros);
    default:
      return {};
  }
}
#else
template <class Lazy>
Bf16Kernels bf16_kernels(int, bool) {
  return {};
}
#endif

}  // namespace qat::inline v0::kernels::QAT_TARGET
