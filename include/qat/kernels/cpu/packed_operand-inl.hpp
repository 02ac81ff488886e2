// Text of kernels/cpu/packed_operand.hpp, compiled once per target: reading of bit-plane panels.
namespace qat::inline v0::panels::QAT_TARGET {

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
  /// Asks for the bytes `distance` beyond those of eight quads.
  QAT_INLINE void prefetch(index_t block, index_t distance) const {
    for (int i = 0, w = 8; w >= 1; w /= 2, ++i)
      if (kBits & w)
        for (int chunk = 0; chunk < w; ++chunk)
          __builtin_prefetch(planes[i] + (block * w + chunk) * PanelLayout::kChunkBytes + distance);
  }
  /// Of quad 8 * block + kQuad: shifts by constants, and what eight quads share is read once.
  template <int kQuad>
  QAT_INLINE simd::QAT_TARGET::Int load_in_block(index_t block, index_t row) const {
    namespace vec = simd::QAT_TARGET;
    if constexpr (kBits == 8) return part_in_block<0, kQuad>(block, row);
    vec::Int u = vec::set_int(0);
    if constexpr ((kBits & 4) != 0) u = part_in_block<1, kQuad>(block, row);
    if constexpr ((kBits & 2) != 0)
      u = (kBits & 4) != 0 ? u | part_in_block<2, kQuad>(block, row) : part_in_block<2, kQuad>(block, row);
    if constexpr ((kBits & 1) != 0)
      u = kBits > 1 ? u | part_in_block<3, kQuad>(block, row) : part_in_block<3, kQuad>(block, row);
    return u;
  }
  template <int kPlane, int kQuad>
  QAT_INLINE simd::QAT_TARGET::Int part_in_block(index_t block, index_t row) const {
    namespace vec = simd::QAT_TARGET;
    constexpr int w = 8 >> kPlane;
    constexpr int quads = 8 / w, shift = kQuad % quads * w, below = kBits & (w - 1);
    constexpr int mask = static_cast<int>(((1u << w) - 1u) * 0x01010101u);
    const std::uint8_t* at = planes[kPlane] + (block * w + kQuad / quads) * PanelLayout::kChunkBytes + row * 4;
    vec::Int u = vec::load_int(reinterpret_cast<const std::int32_t*>(at));
    if constexpr (w == 8) return u;
    // One shift moves the bits to where they are wanted.
    if constexpr (shift > below) u = vec::shift_right<(shift > below ? shift - below : 0)>(u);
    if constexpr (shift < below) u = vec::shift_left<(shift < below ? below - shift : 0)>(u);
    return u & vec::set_int(static_cast<int>(static_cast<unsigned>(mask) << below));
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

/// Scales and zero points of kLanes rows of packed weights from row n + lane on, a multiple of kLanes in the panel of
/// n. `tile` is a group of columns, which holds column k. Rows beyond the last get scale 0 or an unused value.
class LaneParams {
 public:
  QAT_INLINE LaneParams(const PackedWeight& w, index_t n) : w_(&w), n_(n) {
    const bool side_by_side = w.groups().tile_rows == 1 && !w.has_float_zero_point();
    const index_t slot =
        n / PanelLayout::kPanelRows * w.groups().tiles_per_row * PanelLayout::kPanelRows + n % PanelLayout::kPanelRows;
    const ScaleType type = w.spec().scale_type;
    if (side_by_side && type == ScaleType::kFloat32) form_ = Form::kFloat32;
    if (side_by_side && (type == ScaleType::kBfloat16 || type == ScaleType::kBfloat16Safe)) form_ = Form::kBfloat16;
#if QAT_TARGET_LEVEL >= 1
    if (side_by_side && (type == ScaleType::kFloat16 || type == ScaleType::kGgmlHalf)) form_ = Form::kFloat16;
#endif
    scales_ = w.scale_data() + slot * scale_bits(type) / 8;
    zeros_ = w.has_zero_points() ? w.zero_point_data() + slot : nullptr;
    lowest_ = static_cast<float>(w.spec().lowest());
    constant_zero_ = w.constant_zero_point();
  }

  QAT_INLINE simd::QAT_TARGET::Float scale(index_t tile, index_t k, index_t lane = 0) const {
    namespace vec = simd::QAT_TARGET;
    const index_t at = tile * PanelLayout::kPanelRows + lane;
    if (form_ == Form::kBfloat16)
      return vec::from_bits(
          vec::shift_left<16>(vec::load_uint16(reinterpret_cast<const std::uint16_t*>(scales_) + at)));
    if (form_ == Form::kFloat32) return vec::load(static_cast<const float*>(static_cast<const void*>(scales_)) + at);
#if QAT_TARGET_LEVEL >= 2
    if (form_ == Form::kFloat16)
      return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(scales_ + at * 2)))};
#elif QAT_TARGET_LEVEL == 1
    if (form_ == Form::kFloat16)
      return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(scales_ + at * 2)))};
