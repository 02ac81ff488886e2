// RMSNorm over rows on the GPU, forward and backward, with the fake quantization of its output folded in.
#pragma once

#include "qat/kernels/cuda/quantized_output.hpp"

namespace qat::inline v0::cuda {

template <class T>
struct RmsNormArgs {
  const T* x = nullptr;         ///< (rows, columns), row-major
  const T* residual = nullptr;  ///< (rows, columns) to be added to x first, or null
  T* sum = nullptr;             ///< (rows, columns) x + residual, rounded to T; may be x or residual; null without one
  const float* weight = nullptr;  ///< (columns)
  float eps = 1e-5f;
  index_t rows = 0, columns = 0;
  float* inv_rms = nullptr;  ///< (rows), what the backward pass needs, or null
  QuantizedOutput<T> output{};
};

/// y = h * inv_rms * weight,  inv_rms = 1 / sqrt(mean(h^2) + eps),  h = x or T(x + residual); then, under output.spec,
/// fake-quantized as a tensor of T.        Source: Zhang and Sennrich 2019; residual added as in Llama's blocks
///
/// T: float or bfloat16; arithmetic in fp32, y rounded to T before it is quantized.
/// Exact: the quantization has the bits of the definition on the y that the same call gives without a spec; the element
/// operations those of kernels::rmsnorm. The sum of squares has an order of its own: a chain of fused multiply-adds
/// over at most 16 elements of each thread (columns / 256 in rows that are not whole vectors), a tree over each warp,
/// the warps in order; it differs from the exact sum by at most (16 + 5 + 32) 2^-24 of it for rows of whole vectors.
/// @throws qat::Error for a spec, if rows are not whole aligned vectors of 16 bytes, at most 2048, or the spec is one
///         that job_of_rows refuses; without a spec any shape runs
template <class T>
void rmsnorm(const CudaBackend& backend, const RmsNormArgs<T>& args);

template <class T>
struct RmsNormBackwardArgs {
  const T* x = nullptr;            ///< (rows, columns) what was normalized (sum, where there was a residual)
  const float* weight = nullptr;   ///< (columns)
  const float* inv_rms = nullptr;  ///< (rows)
  const T* dy = nullptr;           ///< (rows, columns) gradient of the output, fake-quantized under `quantized`
  index_t rows = 0, columns = 0;
  T* dx = nullptr;             ///< (rows, columns); may be dy
  bool accumulate_dx = false;  ///< dx += instead of =: where the residual's gradient lies there already
  float* dweight = nullptr;    ///< (columns), or null
  bool accumulate_dweight = false;
  QuantizedInput quantized{};
};

/// With n = x * inv_rms and g = dy * weight:  dx (+)= inv_rms * (g - n * mean(g * n)),  dweight (+)= sum over rows of
/// dy * n; dy first through the straight-through estimator of the forward pass, whose y is computed again.
///
/// Deterministic: rows go to a number of parts that depends on rows and columns alone, parts are added in order.
/// Workspace: rmsnorm_backward_bytes<T>(rows, columns) where dweight is wanted
template <class T>
void rmsnorm_backward(const CudaBackend& backend, const RmsNormBackwardArgs<T>& args);

template <class T>
std::size_t rmsnorm_backward_bytes(index_t rows, index_t columns);

}  // namespace qat::inline v0::cuda
