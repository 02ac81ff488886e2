// Text of kernels/cpu/pack_weight.hpp, compiled once per target.
namespace qat::inline v0::kernels::QAT_TARGET {

/// Codes of up to 16 rows into one panel of PanelLayout; every byte of the panel is written.
/// codes (rows, columns), row-major; signed codes in two's complement.
template <int kBits>
inline void pack_panel_codes(const PanelLayout& layout, bool is_signed, const std::int8_t* codes, index_t rows,
                             std::uint8_t* panel) {
  namespace vec = simd::QAT_TARGET;
  constexpr index_t kLanes = vec::kLanes;
  constexpr index_t kQuads = kLanes < 8 ? 8 : kLanes;  // a chunk of the 1-bit plane takes 8
  constexpr std::uint32_t kBytes = 0x01010101u;
  const vec::Int mask = vec::set_int(static_cast<std::int32_t>(((1u << kBits) - 1u) * kBytes));
  const vec::Int top = vec::set_int(is_signed ? static_cast<std::int32_t>((1u << (kBits - 1)) * kBytes) : 0);
  const index_t columns = layout.columns;
  for (index_t lane = 0; lane < PanelLayout::kPanelRows; lane += kLanes) {
    const index_t valid = rows - lane < 0 ? 0 : rows - lane < kLanes ? rows - lane : kLanes;
    const std::int8_t* from = codes + lane * columns;
    for (index_t k = 0; k < columns; k += 4 * kQuads) {
      vec::Int u[kQuads];
      for (index_t q = 0; q < kQuads; q += kLanes) {
        vec::Float block[kLanes];  // row i: four columns a lane; transposed: quad i, a row a lane
        const index_t left = columns - (k + 4 * q);
        for (index_t i = 0; i < kLanes; ++i) {
          block[i] = vec::zero();
          if (i >= valid || left <= 0) continue;
          const std::int8_t* at = from + i * columns + k + 4 * q;
          float tail[kLanes] = {};
          if (left < 4 * kLanes) __builtin_memcpy(tail, at, static_cast<std::size_t>(left));
          block[i] = vec::from_bits(
              vec::load_int(reinterpret_cast<const std::int32_t*>(left < 4 * kLanes ? static_cast<void*>(tail) : at)));
        }
        vec::transpose(block);
        for (index_t i = 0; i < kLanes; ++i) {
          // q - lowest(): the top bit of a signed code turned round. Exclusive or, byte by byte without a borrow.
          const vec::Int code = vec::bits(block[i]) & mask;
          u[q + i] = (code | top) - (code & top);
        }
      }
      if (valid < kLanes || columns - k < 4 * kQuads) {  // padding holds u = 0
        std::int32_t lanes[kLanes];
        for (index_t i = 0; i < kLanes; ++i) lanes[i] = i < valid ? -1 : 0;
        const vec::Int inside = vec::load_int(lanes);
        for (index_t q = 0; q < kQuads; ++q) {
          const index_t left = columns - k - 4 * q;
          u[q] = u[q] & inside & vec::set_int(left >= 4 ? -1 : left <= 0 ? 0 : (1 << (8 * left)) - 1);
        }
      }
      std::uint8_t* plane = panel;
      for (int w = 8; w >= 1; w /= 2) {
        if ((kBits & w) == 0) continue;
        const int below = kBits & (w - 1), quads = 8 / w;
        const vec::Int low = vec::set_int(static_cast<std::int32_t>(((1u << w) - 1u) * kBytes));
        const index_t chunk_columns = PanelLayout::chunk_columns(w);
        for (index_t q = 0; q < kQuads && k + 4 * q < columns; q += quads) {
          vec::Int chunk = vec::shift_right(u[q], below) & low;
          for (int i = 1; i < quads; ++i)
            chunk = chunk | vec::shift_left(vec::shift_right(u[q + i], below) & low, w * i);
          vec::store_int(reinterpret_cast<std::int32_t*>(
                             plane + (k + 4 * q) / chunk_columns * PanelLayout::kChunkBytes + lane * 4),
                         chunk);
        }
        plane += layout.plane_bytes(w);
      }
    }
  }
}

/// Parameters (rows, tiles), row-major, of up to 16 rows into the slots of a panel: tile t of row r is slot 16 * t + r,
/// padding rows are zero. stream: past the caches, where they fill lines.
inline void pack_panel_params(FloatType type, const float* params, index_t rows, index_t tiles, bool stream,
                              std::uint8_t* stored) {
  namespace vec = simd::QAT_TARGET;
  constexpr index_t kLanes = vec::kLanes;
  for (index_t lane = 0; lane < PanelLayout::kPanelRows; lane += kLanes)
    for (index_t t = 0; t < tiles; t += kLanes) {
      const index_t count = tiles - t < kLanes ? tiles - t : kLanes;
      vec::Float block[kLanes];
      for (index_t i = 0; i < kLanes; ++i)
        block[i] = lane + i < rows ? vec::load(params + (lane + i) * tiles + t, count) : vec::zero();
      vec::transpose(block);
      for (index_t j = 0; j < count; ++j) {
        const index_t slot = (t + j) * PanelLayout::kPanelRows + lane;
        std::uint16_t* const words = reinterpret_cast<std::uint16_t*>(stored) + slot;
        switch (type) {
          case FloatType::kFloat16:
            quantization::store_uint16(words, quantization::float_to_half(block[j]));
            break;
          case FloatType::kBfloat16:
            quantization::store_uint16(words, vec::shift_right<16>(vec::bits(block[j])));
            break;
          default:
            if (stream && kLanes == PanelLayout::kPanelRows)
              vec::stream(reinterpret_cast<float*>(stored) + slot, block[j]);
            else
              vec::store(reinterpret_cast<float*>(stored) + slot, block[j]);
            break;
        }
      }
    }
}

/// Copies parameters past the caches, where they fill vectors.
inline void stream_params(const float* params, index_t count, float* out) {
  namespace vec = simd::QAT_TARGET;
  index_t i = 0;
  if (reinterpret_cast<std::uintptr_t>(out) % sizeof(vec::Float) == 0)
    for (; i + vec::kLanes <= count; i += vec::kLanes) vec::stream(out + i, vec::load(params + i));
  for (; i < count; ++i) out[i] = params[i];
}

#if QAT_TARGET_LEVEL >= 2
/// Parameters of a block of 128 columns: its groups are the rows of quantization::Params.
struct BlockParams {
  simd::QAT_TARGET::Float inverse;
  simd::QAT_TARGET::Int zero_words;  ///< zero points less qmin, in both halves of a lane
};

/// Columns [32 * kRow, 32 * kRow + 32) of a block as int16: codes less qmin, not clamped.
template <int kRow, bool kPlain>
QAT_INLINE __m512i unclamped_words(const float* x, const BlockParams& p) {
  namespace vec = simd::QAT_TARGET;
  const vec::Float inverse = quantization::permute_quads<0x55 * kRow>(p.inverse);
  const vec::Int left = vec::to_int(vec::load(x + 32 * kRow) * inverse);
  const vec::Int right = vec::to_int(vec::load(x + 32 * kRow + 16) * inverse);
  vec::Int zero = p.zero_words;
  if constexpr (!kPlain) zero = vec::bits(quantization::permute_quads<0x55 * kRow>(vec::from_bits(zero)));
  return quantization::add_words(quantization::saturated_words(left, right), zero).v;
}

/// 128 columns of a row as 4-bit codes less qmin: lane t holds columns 8t to 8t + 7 as their chunk does.
template <bool kPlain>
QAT_INLINE __m512i joined_nibbles(const float* x, const BlockParams& p) {
  const __m512i most = _mm512_set1_epi8(15);
  const __m512i word0 = unclamped_words<0, kPlain>(x, p), word1 = unclamped_words<1, kPlain>(x, p);
  const __m512i word2 = unclamped_words<2, kPlain>(x, p), word3 = unclamped_words<3, kPlain>(x, p);
  const __m512i left = _mm512_min_epu8(_mm512_packus_epi16(word0, word1), most);
  const __m512i right = _mm512_min_epu8(_mm512_packus_epi16(word2, word3), most);
  // Packing leaves columns 16d + 4i of 64 in the dword d of the 128-bit lane i.
  const __m512i even = _mm512_setr_epi32(0, 8, 1, 9, 2, 10, 3, 11, 16, 24, 17, 25, 18, 26, 19, 27);
  const __m512i low = _mm512_permutex2var_epi32(left, even, right);
  const __m512i high = _mm512_permutex2var_epi32(left, _mm512_add_epi32(even, _mm512_set1_epi32(4)), right);
  return _mm512_or_si512(low, _mm512_slli_epi32(high, 4));
}

/// Chooses the parameters of a block and stores them: scales, and zero points unless z is null.
/// @returns false where an element is not finite or a code too large for int32
template <quantization::Known kKnown>
QAT_INLINE bool choose_and_store(const float* w, index_t tile, const AffineScheme& a, float* s, float* z,
                                 BlockParams& block) {
  namespace vec = simd::QAT_TARGET;
  vec::Float x[8], magnitude;
  quantization::Params p;
  quantization::load_block(w, x);
  if (!quantization::choose_block<kKnown>(x, tile, a, p, magnitude)) [[unlikely]]
    return false;
  quantization::store_of_tiles(s, p.scale, tile);
  if (z != nullptr) quantization::store_of_tiles(z, p.zero_point, tile);
  const vec::Int qmin = vec::set_int(static_cast<std::int32_t>(a.qmin));
  vec::Int zero = vec::set_int(0) - qmin;
  if constexpr (kKnown != quantization::Known::kPlain) {
    const vec::Mask fits = magnitude * vec::abs(p.inverse_or_low) < vec::set(0x1p30f);
    if (quantization::to_bits(fits) != 0xFFFFu) [[unlikely]]
      return false;
  }
  if constexpr (kKnown == quantization::Known::kAny) zero = vec::to_int(p.zero_point) - qmin;
  block = {p.inverse_or_low, zero | vec::shift_left<16>(zero)};
  return true;
}

/// Sixteen rows (16, columns) of fp32 weights to a panel of 4-bit codes with chosen parameters, which s and z (unless
/// null) receive, (16, columns / tile). columns: a multiple of 128; buffer: 8 * columns bytes. Codes are joined in
/// registers, pass through the buffer once, and are written past the caches if stream. Weights are asked for `prefetch`
/// elements ahead, unless 0; ahead: those that will be read next, or null.
/// @returns false where an element is not finite or a code too large for int32: the outputs mean nothing then
template <quantization::Known kKnown>
QAT_NOINLINE inline bool quantize_panel(const AffineScheme& scheme, const float* w, index_t columns, index_t tile,
                                        const float* ahead, index_t prefetch, bool stream, float* buffer, float* s,
                                        float* z, std::uint8_t* panel) {
  namespace vec = simd::QAT_TARGET;
  constexpr index_t kRows = PanelLayout::kPanelRows, kBlock = quantization::kBlock;
  const AffineScheme a = quantization::known_scheme<kKnown>(scheme);
  const index_t blocks = columns / kBlock, tiles = kBlock / tile, last = kRows * blocks - 1;
  BlockParams now, next;
  if (!choose_and_store<kKnown>(w, tile, a, s, z, now)) return false;
  index_t i = 0;
  for (index_t r = 0; r < kRows; ++r)
    for (index_t b = 0; b < blocks; ++b, ++i) {
      // The chain that chooses parameters is long: that of the next block runs beside the codes of this one.
      const index_t n = i < last ? i + 1 : i;
      if (!choose_and_store<kKnown>(w + n * kBlock, tile, a, s + n * tiles, z != nullptr ? z + n * tiles : z, next))
          [[unlikely]]
        return false;
      if (prefetch != 0) {
        QAT_UNROLL(8)
        for (int line = 0; line < 8; ++line) __builtin_prefetch(w + i * kBlock + line * vec::kLanes + prefetch);
      }
      vec::store_int(reinterpret_cast<std::int32_t*>(buffer) + (b * kRows + r) * vec::kLanes,
                     {joined_nibbles<kKnown != quantization::Known::kAny>(w + i * kBlock, now)});
      now = next;
    }
  for (index_t b = 0; b < blocks; ++b) {
    vec::Float rows[kRows];
    QAT_UNROLL(16)
    for (index_t r = 0; r < kRows; ++r) {
      rows[r] = vec::load(buffer + (b * kRows + r) * vec::kLanes);
      if (ahead != nullptr) __builtin_prefetch(ahead + (b * kRows + r) * vec::kLanes);
    }
    vec::transpose(rows);
    float* const to = reinterpret_cast<float*>(panel) + b * kRows * vec::kLanes;
    QAT_UNROLL(16)
    for (index_t r = 0; r < kRows; ++r)
      stream ? vec::stream(to + r * vec::kLanes, rows[r]) : vec::store(to + r * vec::kLanes, rows[r]);
  }
  return true;
}
inline bool quantize_panel(const AffineScheme& scheme, const float* w, index_t columns, index_t tile,
                           const float* ahead, index_t prefetch, bool stream, float* buffer, float* s, float* z,
                           std::uint8_t* panel) {
  if (scheme.spec.bits != 4 || columns == 0 || columns % quantization::kBlock != 0 ||
      !quantization::has_blocks(scheme, tile))
    return false;
  const auto run = [&](auto known) {
    return quantize_panel<known()>(scheme, w, columns, tile, ahead, prefetch, stream, buffer, s, z, panel);
  };
  using quantization::Known;
  switch (quantization::known_of(scheme)) {
    case Known::kPlain:
      return run(std::integral_constant<Known, Known::kPlain>{});
    case Known::kSymmetric:
      return run(std::integral_constant<Known, Known::kSymmetric>{});
    default:
      return run(std::integral_constant<Known, Known::kAny>{});
  }
}
#else
inline bool quantize_panel(const AffineScheme&, const float*, index_t, index_t, const float*, index_t, bool, float*,
                           float*, float*, std::uint8_t*) {
  return false;
}
#endif

/// After the last store past the caches, before another thread reads.
inline void fence_streams() { simd::QAT_TARGET::stream_fence(); }

inline void pack_panel_codes(const PanelLayout& layout, bool is_signed, const std::int8_t* codes, index_t rows,
                             std::uint8_t* panel) {
  visit_width(layout.bits, [&](auto bits) { pack_panel_codes<bits()>(layout, is_signed, codes, rows, panel); });
}

}  // namespace qat::inline v0::kernels::QAT_TARGET