#endif
    return gather(k, lane, [&](index_t group) { return w_->scale(group); });
  }
  /// In steps; in weight units if the weights have float zero points.
  QAT_INLINE simd::QAT_TARGET::Float zero(index_t tile, index_t k, index_t lane = 0) const {
    namespace vec = simd::QAT_TARGET;
    if (zeros_ == nullptr) return vec::set(constant_zero_);
    if (form_ == Form::kOther) return gather(k, lane, [&](index_t group) { return w_->zero_point(group); });
    const auto* stored = reinterpret_cast<const std::int8_t*>(zeros_) + tile * PanelLayout::kPanelRows + lane;
    return vec::to_float(vec::load_int8(stored) & vec::set_int(255)) + vec::set(lowest_);
  }

  /// Asks for the scales of the same columns `panels` panels further on.
  QAT_INLINE void prefetch_scale(index_t tile, index_t panels) const {
    const index_t bytes = form_ == Form::kFloat32 ? 4 : 2;
    __builtin_prefetch(scales_ + (tile + panels * w_->groups().tiles_per_row) * PanelLayout::kPanelRows * bytes);
  }

 private:
  enum class Form { kOther, kFloat32, kBfloat16, kFloat16 };

  template <class F>
  QAT_NOINLINE simd::QAT_TARGET::Float gather(index_t k, index_t lane, const F& value) const {
    namespace vec = simd::QAT_TARGET;
    float values[vec::kLanes] = {};
    for (index_t i = 0; i < vec::kLanes && n_ + lane + i < w_->rows(); ++i)
      values[i] = value(w_->group_of(n_ + lane + i, k));
    return vec::load(values);
  }

  const PackedWeight* w_;
  index_t n_;
  Form form_ = Form::kOther;
  const std::uint8_t* scales_;  // of row n in the first group
  const std::uint8_t* zeros_;
  float lowest_, constant_zero_;
};

/// Weights of rows [row, row + width) and columns [k0, k0 + count) as floats, out[(k - k0) * width + r].
template <int kBits>
inline void dequantize_panel(const PackedWeight& w, index_t row, index_t k0, index_t count, index_t width, float* out) {
  namespace vec = simd::QAT_TARGET;
  // A code under the exponent of 2^23 is the float 2^23 + code: one subtraction makes code - zero point, exactly.
  constexpr float kTwo23 = 8388608.0f;
  const vec::Int byte = vec::set_int(255), exponent = vec::bits(vec::set(kTwo23));
  const bool float_zero = w.has_float_zero_point();
  const float lowest = static_cast<float>(w.spec().lowest());
  const float middle = w.middle();
  for (index_t r = 0; r < width; r += vec::kLanes) {
    const index_t n = row + r;
    const PanelReader<kBits> panel(w.layout(), w.data() + n / PanelLayout::kPanelRows * w.layout().panel_bytes());
    const index_t lane = n % PanelLayout::kPanelRows;
    const LaneParams params(w, n);
    index_t tile = k0 / w.groups().tile_columns;
    for (index_t k = k0; k < k0 + count; ++tile) {
      const vec::Float scale = params.scale(tile, k), zero = params.zero(tile, k);
      const vec::Float offset = vec::set(kTwo23 - lowest) + zero;
      const index_t group_end = (tile + 1) * w.groups().tile_columns;
      const index_t end = group_end < k0 + count ? group_end : k0 + count;
      while (k < end) {
        if (k % 32 == 0) panel.prefetch(k / 32, 2 * w.layout().panel_bytes());  // of the next tile of columns
        float* to = out + (k - k0) * width + r;
        vec::Int quad = panel.load(k / 4, lane);
        if (k % 4 == 0 && end - k >= 4 && !float_zero) {
          QAT_UNROLL(4)
          for (int j = 0; j < 4; ++j) {
            vec::store(to + j * width, (vec::from_bits((quad & byte) | exponent) - offset) * scale);
            quad = vec::shift_right<8>(quad);
          }
          k += 4;
          continue;
        }
        quad = vec::shift_right(quad, static_cast<int>(k % 4) * 8);
        const index_t stop = (k / 4 + 1) * 4 < end ? (k / 4 + 1) * 4 : end;
        for (; k < stop; ++k, to += width) {
          const vec::Float q = vec::to_float(quad & byte) + vec::set(lowest);
          quad = vec::shift_right<8>(quad);
          vec::store(to, float_zero ? (q - vec::set(middle)) * scale + zero : (q - zero) * scale);
        }
      }
    }
  }
}

template <class Lazy>
inline void dequantize_panel_of(const PackedWeight& w, index_t row, index_t k0, index_t count, index_t width,
                                float* out) {
  visit_width(w.spec().bits, [&](auto bits) { dequantize_panel<bits()>(w, row, k0, count, width, out); });
}

}  // namespace qat::inline v0::panels::QAT_TARGET
