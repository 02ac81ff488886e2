// Instances of kernels/cuda/sum_rows.hpp.
#include "qat/kernels/cuda/sum_rows.cuh"

namespace qat::inline v0::cuda {

template void sum_rows<float>(const CudaBackend&, const float*, index_t, index_t, float*, bool);
template void sum_rows<bfloat16>(const CudaBackend&, const bfloat16*, index_t, index_t, float*, bool);

}  // namespace qat::inline v0::cuda
