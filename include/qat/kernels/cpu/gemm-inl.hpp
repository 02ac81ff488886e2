// Text of kernels/cpu/gemm.hpp, compiled once per target: the register tile, packing, and the loop over a block of C.
namespace qat::inline v0::kernels::QAT_TARGET {

// Register tile: kTileRows x kTileVectors vectors of accumulators, one vector of B per column vector, one broadcast of
// A.
#if QAT_TARGET_LEVEL >= 2
inline constexpr int kTileRows = 14;  // 28 + 2 + 1 of 32 registers; 16 loads per 28 multiply-adds
#elif QAT_TARGET_LEVEL == 1
inline constexpr int kTileRows = 6;  // 12 + 2 + 1 of 16 registers
#elif QAT_HAVE_NEON
inline constexpr int kTileRows = 12;  // 24 + 2 + 1 of 32 registers
#else
inline constexpr int kTileRows = 4;
#endif
inline constexpr int kTileVectors = 2;

inline constexpr index_t kPrefetch = 192;

// What one step of a tile multiplies: an element of each operand, or where QAT_TARGET_BF16 is set a pair of bf16.
#if QAT_TARGET_BF16
inline constexpr index_t kStep = 2;
QAT_INLINE simd::QAT_TARGET::Float multiply_step(simd::QAT_TARGET::Float a, simd::QAT_TARGET::Float b,
                                                 simd::QAT_TARGET::Float acc) {
  return {_mm512_dpbf16_ps(acc.v, (__m512bh)_mm512_castps_si512(a.v), (__m512bh)_mm512_castps_si512(b.v))};
}
/// Elements of an even and the odd k after it, rounded to bf16, one pair a lane.
QAT_INLINE simd::QAT_TARGET::Float pair_up(simd::QAT_TARGET::Float even, simd::QAT_TARGET::Float odd) {
  const __m512i low = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(even.v));
  const __m512i high = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(odd.v));
  return {_mm512_castsi512_ps(_mm512_or_si512(low, _mm512_slli_epi32(high, 16)))};
}
/// A packed panel [count][width] to pairs [(count + 1) / 2][width], in place.
inline void pair_panel(float* panel, index_t width, index_t count) {
  namespace vec = simd::QAT_TARGET;
  for (index_t k = 0; k < count; k += 2)
    for (index_t r = 0; r < width; r += vec::kLanes) {
      const vec::Float odd = k + 1 < count ? vec::load(panel + (k + 1) * width + r) : vec::zero();
      vec::store(panel + k / 2 * width + r, pair_up(vec::load(panel + k * width + r), odd));
    }
}
#else
inline constexpr index_t kStep = 1;
QAT_INLINE simd::QAT_TARGET::Float multiply_step(simd::QAT_TARGET::Float a, simd::QAT_TARGET::Float b,
                                                 simd::QAT_TARGET::Float acc) {
  return simd::QAT_TARGET::mul_add(a, b, acc);
}
inline void pair_panel(float*, index_t, index_t) {}
#endif

/// A step of a chain, on a target whose tile is wide, in the register of the chain.
QAT_INLINE void accumulate(simd::QAT_TARGET::Float& acc, simd::QAT_TARGET::Float x, simd::QAT_TARGET::Float weight) {
#if QAT_TARGET_LEVEL >= 2 && !defined(QAT_X86_EMULATION)
  // As assembly: g++ 12 rotates the accumulators of the unrolled tile through other registers and the stack.
  asm("vfmadd231ps %2, %1, %0" : "+v"(acc.v) : "v"(x.v), "v"(weight.v));
#else
  acc = simd::QAT_TARGET::mul_add(x, weight, acc);
#endif
}

