// Instances of kernels/cuda/cross_entropy.hpp.
#include "qat/kernels/cuda/cross_entropy.cuh"

namespace qat::inline v0::cuda {

template void cross_entropy<float>(const CudaBackend&, const CrossEntropyArgs<float>&);
template void cross_entropy<bfloat16>(const CudaBackend&, const CrossEntropyArgs<bfloat16>&);

}  // namespace qat::inline v0::cuda
