// Instances of kernels/cuda/adamw.hpp.
#include "qat/kernels/cuda/adamw.cuh"

namespace qat::inline v0::cuda {

#define QAT_CUDA_INSTANCES(G, W)                                                                                      \
  template AdamWPlan plan_adamw<G, W>(const AdamWTensor<G, W>*, index_t, AdamWWork*);                                 \
  template void adamw<G, W>(const CudaBackend&, const AdamWTensor<G, W>*, const AdamWWork*, const AdamWPlan&,         \
                            const AdamWStep&);                                                                        \
  template void gradient_norm<G, W>(const CudaBackend&, const AdamWTensor<G, W>*, const AdamWWork*, const AdamWPlan&, \
                                    double, float*);
QAT_CUDA_INSTANCES(float, float)
QAT_CUDA_INSTANCES(float, bfloat16)
QAT_CUDA_INSTANCES(bfloat16, bfloat16)
#undef QAT_CUDA_INSTANCES

}  // namespace qat::inline v0::cuda
