// Text of kernels/cpu/backward_operands.hpp, compiled once per target.
namespace qat::inline v0::kernels::QAT_TARGET {

/// out[t * width + c] = (codes[t * stride + c] - zero_point[t]) * scale[t] for c < columns, 0 up to width.
inline void dequantize_rows(const std::int8_t* codes, index_t stride, const float* scale, const float* zero_point,
                            index_t rows, index_t columns, index_t width, float* out) {
  namespace vec = simd::QAT_TARGET;
  for (index_t t = 0; t < rows; ++t, codes += stride, out += width) {
    const vec::Float s = vec::set(scale[t]), z = vec::set(zero_point[t]);
    for (index_t c = 0; c < width; c += vec::kLanes) {
      const index_t left = columns - c;
      if (left >= vec::kLanes) {
        vec::store(out + c, (vec::to_float(vec::load_int8(codes + c)) - z) * s);
        continue;
      }
      for (index_t i = 0; i < vec::kLanes; ++i)
        out[c + i] = i < left ? (static_cast<float>(codes[c + i]) - zero_point[t]) * scale[t] : 0.0f;
    }
  }
}

/// out[(r - row_begin) * stride + c] = block[c * 16 + r] for r in [row_begin, row_end) and c < columns, 0 up to width.
inline void transpose_panel(const float* block, index_t row_begin, index_t row_end, index_t columns, index_t width,
                            index_t stride, float* out) {
  namespace vec = simd::QAT_TARGET;
  for (index_t c = 0; c < width; c += vec::kLanes)
    for (index_t r = row_begin / vec::kLanes * vec::kLanes; r < row_end; r += vec::kLanes) {
      vec::Float tile[vec::kLanes];
      for (index_t i = 0; i < vec::kLanes; ++i)
        tile[i] = c + i < columns ? vec::load(block + (c + i) * 16 + r) : vec::zero();
      vec::transpose(tile);
      for (index_t i = 0; i < vec::kLanes; ++i)
        if (r + i >= row_begin && r + i < row_end) vec::store(out + (r + i - row_begin) * stride + c, tile[i]);
    }
}

}  // namespace qat::inline v0::kernels::QAT_TARGET
