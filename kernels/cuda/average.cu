// Instances of kernels/cuda/average.hpp.
#include "qat/kernels/cuda/average.cuh"

namespace qat::inline v0::cuda {

template void update_average<void>(const CudaBackend&, const float*, float*, index_t, float);

}  // namespace qat::inline v0::cuda
