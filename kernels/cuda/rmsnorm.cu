// Instances of kernels/cuda/rmsnorm.hpp.
#include "qat/kernels/cuda/rmsnorm.cuh"

namespace qat::inline v0::cuda {

#define QAT_CUDA_INSTANCES(T)                                          \
  template void rmsnorm<T>(const CudaBackend&, const RmsNormArgs<T>&); \
  template std::size_t rmsnorm_backward_bytes<T>(index_t, index_t);    \
  template void rmsnorm_backward<T>(const CudaBackend&, const RmsNormBackwardArgs<T>&);
QAT_CUDA_INSTANCES(float)
QAT_CUDA_INSTANCES(bfloat16)
#undef QAT_CUDA_INSTANCES

}  // namespace qat::inline v0::cuda
