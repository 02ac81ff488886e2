// Text of kernels/cpu/gemm.hpp, compiled once per target: one operand, P, is read where it lies, its rows along k, and
// the other, Q, is packed. A vector holds rows of Q, so that an element of P is broadcast from memory; nothing of P is
// transposed or copied. `b` is a row of P here and `a` packed Q: that way round it serves few rows of activations.
namespace qat::inline v0::kernels::QAT_TARGET {

/// Rows of P in a register tile with one, two, ... vectors of rows of Q. In the first-level cache they may fall on one
/// set (4 KiB apart), so there are at most 12.
#if QAT_TARGET_LEVEL >= 2 || QAT_HAVE_NEON
inline constexpr int kInPlaceTile[] = {8, 12, 8, 6};
#else
inline constexpr int kInPlaceTile[] = {8, 6, 4};
#endif
inline constexpr int kInPlaceVectors = static_cast<int>(sizeof(kInPlaceTile) / sizeof(int));

/// Finished values of a row of C from column n of the block on.
QAT_INLINE void finish(const InPlaceBlock& block, simd::QAT_TARGET::Float y, float* c, index_t n, index_t valid) {
  namespace vec = simd::QAT_TARGET;
  if (block.accumulate) y = y + vec::load(c, valid);
  if (block.bias != nullptr) y = y + vec::load(block.bias + n, valid);
  vec::store(c, y, valid);
}

/// One tile: rows of P from b on, to the rows c_rows of C, or if that is null as out[row of P][row of Q].
template <int kVectors>
inline void in_place_tile(const InPlaceBlock& block, const float* b, float* out, float* c_rows) {
  namespace vec = simd::QAT_TARGET;
  constexpr int kColumns = kInPlaceTile[kVectors - 1], kWidth = kVectors * vec::kLanes;
  vec::Float acc[kColumns][kVectors];
  QAT_UNROLL(16)
  for (int c = 0; c < kColumns; ++c) {
    QAT_UNROLL(4)
    for (int v = 0; v < kVectors; ++v) acc[c][v] = vec::zero();
  }
  const float* a = block.q;
  const index_t stride = block.p_stride;
  // The next tile's rows are asked for in the order of memory: as many streams as columns is more than is followed.
  const float* next = b + kColumns * stride;
  for (index_t k = 0; k < block.count;) {
    QAT_UNROLL(16)
    for (int c = 0; c < kColumns; ++c) {
      __builtin_prefetch(next + c * kInPlaceStep, 0, 2);
      if constexpr (kVectors < 4) __builtin_prefetch(b + c * stride + k + 2 * kInPlaceStep);
    }
    next += kColumns * kInPlaceStep;
    for (const index_t end = k + kInPlaceStep < block.count ? k + kInPlaceStep : block.count; k < end; ++k) {
      vec::Float av[kVectors];
      QAT_UNROLL(4)
      for (int v = 0; v < kVectors; ++v) av[v] = vec::load(a + v * vec::kLanes);
      a += kWidth;
      QAT_UNROLL(16)
      for (int c = 0; c < kColumns; ++c) {
        const vec::Float bv = vec::set(b[c * stride + k]);
        QAT_UNROLL(4)
        for (int v = 0; v < kVectors; ++v) accumulate(acc[c][v], av[v], bv);
      }
    }
  }
  if (c_rows != nullptr) {
    QAT_UNROLL(4)
    for (int v = 0; v < kVectors; ++v) {
      const index_t left = block.q_rows - v * vec::kLanes, n = v * vec::kLanes;
      const index_t valid = left <= 0 ? 0 : left < vec::kLanes ? left : index_t{vec::kLanes};
      QAT_UNROLL(16)
      for (int c = 0; c < kColumns; ++c) finish(block, acc[c][v], c_rows + c * block.ldc + n, n, valid);
    }
    return;
  }
  QAT_UNROLL(16)
  for (int c = 0; c < kColumns; ++c) {
    QAT_UNROLL(4)
    for (int v = 0; v < kVectors; ++v) vec::store(out + c * kWidth + v * vec::kLanes, acc[c][v]);
  }
}

#if QAT_TARGET_LEVEL >= 2
/// kTogether (2 or 4) rows of P and 16 columns: out holds column k of all rows at (see together_at).
template <int kTogether>
QAT_INLINE void interleave(const float* b, index_t stride, index_t left, float* out) {
  __m512i row[kTogether];
  QAT_UNROLL(4)
  for (int i = 0; i < kTogether; ++i) row[i] = simd::QAT_TARGET::bits(simd::QAT_TARGET::load(b + i * stride, left)).v;
  const __m512i low = _mm512_unpacklo_epi32(row[0], row[1]), high = _mm512_unpackhi_epi32(row[0], row[1]);
  if constexpr (kTogether == 2) {
    _mm512_store_si512(out, low);
    _mm512_store_si512(out + 16, high);
  } else {
    const __m512i low2 = _mm512_unpacklo_epi32(row[2], row[3]), high2 = _mm512_unpackhi_epi32(row[2], row[3]);
    _mm512_store_si512(out, _mm512_unpacklo_epi64(low, low2));
    _mm512_store_si512(out + 16, _mm512_unpackhi_epi64(low, low2));
    _mm512_store_si512(out + 32, _mm512_unpacklo_epi64(high, high2));
    _mm512_store_si512(out + 48, _mm512_unpackhi_epi64(high, high2));
  }
}
template <int kTogether>
constexpr index_t together_at(index_t k) {
  return kTogether == 2 ? k % 4 / 2 * 16 + k / 4 * 4 + k % 2 * 2 : k % 4 * 16 + k / 4 * 4;
}

/// Elements of Q or P of one k: lane r * kTogether + c holds row r of Q, and row c of P.
template <int kTogether>
QAT_INLINE simd::QAT_TARGET::Float load_a_together(const float* a) {
  if constexpr (kTogether == 2) {
    const __m512i rows = _mm512_castsi256_si512(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(a)));
    return simd::QAT_TARGET::from_bits(
        {_mm512_permutexvar_epi32(_mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7), rows)});
  } else {
    const __m512i rows = _mm512_castsi128_si512(_mm_loadu_si128(reinterpret_cast<const __m128i*>(a)));
    return simd::QAT_TARGET::from_bits(
        {_mm512_permutexvar_epi32(_mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3), rows)});
  }
}
template <int kTogether>
QAT_INLINE simd::QAT_TARGET::Float load_b_together(const float* b) {
  if constexpr (kTogether == 2) {
    long long pair;
    __builtin_memcpy(&pair, b, sizeof pair);
    return simd::QAT_TARGET::from_bits({_mm512_set1_epi64(pair)});
  } else {
    return simd::QAT_TARGET::from_bits({_mm512_broadcast_i32x4(_mm_load_si128(reinterpret_cast<const __m128i*>(b)))});
  }
}

