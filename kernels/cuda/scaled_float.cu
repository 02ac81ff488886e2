// Instances of kernels/cuda/scaled_float.hpp.
#include "qat/kernels/cuda/scaled_float.cuh"

namespace qat::inline v0::cuda {

#define QAT_CUDA_INSTANCES(T)                                                                                      \
  template void fake_quantize_float<T>(const CudaBackend&, const ScaledFloatSpec&, const T*, index_t, index_t, T*, \
                                       const ScaledFloatExtras&);                                                  \
  template void mask_gradient<T>(const CudaBackend&, const T*, const std::uint8_t*, index_t, T*, bool);            \
  template void tensor_amax<T>(const CudaBackend&, const T*, index_t, float*, unsigned*);
QAT_CUDA_INSTANCES(float)
QAT_CUDA_INSTANCES(bfloat16)
#undef QAT_CUDA_INSTANCES

}  // namespace qat::inline v0::cuda
