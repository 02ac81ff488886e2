// An exponential moving average on the GPU.
#pragma once

#include "qat/backend/cuda.hpp"

namespace qat::inline v0::cuda {

/// average += (x - average) * weight; a weight of 1 makes average x itself.   x, average: (n). The bits of
/// kernels::update_average.
template <class = void>
void update_average(const CudaBackend& backend, const float* x, float* average, index_t n, float weight);

}  // namespace qat::inline v0::cuda
