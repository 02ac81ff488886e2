// Instances of kernels/cuda/activation.hpp.
#include "qat/kernels/cuda/activation.cuh"

namespace qat::inline v0::cuda {

#define QAT_CUDA_INSTANCES(T)                                                \
  template void activation<T>(const CudaBackend&, const ActivationArgs<T>&); \
  template void activation_backward<T>(const CudaBackend&, const ActivationBackwardArgs<T>&);
QAT_CUDA_INSTANCES(float)
QAT_CUDA_INSTANCES(bfloat16)
#undef QAT_CUDA_INSTANCES

}  // namespace qat::inline v0::cuda
