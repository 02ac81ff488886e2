// Instances of kernels/cuda/w4a8_gemm.hpp.
#include "qat/kernels/cuda/w4a8_gemm.cuh"

namespace qat::inline v0::cuda {

#define QAT_CUDA_INSTANCES(T, S) \
  template void w4a8_gemm<T, S>(const CudaBackend&, const W4A8Args<T, S>&, const W4A8Config&);
QAT_CUDA_INSTANCES(float, float)
QAT_CUDA_INSTANCES(float, bfloat16)
QAT_CUDA_INSTANCES(bfloat16, float)
QAT_CUDA_INSTANCES(bfloat16, bfloat16)
#undef QAT_CUDA_INSTANCES

}  // namespace qat::inline v0::cuda
