// Text of kernels/cpu/rope.hpp, compiled once per target. Without fused multiply-adds: the same bits on every target.
namespace qat::inline v0::kernels::QAT_TARGET {

/// Turns the heads of one token: (a, b) to (a cos - b sin, b cos + a sin), sin times `direction`. Pairs are element k
/// with k + half, or 2 k with 2 k + 1 if `interleaved`. Heads of x and y are x_stride and y_stride apart; y may be x.
inline void rope_token(const float* x, index_t x_stride, index_t heads, index_t half, const float* cosine,
                       const float* sine, float direction, bool interleaved, float* y, index_t y_stride) {
  namespace vec = simd::QAT_TARGET;
  for (index_t h = 0; h < heads; ++h, x += x_stride, y += y_stride) {
    if (interleaved) {
      for (index_t k = 0; k < half; ++k) {
        const float a = x[2 * k], b = x[2 * k + 1], s = direction * sine[k];
        y[2 * k] = a * cosine[k] - b * s;
        y[2 * k + 1] = b * cosine[k] + a * s;
      }
      continue;
    }
    index_t k = 0;
    for (; k + vec::kLanes <= half; k += vec::kLanes) {
      const vec::Float a = vec::load(x + k), b = vec::load(x + half + k);
      const vec::Float c = vec::load(cosine + k), s = vec::set(direction) * vec::load(sine + k);
      vec::store(y + k, a * c - b * s);
      vec::store(y + half + k, b * c + a * s);
    }
    // One by one: masked stores took twice as long for heads of 8 (decision 0008).
    for (; k < half; ++k) {
      const float a = x[k], b = x[half + k], c = cosine[k], s = direction * sine[k];
      y[k] = a * c - b * s;
      y[half + k] = b * c + a * s;
    }
  }
}

}  // namespace qat::inline v0::kernels::QAT_TARGET