/// Few rows of Q, 16 / kTogether at most, would leave lanes empty: a vector holds them for kTogether rows of P.
template <int kTogether>
inline void in_place_tile_together(const InPlaceBlock& block, const float* b, float* out, float*) {
  namespace vec = simd::QAT_TARGET;
  constexpr int kWidth = 16 / kTogether, kVectors = 16 / kTogether;
  vec::Float acc[kVectors];
  QAT_UNROLL(8)
  for (int v = 0; v < kVectors; ++v) acc[v] = vec::zero();
  alignas(64) float rows[16 * 16];
  const float* a = block.q;
  const float* next = b + 16 * block.p_stride;
  for (index_t k = 0; k < block.count; k += 16) {
    const index_t left = block.count - k < 16 ? block.count - k : 16;
    QAT_UNROLL(16)
    for (int c = 0; c < 16; ++c) __builtin_prefetch(next + c * kInPlaceStep, 0, 2);
    next += 16 * kInPlaceStep;
    QAT_UNROLL(8)
    for (int v = 0; v < kVectors; ++v)
      interleave<kTogether>(b + v * kTogether * block.p_stride + k, block.p_stride, left, rows + v * kTogether * 16);
    const float* codes = rows;
    asm("" : "+r"(codes) : : "memory");
    const auto multiply = [&](index_t i) QAT_INLINE_LAMBDA {
      const vec::Float av = load_a_together<kTogether>(a + i * kWidth);
      QAT_UNROLL(8)
      for (int v = 0; v < kVectors; ++v)
        accumulate(acc[v], av, load_b_together<kTogether>(codes + v * kTogether * 16 + together_at<kTogether>(i)));
    };
    if (left == 16) {
      QAT_UNROLL(16)
      for (int i = 0; i < 16; ++i) multiply(i);
    } else {
      for (index_t i = 0; i < left; ++i) multiply(i);
    }
    a += 16 * kWidth;
  }
  // Lane c * kWidth + r from lane r * kTogether + c.
  const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i row = _mm512_and_si512(lane, _mm512_set1_epi32(kWidth - 1));
  const __m512i column = _mm512_srli_epi32(lane, kTogether == 2 ? 3 : 2);
  const __m512i from = _mm512_add_epi32(_mm512_mullo_epi32(row, _mm512_set1_epi32(kTogether)), column);
  QAT_UNROLL(8)
  for (int v = 0; v < kVectors; ++v)
    _mm512_storeu_si512(out + v * 16, _mm512_permutexvar_epi32(from, _mm512_castps_si512(acc[v].v)));
}
#endif

