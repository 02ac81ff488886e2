// Table look-up on the GPU, and its gradient without floating-point atomics.
#pragma once

#include "qat/backend/cuda.hpp"
#include "qat/numeric/bfloat16.hpp"

namespace qat::inline v0::cuda {

/// y[i] = weight[tokens[i]].   weight (vocabulary, columns), tokens (rows), y (rows, columns). A token outside the
/// vocabulary gives a row of NaN: a kernel cannot throw.
template <class T>
void embedding(const CudaBackend& backend, const T* weight, index_t vocabulary, index_t columns,
               const std::int32_t* tokens, index_t rows, T* y);

/// dweight[v] (+)= sum of dy[i] over the positions i with tokens[i] == v, in ascending order of i, in fp32: the bits of
/// ops::embedding_backward. Tokens outside the vocabulary add nothing.
///
/// @param dy       (rows, columns) of T
/// @param dweight  (vocabulary, columns)
/// Workspace: embedding_backward_bytes(vocabulary, rows)
template <class T>
void embedding_backward(const CudaBackend& backend, const std::int32_t* tokens, index_t rows, const T* dy,
                        index_t vocabulary, index_t columns, float* dweight, bool accumulate);

/// Where each token's positions begin, and the positions by token, twice.
inline std::size_t embedding_backward_bytes(index_t vocabulary, index_t rows) {
  return static_cast<std::size_t>(2 * (vocabulary + 1) + 2 * rows) * sizeof(unsigned);
}

}  // namespace qat::inline v0::cuda
