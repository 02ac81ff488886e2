// Text of kernels/cpu/softmax_cross_entropy.hpp, compiled once per target.
namespace qat::inline v0::kernels::QAT_TARGET {

/// max_c x and sum_c exp(x - max) of one row.
inline void softmax_statistics(const float* x, index_t cols, float& largest, float& denominator) {
  namespace vec = simd::QAT_TARGET;
  vec::Lanes16 high = vec::set16(-__builtin_inff());
  for (index_t c = 0; c < cols; c += 16) {
    const vec::Lanes16 v = vec::load16(x + c, cols - c, -__builtin_inff());
    for (int i = 0; i < vec::kParts16; ++i) high.part[i] = maximum(v.part[i], high.part[i]);
  }
  largest = max_of(high);
  vec::Lanes16 total = vec::set16(0.0f);
  for (index_t c = 0; c < cols; c += 16) {
    const vec::Lanes16 v = vec::load16(x + c, cols - c, -__builtin_inff());
    for (int i = 0; i < vec::kParts16; ++i) total.part[i] = total.part[i] + exp(v.part[i] - vec::set(largest));
  }
  denominator = sum_of(total);
}

/// dx[c] = factor * exp(x[c] - largest) / denominator; dx may be x.
inline void softmax_scaled(const float* x, index_t cols, float largest, float denominator, float factor, float* dx) {
  namespace vec = simd::QAT_TARGET;
  const vec::Float multiplier = vec::set(factor / denominator);
  index_t c = 0;
  for (; c + vec::kLanes <= cols; c += vec::kLanes)
    vec::store(dx + c, exp(vec::load(x + c) - vec::set(largest)) * multiplier);
  if (c < cols) vec::store(dx + c, exp(vec::load(x + c, cols - c) - vec::set(largest)) * multiplier, cols - c);
}

}  // namespace qat::inline v0::kernels::QAT_TARGET
