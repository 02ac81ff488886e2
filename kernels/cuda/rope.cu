// Instances of kernels/cuda/rope.hpp.
#include "qat/kernels/cuda/rope.cuh"

namespace qat::inline v0::cuda {

template void rope<float>(const CudaBackend&, const RopeArgs<float>&);
template void rope<bfloat16>(const CudaBackend&, const RopeArgs<bfloat16>&);

}  // namespace qat::inline v0::cuda
