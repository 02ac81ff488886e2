// Text of kernels/cpu/layernorm.hpp, compiled once per target. Sums along a row have sixteen lanes on every target.
namespace qat::inline v0::kernels::QAT_TARGET {

inline void layernorm_rows(const float* x, const float* weight, const float* bias, float eps, index_t rows,
                           index_t cols, float* y, float* mean, float* inv_std) {
  namespace vec = simd::QAT_TARGET;
  const auto n = static_cast<float>(cols);
  for (index_t r = 0; r < rows; ++r, x += cols, y += cols) {
    vec::Lanes16 sums = vec::set16(0.0f), squares = vec::set16(0.0f);
    for (index_t c = 0; c < cols; c += 16) {
      const vec::Lanes16 v = vec::load16(x + c, cols - c, 0.0f);
      for (int i = 0; i < vec::kParts16; ++i) sums.part[i] = sums.part[i] + v.part[i];
    }
    const float middle = sum_of(sums) / n;
    for (index_t c = 0; c < cols; c += 16) {
      const vec::Lanes16 v = vec::load16(x + c, cols - c, middle);
      for (int i = 0; i < vec::kParts16; ++i) {
        const vec::Float d = v.part[i] - vec::set(middle);
        squares.part[i] = mul_add(d, d, squares.part[i]);
      }
    }
    const float inv = 1.0f / __builtin_sqrtf(sum_of(squares) / n + eps);
    if (mean != nullptr) mean[r] = middle;
    if (inv_std != nullptr) inv_std[r] = inv;
    for (index_t c = 0; c < cols; c += vec::kLanes) {
      const index_t left = cols - c;
      const vec::Float normalized = (load_some(x + c, left) - vec::set(middle)) * vec::set(inv);
      store_some(y + c, normalized * load_some(weight + c, left) + load_some(bias + c, left), left);
    }
  }
}

/// Adds to dweight and dbias (cols each), which may be null.
inline void layernorm_backward_rows(const float* x, const float* weight, const float* mean, const float* inv_std,
                                    const float* dy, index_t rows, index_t cols, float* dx, bool accumulate_dx,
                                    float* dweight, float* dbias) {
  namespace vec = simd::QAT_TARGET;
  const auto n = static_cast<float>(cols);
  for (index_t r = 0; r < rows; ++r, x += cols, dy += cols) {
    const vec::Float middle = vec::set(mean[r]), inv = vec::set(inv_std[r]);
    if (dweight != nullptr) {
      for (index_t c = 0; c < cols; c += vec::kLanes) {
        const index_t left = cols - c;
        const vec::Float d = load_some(dy + c, left), normalized = (load_some(x + c, left) - middle) * inv;
        store_some(dweight + c, d * normalized, left, true);
        store_some(dbias + c, d, left, true);
      }
    }
    if (dx == nullptr) continue;
    vec::Lanes16 sums = vec::set16(0.0f), products = vec::set16(0.0f);  // of g = dy * weight, and of g * n
    for (index_t c = 0; c < cols; c += 16) {
      const vec::Lanes16 vx = vec::load16(x + c, cols - c, 0.0f), vd = vec::load16(dy + c, cols - c, 0.0f);
      const vec::Lanes16 vw = vec::load16(weight + c, cols - c, 0.0f);
      for (int i = 0; i < vec::kParts16; ++i) {
        const vec::Float g = vd.part[i] * vw.part[i];
        sums.part[i] = sums.part[i] + g;
        products.part[i] = mul_add(g, (vx.part[i] - middle) * inv, products.part[i]);
      }
    }
    const vec::Float mean_g = vec::set(sum_of(sums) / n), mean_product = vec::set(sum_of(products) / n);
    float* out = dx + r * cols;
    for (index_t c = 0; c < cols; c += vec::kLanes) {
      const index_t left = cols - c;
      const vec::Float g = load_some(dy + c, left) * load_some(weight + c, left);
      const vec::Float normalized = (load_some(x + c, left) - middle) * inv;
      store_some(out + c, (g - mean_g - normalized * mean_product) * inv, left, accumulate_dx);
    }
  }
}

}  // namespace qat::inline v0::kernels::QAT_TARGET
