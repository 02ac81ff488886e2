// Text compiled once per target by math_test.cpp.
namespace QAT_TARGET {

inline void apply_exp(const float* x, index_t n, float* y) {
  namespace vec = qat::simd::QAT_TARGET;
  for (index_t i = 0; i < n; i += vec::kLanes) {
    const index_t left = n - i < vec::kLanes ? n - i : vec::kLanes;
    vec::store(y + i, vec::exp(vec::load(x + i, left)), left);
  }
}
inline void apply_sigmoid(const float* x, index_t n, float* y) {
  namespace vec = qat::simd::QAT_TARGET;
  for (index_t i = 0; i < n; i += vec::kLanes) {
    const index_t left = n - i < vec::kLanes ? n - i : vec::kLanes;
    vec::store(y + i, vec::sigmoid(vec::load(x + i, left)), left);
  }
}
inline index_t transpose_in_place(float* tile) {
  namespace vec = qat::simd::QAT_TARGET;
  vec::Float rows[vec::kLanes];
  for (int i = 0; i < vec::kLanes; ++i) rows[i] = vec::load(tile + i * vec::kLanes);
  vec::transpose_tile(rows);
  for (int i = 0; i < vec::kLanes; ++i) vec::store(tile + i * vec::kLanes, rows[i]);
  return vec::kLanes;
}

}  // namespace QAT_TARGET
