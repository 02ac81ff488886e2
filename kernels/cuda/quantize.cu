// Instances of kernels/cuda/quantize.hpp.
#include "qat/kernels/cuda/quantize.cuh"

namespace qat::inline v0::cuda {

#define QAT_CUDA_INSTANCES(T)                                                                                       \
  template void quantize_dynamic<T>(const CudaBackend&, const QuantSpec&, const T*, index_t, index_t, std::int8_t*, \
                                    float*, float*, const QuantizeExtras&);                                         \
  template void quantize_packed_dynamic<T>(const CudaBackend&, const QuantSpec&, const T*, index_t, index_t,        \
                                           std::uint8_t*, float*, float*, const QuantizeExtras&);                   \
  template void quantize<T>(const CudaBackend&, const QuantSpec&, const T*, index_t, index_t, const float*,         \
                            const float*, std::int8_t*, const QuantizeExtras&);                                     \
  template void quantize_packed<T>(const CudaBackend&, const QuantSpec&, const T*, index_t, index_t, const float*,  \
                                   const float*, std::uint8_t*, const QuantizeExtras&);                             \
  template void dequantize<T>(const CudaBackend&, const QuantSpec&, const std::int8_t*, index_t, index_t,           \
                              const float*, const float*, T*);                                                      \
  template void dequantize_packed<T>(const CudaBackend&, const QuantSpec&, const std::uint8_t*, index_t, index_t,   \
                                     const float*, const float*, T*);
QAT_CUDA_INSTANCES(float)
QAT_CUDA_INSTANCES(bfloat16)
#undef QAT_CUDA_INSTANCES

}  // namespace qat::inline v0::cuda
