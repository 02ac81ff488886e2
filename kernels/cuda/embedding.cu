// Instances of kernels/cuda/embedding.hpp.
#include "qat/kernels/cuda/embedding.cuh"

namespace qat::inline v0::cuda {

#define QAT_CUDA_INSTANCES(T)                                                                                       \
  template void embedding<T>(const CudaBackend&, const T*, index_t, index_t, const std::int32_t*, index_t, T*);     \
  template void embedding_backward<T>(const CudaBackend&, const std::int32_t*, index_t, const T*, index_t, index_t, \
                                      float*, bool);
QAT_CUDA_INSTANCES(float)
QAT_CUDA_INSTANCES(bfloat16)
#undef QAT_CUDA_INSTANCES

}  // namespace qat::inline v0::cuda
