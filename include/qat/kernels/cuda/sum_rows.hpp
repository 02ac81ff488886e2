// The sum of the rows of a matrix on the GPU: the gradient of a bias.
#pragma once

#include "qat/backend/cuda.hpp"
#include "qat/numeric/bfloat16.hpp"

namespace qat::inline v0::cuda {

/// sum[c] (+)= sum of y[r, c] over r, in fp32.   y: (rows, columns), row-major and contiguous; T: float or bfloat16.
///
/// Deterministic: rows go to at most 64 parts of consecutive rows, parts are added in order.
/// Workspace: sum_rows_bytes(rows, columns)
template <class T>
void sum_rows(const CudaBackend& backend, const T* y, index_t rows, index_t columns, float* sum, bool accumulate);

inline std::size_t sum_rows_bytes(index_t rows, index_t columns) {
  return static_cast<std::size_t>((rows < 64 ? rows : 64) * columns) * sizeof(float);
}

}  // namespace qat::inline v0::cuda
