// Instances of kernels/cuda/gemm.hpp; programs that use them link cuBLASLt.
#include "qat/kernels/cuda/gemm.cuh"

namespace qat::inline v0::cuda {

template BlasState* blas_create<void>();
template void blas_destroy<void>(BlasState*) noexcept;
template void gemm<float>(const CudaBackend&, const Blas&, const GemmArgs<float>&);
template void gemm<bfloat16>(const CudaBackend&, const Blas&, const GemmArgs<bfloat16>&);

}  // namespace qat::inline v0::cuda
