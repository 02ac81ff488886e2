// Instances of kernels/cuda/lsq.hpp.
#include "qat/kernels/cuda/lsq.cuh"

namespace qat::inline v0::cuda {

template void lsq_backward<void>(const CudaBackend&, const QuantSpec&, const float*, const float*, index_t, index_t,
                                 const float*, const float*, SteMask, float, float*, bool, float*, bool, std::uint64_t);

}  // namespace qat::inline v0::cuda
