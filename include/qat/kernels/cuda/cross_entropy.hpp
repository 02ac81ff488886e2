// Softmax cross-entropy over rows of logits on the GPU, fused with the gradient of the logits.
#pragma once

#include "qat/backend/cuda.hpp"
#include "qat/numeric/bfloat16.hpp"

namespace qat::inline v0::cuda {

template <class T>
struct CrossEntropyArgs {
  const T* logits = nullptr;              ///< (rows, columns), rows `stride` elements apart
  const std::int32_t* targets = nullptr;  ///< (rows), device memory
  index_t rows = 0, columns = 0;
  index_t stride = 0;  ///< 0: columns. Columns up to it are padding: left out of the softmax, their gradient is 0
  std::int32_t ignore_index = -100;
  float factor = 1.0f;      ///< of the gradient: 1 / tokens for the mean
  float* losses = nullptr;  ///< (rows), or null
  T* dlogits = nullptr;     ///< as logits, which it may be; or null
  float* total = nullptr;   ///< one float: the sum of losses, in double, in a fixed order; needs losses; or null
};

/// losses[r] = log sum_c exp(logits[r, c]) - logits[r, targets[r]],  dlogits[r, c] = factor (softmax(logits[r])[c] -
/// (c == targets[r])); both 0 in rows whose target is ignore_index. A target outside [0, columns) gives the loss NaN
/// and the gradient 0: a kernel cannot throw.
///
/// T: float or bfloat16; arithmetic in fp32. The largest logit is exact; the sum of exponentials has an order of its
/// own, the same from run to run: a running sum of each thread, rescaled when its largest grows, a tree over each warp,
/// the warps in order. e^x as in activation.
template <class T>
void cross_entropy(const CudaBackend& backend, const CrossEntropyArgs<T>& args);

}  // namespace qat::inline v0::cuda
