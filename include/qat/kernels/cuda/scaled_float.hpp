// Fake quantization to floats under a shared scale on a GPU: FP8, MXFP8, MXFP6, MXFP4 and NVFP4
// (quant/scaled_float.hpp, whose bits these kernels have). Any GPU: no conversion instructions of newer ones are used.
//
// T is float or bfloat16; tensors are (rows, columns), row-major, contiguous. One pass over memory where x and y are
// aligned to 16 bytes and groups are runs of 1, 2, 4, ... 32 vectors of 16 bytes, whole rows of up to 4096 vectors, or
// the tensor; else a warp for each group reads it twice.
#pragma once

#include "qat/backend/cuda.hpp"
#include "qat/quant/scaled_float.hpp"

namespace qat::inline v0::cuda {

struct ScaledFloatExtras {
  /// Largest finite magnitude of the tensor (device memory), of this step or, to save a pass, of an earlier one. Read
  /// under tensor granularity and kNvfp4; null: computed from x first, into the workspace.
  const float* tensor_amax = nullptr;
  float* scale = nullptr;             ///< output, one per group: what y is a multiple of
  std::uint8_t* pass_mask = nullptr;  ///< output, bit i % 8 of byte i / 8: element i did not saturate
  unsigned* nonfinite = nullptr;      ///< += NaN and infinities; counted where amax is taken
};

/// y = fake_quantize(x); y may be x. Workspace: 256 bytes where tensor_amax is needed and null.
template <class T>
void fake_quantize_float(const CudaBackend& backend, const ScaledFloatSpec& spec, const T* x, index_t rows,
                         index_t columns, T* y, const ScaledFloatExtras& extras = {});

/// The clipped straight-through gradient of fake_quantize_float: dx (+)= bit of pass_mask ? dy : 0, n elements; dx may
/// be dy. (Without a mask the gradient is dy itself.)
template <class T>
void mask_gradient(const CudaBackend& backend, const T* dy, const std::uint8_t* pass_mask, index_t n, T* dx,
                   bool accumulate = false);

/// amax = the largest finite magnitude of n elements, 0 if there is none. Exact, in any order.
template <class T>
void tensor_amax(const CudaBackend& backend, const T* x, index_t n, float* amax, unsigned* nonfinite = nullptr);

}  // namespace qat::inline v0::cuda
