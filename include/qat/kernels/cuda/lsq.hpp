// Learned step size quantization on a GPU: the gradients of fake_quantize for its input and for its scales, in one
// pass.
#pragma once

#include "qat/backend/cuda.hpp"
#include "qat/quant/affine.hpp"

namespace qat::inline v0::cuda {

/// dx (+)= fake_quantize_backward(dy) and dscale (+)= factor * sum over the tile of dy * lsq_derivative(x), for the
/// parameters that fake_quantize(x) was given. The bits of kernels/reference/quantize.hpp, sums included: their order
/// is the definition's, sixteen interleaved sums of each 4096 elements.
///
/// In one pass where groups are runs of 16, 32, ... 512 elements, or whole 16-byte vectors of any number (rows), and
/// dy, x and dx are aligned to 16 bytes; else dx and dscale are computed one after the other. A NaN in dy makes the
/// results that it reaches NaN.
///
/// dy, x, dx   (rows, columns) of fp32, row-major; dx may be dy, or null where it is not wanted
/// zero_point  one per tile; null where has_constant_zero_point(mapping)
/// dscale      one per tile
/// Workspace: for tiles of more than 4096 elements 4 bytes for each 4096
/// @throws qat::Error (kUnsupported) under FloatZeroPoint, whose scale moves the zero of the codes too
template <class = void>
void lsq_backward(const CudaBackend& backend, const QuantSpec& spec, const float* dy, const float* x, index_t rows,
                  index_t columns, const float* scale, const float* zero_point, SteMask mask, float factor, float* dx,
                  bool accumulate_dx, float* dscale, bool accumulate_dscale, std::uint64_t seed = 0);

}  // namespace qat::inline v0::cuda
