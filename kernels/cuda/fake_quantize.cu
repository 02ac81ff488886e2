// Instances of kernels/cuda/fake_quantize.hpp.
#include "qat/kernels/cuda/fake_quantize.cuh"

namespace qat::inline v0::cuda {

#define QAT_CUDA_INSTANCES(T)                                                                                          \
  template void choose_qparams<T>(const CudaBackend&, const QuantSpec&, const T*, index_t, index_t, float*, float*,    \
                                  unsigned*);                                                                          \
  template void fake_quantize_dynamic<T>(const CudaBackend&, const QuantSpec&, const T*, index_t, index_t, T*, float*, \
                                         float*, const QuantizeExtras&);                                               \
  template void fake_quantize<T>(const CudaBackend&, const QuantSpec&, const T*, index_t, index_t, const float*,       \
                                 const float*, T*, const QuantizeExtras&);                                             \
  template void fake_quantize_backward<T>(const CudaBackend&, const QuantSpec&, const T*, const T*, index_t, index_t,  \
                                          const float*, const float*, SteMask, T*, bool, std::uint64_t);               \
  template void fake_quantize_backward_masked<T>(const CudaBackend&, const QuantSpec&, const T*, const std::uint8_t*,  \
                                                 index_t, index_t, const float*, const float*, T*, bool);
QAT_CUDA_INSTANCES(float)
QAT_CUDA_INSTANCES(bfloat16)
#undef QAT_CUDA_INSTANCES

}  // namespace qat::inline v0::cuda