/// Elements from one k to the next of `rows` packed rows of Q.
inline index_t in_place_width(index_t rows) {
  constexpr index_t lanes = simd::QAT_TARGET::kLanes;
#if QAT_TARGET_LEVEL >= 2
  if (rows <= 8) return rows <= 4 ? 4 : 8;
#endif
  return (rows + lanes - 1) / lanes * lanes;
}

inline void in_place_pack(const float* a, index_t row_stride, index_t k_stride, index_t rows, index_t count,
                          float* out) {
  const index_t width = in_place_width(rows);
  if (width % simd::QAT_TARGET::kLanes == 0) return pack_panel(a, row_stride, k_stride, rows, count, out, width);
  for (index_t k = 0; k < count; ++k, a += k_stride, out += width)
    for (index_t r = 0; r < width; ++r) out[r] = r < rows ? a[r * row_stride] : 0.0f;
}

inline constexpr index_t kPackAhead = 1024;  // elements

/// Rows of Q that lie along memory, in blocks of `block_rows`, a multiple of kLanes, `pitch` elements apart: in the
/// order of memory, as a block's columns alone are too short to be followed.
inline void in_place_pack_along(const float* source, index_t k_stride, index_t rows, index_t count, index_t block_rows,
                                float* out, index_t pitch) {
  namespace vec = simd::QAT_TARGET;
  for (index_t k = 0; k < count; ++k, source += k_stride, out += block_rows)
    for (index_t r = 0; r < rows; r += block_rows)
      for (index_t i = 0; i < block_rows; i += vec::kLanes) {
        __builtin_prefetch(source + r + i + kPackAhead);
        vec::store(out + r / block_rows * pitch + i, vec::load(source + r + i));
      }
}

/// out[row * pitch + k] = source[k * k_stride + row] for P whose rows do not lie along k; pitch: multiple of kLanes, no
/// less than count.
inline void in_place_turn(const float* source, index_t k_stride, index_t rows, index_t count, float* out,
                          index_t pitch) {
  namespace vec = simd::QAT_TARGET;
  for (index_t k = 0; k < count; k += vec::kLanes)
    for (index_t r = 0; r < rows; r += vec::kLanes) {
      const index_t left = rows - r, valid = left < vec::kLanes ? left : index_t{vec::kLanes};
      vec::Float block[vec::kLanes];
      QAT_UNROLL(16)
      for (int i = 0; i < vec::kLanes; ++i)
        block[i] = k + i < count ? vec::load(source + (k + i) * k_stride + r, valid) : vec::zero();
      vec::transpose(block);
      QAT_UNROLL(16)
      for (int i = 0; i < vec::kLanes; ++i)
        if (i < valid) vec::store(out + (r + i) * pitch + k, block[i]);
    }
}

