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
          // q - qmin: the top bit of a signed code turned round. Exclusive or, byte by byte without a borrow.
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
/// padding rows are zero.
inline void pack_panel_params(FloatType type, const float* params, index_t rows, index_t tiles, std::uint8_t* stored) {
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
            vec::store(reinterpret_cast<float*>(stored) + slot, block[j]);
            break;
        }
      }
    }
}

inline void pack_panel_codes(const PanelLayout& layout, bool is_signed, const std::int8_t* codes, index_t rows,
                             std::uint8_t* panel) {
  visit_width(layout.bits, [&](auto bits) { pack_panel_codes<bits()>(layout, is_signed, codes, rows, panel); });
}

}  // namespace qat::inline v0::kernels::QAT_TARGET
