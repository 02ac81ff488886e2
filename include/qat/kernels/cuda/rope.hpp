// Rotary position embedding on the GPU.
#pragma once

#include "qat/backend/cuda.hpp"
#include "qat/numeric/bfloat16.hpp"

namespace qat::inline v0::cuda {

template <class T>
struct RopeArgs {
  const T* x = nullptr;           ///< head h of token t begins at t * token_stride + h * head_dim
  const float* cosine = nullptr;  ///< (positions, head_dim / 2), as ops::rope_table
  const float* sine = nullptr;    ///< likewise
  index_t tokens = 0, heads = 0, head_dim = 0;
  index_t token_stride = 0;  ///< 0: heads * head_dim. Queries and keys of one product turn together: heads of both
  index_t sequence = 0;      ///< token t has position t mod sequence; 0: position t
  bool backward = false;     ///< turns back: the gradient
  bool interleaved = false;  ///< pairs are neighbours; else element k goes with k + head_dim / 2
  T* y = nullptr;            ///< as x, which it may be
};

/// (a, b) to (a cos - b sin, b cos + a sin) for every pair of every head.
/// Exact: the bits of kernels::rope_token, rounded once to T.
template <class T>
void rope(const CudaBackend& backend, const RopeArgs<T>& args);

}  // namespace qat::inline v0::cuda
