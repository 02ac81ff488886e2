// Fake quantization on a GPU: forward with parameters chosen or given, and the straight-through gradient.
//
// T is float or bfloat16. Tensors are (rows, columns), row-major, contiguous, at any address that is a multiple of
// sizeof(T); pointers are of the backend's device. scale and zero_point hold one value per tile, in the order of
// group_layout(spec.granularity, rows, columns). Every spec runs, with the bits of quant/affine.hpp.
//
// One pass over memory (quantize_vectors.cuh) where groups are contiguous runs of whole 16-byte vectors: half-to-even
// rounding, x and y aligned to 16 bytes, no ragged group, groups of 4 to 128 vectors that are a power of two or of 32
// to 4096 vectors (16384 fp32, 32768 bfloat16). Longer groups are read twice. Everything else runs element by element
// (quantize_any.cuh).
#pragma once

#include "qat/backend/cuda.hpp"
#include "qat/quant/affine.hpp"

namespace qat::inline v0::cuda {

/// What a quantization may be asked for beside its result.
struct QuantizeExtras {
  std::uint8_t* pass_mask = nullptr;  ///< bit i % 8 of byte i / 8: element i passes its gradient;
                                      ///< (rows * columns + 7) / 8 bytes
  SteMask mask = SteMask::kInclusive;
  unsigned* nonfinite = nullptr;  ///< += NaN and infinities seen while choosing parameters
  std::uint64_t seed = 0;         ///< of stochastic rounding, which draws word i for element i
};

/// Chooses scale and zero_point (either may be null) from x.
/// Workspace: for tiles of more than 4096 elements outside the one-pass kernels, 32 bytes for each 4096 (at most 2048
/// times a tile).
template <class T>
void choose_qparams(const CudaBackend& backend, const QuantSpec& spec, const T* x, index_t rows, index_t columns,
                    float* scale, float* zero_point, unsigned* nonfinite = nullptr);

/// y = fake_quantize(x) with parameters chosen from x; y may be x. scale and zero_point receive the parameters, either
/// may be null.
/// Workspace: as choose_qparams, and in two passes scale and zero_point where they are null.
template <class T>
void fake_quantize_dynamic(const CudaBackend& backend, const QuantSpec& spec, const T* x, index_t rows, index_t columns,
                           T* y, float* scale = nullptr, float* zero_point = nullptr,
                           const QuantizeExtras& extras = {});

/// y = fake_quantize(x) with given parameters, zero points being codes (or values under FloatZeroPoint); y may be x.
/// zero_point may be null where has_constant_zero_point(mapping).
template <class T>
void fake_quantize(const CudaBackend& backend, const QuantSpec& spec, const T* x, index_t rows, index_t columns,
                   const float* scale, const float* zero_point, T* y, const QuantizeExtras& extras = {});

/// Straight-through gradient with the parameters of the forward pass: dx (+)= fake_quantize_backward(dy, x). dx may be
/// dy. kPassThrough copies dy and reads neither x nor scale.
/// NaN in dy is NaN in dx, with the payload of the device.
template <class T>
void fake_quantize_backward(const CudaBackend& backend, const QuantSpec& spec, const T* dy, const T* x, index_t rows,
                            index_t columns, const float* scale, const float* zero_point, SteMask mask, T* dx,
                            bool accumulate = false, std::uint64_t seed = 0);

/// The same from a mask that the forward pass wrote: dx (+)= bit ? scale_gradient(dy) : 0.
template <class T>
void fake_quantize_backward_masked(const CudaBackend& backend, const QuantSpec& spec, const T* dy,
                                   const std::uint8_t* pass_mask, index_t rows, index_t columns, const float* scale,
                                   const float* zero_point, T* dx, bool accumulate = false);

}  // namespace qat::inline v0::cuda