/// Rows of out from `first` on to the same rows of C.
inline void in_place_copy(const InPlaceBlock& block, index_t width, index_t first) {
  namespace vec = simd::QAT_TARGET;
  for (index_t m = first; m < block.p_rows; ++m)
    for (index_t n = 0; n < block.q_rows; n += vec::kLanes) {
      const index_t left = block.q_rows - n, valid = left < vec::kLanes ? left : index_t{vec::kLanes};
      finish(block, vec::load(block.out + m * width + n), block.c + m * block.ldc + n, n, valid);
    }
}

/// out to C, rows to columns.
inline void in_place_transpose(const InPlaceBlock& block, index_t width) {
  namespace vec = simd::QAT_TARGET;
  for (index_t n = 0; n < block.p_rows; n += vec::kLanes) {
    const index_t left = block.p_rows - n, valid = left < vec::kLanes ? left : index_t{vec::kLanes};
    const vec::Float bias = block.bias == nullptr ? vec::zero() : vec::load(block.bias + n, valid);
    for (index_t m = 0; m < block.q_rows; m += vec::kLanes) {
      const index_t rows = block.q_rows - m < vec::kLanes ? block.q_rows - m : index_t{vec::kLanes};
      vec::Float y[vec::kLanes];
      QAT_UNROLL(16)
      for (int i = 0; i < vec::kLanes; ++i) y[i] = vec::load(block.out + (n + i) * width + m);
      vec::transpose(y);
      float* c = block.c + m * block.ldc + n;
      QAT_UNROLL(16)
      for (int i = 0; i < vec::kLanes; ++i) {
        if (i >= rows) break;
        if (block.accumulate) y[i] = y[i] + vec::load(c + i * block.ldc, valid);
        if (block.bias != nullptr) y[i] = y[i] + bias;
        vec::store(c + i * block.ldc, y[i], valid);
      }
    }
  }
}

/// block.p_rows rows of P times block.q_rows rows of Q, kInPlaceVectors vectors at most.
template <class Lazy>
void in_place_block(const InPlaceBlock& block) {
  const index_t width = in_place_width(block.q_rows);
  const bool to_c = block.p_is_a && width % simd::QAT_TARGET::kLanes == 0;
  index_t done = 0;  // rows of P whose outputs are in C
  const auto run = [&](auto tile, index_t rows) QAT_INLINE_LAMBDA {
    // The last tile ends at the last row of P, and may compute rows of the one before again.
    for (index_t i = 0; i < block.p_rows; i += rows) {
      const bool whole = i + rows <= block.p_left;
      const index_t begin = whole ? i : block.p_left - rows;
      tile(block, block.p + begin * block.p_stride, block.out + begin * width,
           whole && to_c ? block.c + i * block.ldc : nullptr);
      if (whole && to_c) done = i + rows;
    }
  };
#if QAT_TARGET_LEVEL >= 2
  if (width == 4) run(in_place_tile_together<4>, 16);
  if (width == 8) run(in_place_tile_together<2>, 16);
#endif
  if (width == 1 * simd::QAT_TARGET::kLanes) run(in_place_tile<1>, kInPlaceTile[0]);
  if (width == 2 * simd::QAT_TARGET::kLanes) run(in_place_tile<2>, kInPlaceTile[1]);
  if (width == 3 * simd::QAT_TARGET::kLanes) run(in_place_tile<3>, kInPlaceTile[2]);
  if constexpr (kInPlaceVectors == 4)
    if (width == 4 * simd::QAT_TARGET::kLanes) run(in_place_tile<4>, kInPlaceTile[3]);
  block.p_is_a ? in_place_copy(block, width, done) : in_place_transpose(block, width);
}

template <class Lazy>
inline constexpr InPlaceKernels kInPlaceKernels = {simd::QAT_TARGET::kLanes, kInPlaceVectors* simd::QAT_TARGET::kLanes,
                                                   &in_place_width,          &in_place_pack,
                                                   &in_place_pack_along,     &in_place_turn,
                                                   &in_place_block<Lazy>};

}  // namespace qat::inline v0::kernels::QAT_TARGET
