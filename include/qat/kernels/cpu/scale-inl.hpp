// Text of kernels/cpu/scale.hpp, compiled once per target. Rules for such a file: it includes nothing, every function
// is inline, and lambdas are avoided (a lambda does not inherit the region's target under g++); use small structs
// instead.
namespace qat::inline v0::kernels::QAT_TARGET {

inline void scale_chunk(const float* x, float factor, float* out, index_t size) {
  namespace vec = simd::QAT_TARGET;
  const vec::Float f = vec::set(factor);
  index_t i = 0;
  for (; i + vec::kLanes <= size; i += vec::kLanes) vec::store(out + i, vec::load(x + i) * f);
  if (i < size) vec::store(out + i, vec::load(x + i, size - i) * f, size - i);
}

}  // namespace qat::inline v0::kernels::QAT_TARGET