/// out[k * width + row] = source[row * row_stride + k * k_stride]; rows up to width are zero. width: multiple of
/// kLanes.
inline void pack_panel(const float* source, index_t row_stride, index_t k_stride, index_t rows, index_t count,
                       float* out, index_t width) {
  namespace vec = simd::QAT_TARGET;
  if (row_stride == 1 && k_stride != 1) {
    for (index_t k = 0; k < count; ++k)
      for (index_t r = 0; r < width; r += vec::kLanes) {
        const index_t valid = rows - r;
        float* to = out + k * width + r;
        if (valid >= vec::kLanes) {
          vec::store(to, vec::load(source + k * k_stride + r));
        } else {
          vec::store(to, vec::load(source + k * k_stride + r, valid > 0 ? valid : 0));
        }
      }
    return;
  }
  for (index_t r = 0; r < width; r += vec::kLanes) {
    const index_t valid = rows - r < 0 ? 0 : rows - r < vec::kLanes ? rows - r : index_t{vec::kLanes};
    const float* from = source + r * row_stride;
    index_t k = 0;
    if (k_stride == 1) {
      vec::Float block[vec::kLanes];
      for (; k + vec::kLanes <= count; k += vec::kLanes) {
        if (valid == vec::kLanes) {
          // The rows are as many streams as a prefetcher will not follow. Past their ends, those of the next vector.
          const index_t ahead =
              k + kPrefetch < count ? k + kPrefetch : k + kPrefetch - count + vec::kLanes * row_stride;
          QAT_UNROLL(16)
          for (int i = 0; i < vec::kLanes; ++i) {
            if constexpr (vec::kLanes == 16) __builtin_prefetch(from + i * row_stride + ahead);
            block[i] = vec::load(from + i * row_stride + k);
          }
        } else {
          QAT_UNROLL(16)
          for (int i = 0; i < vec::kLanes; ++i)
            block[i] = i < valid ? vec::load(from + i * row_stride + k) : vec::zero();
        }
        vec::transpose(block);
        QAT_UNROLL(16)
        for (int i = 0; i < vec::kLanes; ++i) vec::store(out + (k + i) * width + r, block[i]);
      }
    }
    for (; k < count; ++k)
      for (index_t i = 0; i < vec::kLanes; ++i)
        out[k * width + r + i] = i < valid ? from[i * row_stride + k * k_stride] : 0.0f;
  }
}

/// One tile of C: kRows x kVectors vectors; A is a[row * t.a_row_stride + k * t.a_k_stride].
template <int kRows, int kVectors>
inline void gemm_tile(const GemmTile& t, const float* a, const float* b, float* partial, float* c, index_t columns,
                      const float* bias) {
  namespace vec = simd::QAT_TARGET;
  constexpr int kWidth = kVectors * vec::kLanes;
  vec::Float acc[kRows][kVectors];
  QAT_UNROLL(16)
  for (int r = 0; r < kRows; ++r) {
    QAT_UNROLL(2)
    for (int v = 0; v < kVectors; ++v)
      acc[r][v] = t.first ? vec::zero() : vec::load(partial + r * kWidth + v * vec::kLanes);
  }
  const index_t row_stride = t.a_row_stride, k_stride = t.a_k_stride;
  for (index_t k = 0; k < t.count; ++k) {
    vec::Float bv[kVectors];
    QAT_UNROLL(2)
    for (int v = 0; v < kVectors; ++v) bv[v] = vec::load(b + v * vec::kLanes);
    b += kWidth;
    QAT_UNROLL(16)
    for (int r = 0; r < kRows; ++r) {
      const vec::Float av = vec::set(a[r * row_stride]);
      QAT_UNROLL(2)
      for (int v = 0; v < kVectors; ++v) acc[r][v] = multiply_step(av, bv[v], acc[r][v]);
    }
    a += k_stride;
  }
  if (!t.last) {
    QAT_UNROLL(16)
    for (int r = 0; r < kRows; ++r) {
      QAT_UNROLL(2)
      for (int v = 0; v < kVectors; ++v) vec::store(partial + r * kWidth + v * vec::kLanes, acc[r][v]);
    }
    return;
  }
  // Partial accesses cost nothing on AVX-512, so it has no second form.
  if (QAT_TARGET_LEVEL < 2 && columns == kWidth) {
    QAT_UNROLL(16)
    for (int r = 0; r < kRows; ++r) {
      QAT_UNROLL(2)
      for (int v = 0; v < kVectors; ++v) {
        vec::Float y = acc[r][v];
        if (t.accumulate) y = y + vec::load(c + r * t.ldc + v * vec::kLanes);
        if (bias != nullptr) y = y + vec::load(bias + v * vec::kLanes);
        vec::store(c + r * t.ldc + v * vec::kLanes, y);
      }
    }
    return;
  }
  QAT_UNROLL(16)
  for (int r = 0; r < kRows; ++r) {
    QAT_UNROLL(2)
    for (int v = 0; v < kVectors; ++v) {
      const index_t left = columns - v * vec::kLanes;
      const index_t n = left < vec::kLanes ? left : index_t{vec::kLanes};
      vec::Float y = acc[r][v];
      if (t.accumulate) y = y + vec::load(c + r * t.ldc + v * vec::kLanes, n);
      if (bias != nullptr) y = y + vec::load(bias + v * vec::kLanes, n);
      vec::store(c + r * t.ldc + v * vec::kLanes, y, n);
    }
  }
}

