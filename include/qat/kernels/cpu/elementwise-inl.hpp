// Text of kernels/cpu/elementwise.hpp, compiled once per target.
namespace qat::inline v0::kernels::QAT_TARGET {

/// Whole vectors or the first n lanes, with one spelling.
QAT_INLINE simd::QAT_TARGET::Float load_some(const float* p, index_t n) {
  namespace vec = simd::QAT_TARGET;
  return n >= vec::kLanes ? vec::load(p) : vec::load(p, n);
}
QAT_INLINE void store_some(float* p, simd::QAT_TARGET::Float x, index_t n, bool accumulate = false) {
  namespace vec = simd::QAT_TARGET;
  if (accumulate) x = load_some(p, n) + x;
  n >= vec::kLanes ? vec::store(p, x) : vec::store(p, x, n);
}

inline void swiglu_range(const float* gate, const float* up, index_t n, float* y) {
  namespace vec = simd::QAT_TARGET;
  for (index_t i = 0; i < n; i += vec::kLanes) {
    const vec::Float g = load_some(gate + i, n - i);
    store_some(y + i, g * sigmoid(g) * load_some(up + i, n - i), n - i);
  }
}

inline void swiglu_backward_range(const float* gate, const float* up, const float* dy, index_t n, float* dgate,
                                  bool accumulate_dgate, float* dup, bool accumulate_dup) {
  namespace vec = simd::QAT_TARGET;
  for (index_t i = 0; i < n; i += vec::kLanes) {
    const vec::Float g = load_some(gate + i, n - i), u = load_some(up + i, n - i), d = load_some(dy + i, n - i);
    const vec::Float s = sigmoid(g);
    const vec::Float silu = g * s;
    if (dgate != nullptr) store_some(dgate + i, d * u * (s + silu * (vec::set(1.0f) - s)), n - i, accumulate_dgate);
    if (dup != nullptr) store_some(dup + i, d * silu, n - i, accumulate_dup);
  }
}

inline void silu_range(const float* x, index_t n, float* y) {
  namespace vec = simd::QAT_TARGET;
  for (index_t i = 0; i < n; i += vec::kLanes) {
    const vec::Float v = load_some(x + i, n - i);
    store_some(y + i, v * sigmoid(v), n - i);
  }
}

inline void silu_backward_range(const float* x, const float* dy, index_t n, float* dx, bool accumulate) {
  namespace vec = simd::QAT_TARGET;
  for (index_t i = 0; i < n; i += vec::kLanes) {
    const vec::Float v = load_some(x + i, n - i);
    const vec::Float s = sigmoid(v);
    store_some(dx + i, load_some(dy + i, n - i) * (s + v * s * (vec::set(1.0f) - s)), n - i, accumulate);
  }
}

inline void add_range(const float* a, const float* b, index_t n, float* y) {
  namespace vec = simd::QAT_TARGET;
  for (index_t i = 0; i < n; i += vec::kLanes)
    store_some(y + i, load_some(a + i, n - i) + load_some(b + i, n - i), n - i);
}

inline double sum_of_squares_range(const float* x, index_t n) {
  double lanes[8] = {};
  index_t i = 0;
  for (; i + 8 <= n; i += 8)
    for (index_t j = 0; j < 8; ++j) lanes[j] += static_cast<double>(x[i + j]) * static_cast<double>(x[i + j]);
  double total = 0.0;
  for (index_t j = 0; j < 8; ++j) total += lanes[j];
  for (; i < n; ++i) total += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return total;
}

}  // namespace qat::inline v0::kernels::QAT_TARGET
