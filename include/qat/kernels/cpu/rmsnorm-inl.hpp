// Text of kernels/cpu/rmsnorm.hpp, compiled once per target.
namespace qat::inline v0::kernels::QAT_TARGET {

inline void rmsnorm_rows(const float* x, const float* weight, float eps, index_t rows, index_t cols, float* y,
                         float* inv_rms) {
  namespace vec = simd::QAT_TARGET;
  for (index_t r = 0; r < rows; ++r, x += cols, y += cols) {
    vec::Lanes16 squares = vec::set16(0.0f);
    for (index_t c = 0; c < cols; c += 16) {
      const vec::Lanes16 v = vec::load16(x + c, cols - c, 0.0f);
      for (int i = 0; i < vec::kParts16; ++i) squares.part[i] = mul_add(v.part[i], v.part[i], squares.part[i]);
    }
    const float inv = 1.0f / __builtin_sqrtf(sum_of(squares) / static_cast<float>(cols) + eps);
    if (inv_rms != nullptr) inv_rms[r] = inv;
    index_t c = 0;
    for (; c + vec::kLanes <= cols; c += vec::kLanes)
      vec::store(y + c, vec::load(x + c) * vec::set(inv) * vec::load(weight + c));
    for (; c < cols; ++c) y[c] = x[c] * inv * weight[c];
  }
}

inline void rmsnorm_backward_rows(const float* x, const float* weight, const float* inv_rms, const float* dy,
                                  index_t rows, index_t cols, float* dx, bool accumulate_dx, float* dweight) {
  namespace vec = simd::QAT_TARGET;
  for (index_t r = 0; r < rows; ++r, x += cols, dy += cols) {
    const float inv = inv_rms[r];
    if (dweight != nullptr) {
      index_t c = 0;
      for (; c + vec::kLanes <= cols; c += vec::kLanes)
        vec::store(dweight + c, vec::load(dweight + c) + vec::load(dy + c) * (vec::load(x + c) * vec::set(inv)));
      for (; c < cols; ++c) dweight[c] += dy[c] * (x[c] * inv);
    }
    if (dx == nullptr) continue;
    vec::Lanes16 products = vec::set16(0.0f);
    for (index_t c = 0; c < cols; c += 16) {
      const vec::Lanes16 vx = vec::load16(x + c, cols - c, 0.0f), vg = vec::load16(dy + c, cols - c, 0.0f);
      const vec::Lanes16 vw = vec::load16(weight + c, cols - c, 0.0f);
      for (int i = 0; i < vec::kParts16; ++i)
        products.part[i] = mul_add(vg.part[i] * vw.part[i], vx.part[i] * vec::set(inv), products.part[i]);
    }
    const float mean = sum_of(products) / static_cast<float>(cols);
    float* out = dx + r * cols;
    index_t c = 0;
    for (; c + vec::kLanes <= cols; c += vec::kLanes) {
      const vec::Float normalized = vec::load(x + c) * vec::set(inv);
      const vec::Float value =
          (vec::load(dy + c) * vec::load(weight + c) - normalized * vec::set(mean)) * vec::set(inv);
      vec::store(out + c, accumulate_dx ? vec::load(out + c) + value : value);
    }
    for (; c < cols; ++c) {
      const float value = (dy[c] * weight[c] - x[c] * inv * mean) * inv;
      out[c] = accumulate_dx ? out[c] + value : value;
    }
  }
}

}  // namespace qat::inline v0::kernels::QAT_TARGET
