// Where passes that fake-quantize what they compute write it.
#pragma once

#include "qat/backend/cuda.hpp"
#include "qat/quant/affine.hpp"

namespace qat::inline v0::cuda {

/// Where the output of a pass goes. T: its elements.
template <class T>
struct QuantizedOutput {
  const QuantSpec* spec = nullptr;  ///< host memory; null: y is written as computed
  T* y = nullptr;                   ///< (rows, columns): the values, fake-quantized under a spec; null if codes will do
  std::int8_t* codes = nullptr;     ///< (rows, columns), or null
  float* scale = nullptr;           ///< (tiles), or null: what fake_quantize_backward needs, and codes mean
  float* zero_point = nullptr;      ///< (tiles), or null
  std::uint8_t* pass_mask = nullptr;  ///< a bit an element: does its gradient pass; or null
  SteMask mask = SteMask::kInclusive;
  unsigned* nonfinite = nullptr;  ///< NaN and infinities are added to it; or null
};

/// What the backward pass of such a pass needs: the straight-through estimator of the values, which it computes again.
struct QuantizedInput {
  const QuantSpec* spec = nullptr;    ///< host memory; null: dy is the gradient of y as computed
  const float* scale = nullptr;       ///< (tiles), those of the forward pass
  const float* zero_point = nullptr;  ///< (tiles), or null where the mapping has a constant one
  SteMask mask = SteMask::kInclusive;
};

}  // namespace qat::inline v0::cuda
