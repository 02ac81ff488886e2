// Instances of kernels/cuda/attention.hpp.
#include "qat/kernels/cuda/attention.cuh"

namespace qat::inline v0::cuda {

template void attention<bfloat16>(const CudaBackend&, const AttentionArgs<bfloat16>&);
template void attention_backward<bfloat16>(const CudaBackend&, const AttentionBackwardArgs<bfloat16>&);

}  // namespace qat::inline v0::cuda
