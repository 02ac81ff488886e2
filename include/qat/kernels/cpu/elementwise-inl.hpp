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

/// An activation is g * sigmoid(u(g)): u, and its derivative.
template <Activation kActivation>
QAT_INLINE simd::QAT_TARGET::Float gate_argument(simd::QAT_TARGET::Float g) {
  namespace vec = simd::QAT_TARGET;
  if constexpr (kActivation == Activation::kSilu) return g;
  return vec::set(kGeluTwoSlope) * (g * mul_add(vec::set(kGeluCubic) * g, g, vec::set(1.0f)));
}
template <Activation kActivation>
QAT_INLINE simd::QAT_TARGET::Float gate_slope(simd::QAT_TARGET::Float g) {
  namespace vec = simd::QAT_TARGET;
  if constexpr (kActivation == Activation::kSilu) return vec::set(1.0f);
  // Far out it is multiplied by zero and must not overflow.
  g = minimum(vec::set(1e3f), maximum(vec::set(-1e3f), g));
  return vec::set(kGeluTwoSlope) * mul_add(vec::set(3.0f * kGeluCubic) * g, g, vec::set(1.0f));
}

/// y = activation(gate), times up if that is not null.
template <Activation kActivation>
inline void activation_range(const float* gate, const float* up, index_t n, float* y) {
  namespace vec = simd::QAT_TARGET;
  for (index_t i = 0; i < n; i += vec::kLanes) {
    const vec::Float g = load_some(gate + i, n - i);
    const vec::Float value = g * sigmoid(gate_argument<kActivation>(g));
    store_some(y + i, up == nullptr ? value : value * load_some(up + i, n - i), n - i);
  }
}

/// up null: without it. dgate and dup may be null.
template <Activation kActivation>
inline void activation_backward_range(const float* gate, const float* up, const float* dy, index_t n, float* dgate,
                                      bool accumulate_dgate, float* dup, bool accumulate_dup) {
  namespace vec = simd::QAT_TARGET;
  for (index_t i = 0; i < n; i += vec::kLanes) {
    const vec::Float g = load_some(gate + i, n - i), d = load_some(dy + i, n - i);
    const vec::Float du = up == nullptr ? d : d * load_some(up + i, n - i);
    const vec::Float s = sigmoid(gate_argument<kActivation>(g)), value = g * s;
    if (dgate != nullptr) {
      const vec::Float rest = value * (vec::set(1.0f) - s);
      const vec::Float bent = kActivation == Activation::kSilu ? rest : rest * gate_slope<kActivation>(g);
      store_some(dgate + i, du * (s + bent), n - i, accumulate_dgate);
    }
    if (dup != nullptr) store_some(dup + i, d * value, n - i, accumulate_dup);
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