using GemmTileFunction = void (*)(const GemmTile&, const float*, const float*, float*, float*, index_t, const float*);

template <int kVectors, class Sequence>
struct GemmTiles;
template <int kVectors, int... kRowsMinus1>
struct GemmTiles<kVectors, std::integer_sequence<int, kRowsMinus1...>> {
  static constexpr GemmTileFunction functions[] = {&gemm_tile<kRowsMinus1 + 1, kVectors>...};
};

/// The block of C: block.rows x block.columns, one K-block.
template <class Lazy>
void gemm_block(const GemmBlock& block) {
  namespace vec = simd::QAT_TARGET;
  constexpr index_t kWidth = kTileVectors * vec::kLanes;
  constexpr index_t kPackedRows = (kTileRows + vec::kLanes - 1) / vec::kLanes * vec::kLanes;
  // Even tiles: 64 rows are 13 + 13 + 13 + 13 + 12, not 4 * 14 + 8.
  const index_t tiles = (block.rows + kTileRows - 1) / kTileRows;
  const index_t columns_rounded = (block.columns + kWidth - 1) / kWidth * kWidth;
  for (index_t i = 0; i < tiles; ++i) {
    const index_t row0 = block.rows * i / tiles, rows = block.rows * (i + 1) / tiles - row0;
    GemmTile t = block.tile;
    const float* a = block.a + row0 * t.a_row_stride;
    if (block.a_panel != nullptr) {
      pack_panel(a, t.a_row_stride, t.a_k_stride, rows, t.count, block.a_panel, kPackedRows);
      pair_panel(block.a_panel, kPackedRows, t.count);
      a = block.a_panel;
      t.a_row_stride = 1;
      t.a_k_stride = kPackedRows;
    }
    t.count = (t.count + kStep - 1) / kStep;
    using Rows = std::make_integer_sequence<int, kTileRows>;
    for (index_t n = 0; n < block.columns; n += kWidth) {
      const index_t columns = block.columns - n < kWidth ? block.columns - n : kWidth;
      const GemmTileFunction tile =
          columns <= vec::kLanes ? GemmTiles<1, Rows>::functions[rows - 1] : GemmTiles<2, Rows>::functions[rows - 1];
      tile(t, a, block.b + n * t.count, block.partial + row0 * columns_rounded + n * rows, block.c + row0 * t.ldc + n,
           columns, block.bias == nullptr ? nullptr : block.bias + n);
    }
  }
}

/// Packs columns of B into panels: panel j (kTileVectors vectors wide, the last one vector if that is enough) starts at
/// out + j * width * steps, and holds count elements of each column in steps.
inline void gemm_pack_b(const float* source, index_t row_stride, index_t k_stride, index_t rows, index_t count,
                        float* out) {
  namespace vec = simd::QAT_TARGET;
  constexpr index_t kWidth = kTileVectors * vec::kLanes;
  const index_t steps = (count + kStep - 1) / kStep;
  if (row_stride == 1 && k_stride != 1) {
    // Along the contiguous rows of memory, so that a line and a page are visited once.
    const index_t full = rows / kWidth * kWidth;
    for (index_t step = 0; step < steps; ++step)
      for (index_t n = 0; n < full; n += kWidth) {
        const float* from = source + step * kStep * k_stride + n;
        QAT_UNROLL(2)
        for (index_t v = 0; v < kWidth; v += vec::kLanes) {
          vec::Float x = vec::load(from + v);
#if QAT_TARGET_BF16
          x = pair_up(x, 2 * step + 1 < count ? vec::load(from + k_stride + v) : vec::zero());
#endif
          vec::store(out + n * steps + step * kWidth + v, x);
        }
      }
    source += full;
    out += full * steps;
    rows -= full;
  }
  for (index_t n = 0; n < rows; n += kWidth) {
    const index_t left = rows - n < kWidth ? rows - n : kWidth;
    const index_t width = left <= vec::kLanes ? index_t{vec::kLanes} : kWidth;
    pack_panel(source + n * row_stride, row_stride, k_stride, left, count, out + n * steps, width);
    pair_panel(out + n * steps, width, count);
  }
}

template <class Lazy>
inline constexpr GemmKernels kGemmKernels = {
    kTileRows, kTileVectors* simd::QAT_TARGET::kLanes, kStep, &gemm_block<Lazy>, &gemm_pack_b, &pair_panel};

}  // namespace qat::inline v0::kernels::QAT_TARGET
