// Backward pass of fake_quantize whose scales are trained: learned step size quantization (LSQ).
#pragma once

#include "qat/kernels/cpu/lsq.hpp"
#include "qat/ops/fake_quantize.hpp"

namespace qat::inline v0::ops {

/// dx as fake_quantize_backward, and dscale = gradient_scale * sum over the tile of dy * lsq_derivative(x).
/// Surrogate: round() has derivative 1; zero points are constants. qparams and seed: those of the forward pass.
///
/// Shapes:   dy, x, dx (rows, columns), contiguous, of float; dx may be dy. dscale (tiles)
/// Exact:    the bits of the definition (kernels/reference/quantize.hpp) on every target, with any number of threads
/// gradient_scale: kernels::lsq_gradient_scale(spec, rows, columns) for what the paper does, 1 for the plain gradient
template <class G, class X>
void lsq_backward(const CpuBackend& backend, const QuantSpec& spec, View<G, 2> dy, View<X, 2> x,
                  QParamsView<const float> qparams, SteMask mask, float gradient_scale, View<float, 2> dx,
                  GradMode dx_mode, View<float, 1> dscale, GradMode dscale_mode, StochasticSeed seed = {}) {
  if (dscale_mode == GradMode::kSkip)
    return fake_quantize_backward(backend, spec, dy, x, qparams, mask, dx, dx_mode, seed);
  const index_t rows = dy.shape[0], columns = dy.shape[1];
  detail::check_rows("lsq_backward", "dy", dy, rows, columns);
  detail::check_rows("lsq_backward", "x", x, rows, columns);
  if (dx_mode != GradMode::kSkip) detail::check_rows("lsq_backward", "dx", dx, rows, columns);
  detail::check_qparams("lsq_backward", spec, qparams, rows, columns, true);
  detail::check_vector("lsq_backward", "dscale", dscale, qparams_size(spec, rows, columns));
  kernels::lsq_backward(backend, spec, dy.data, x.data, rows, columns, qparams.scale.data,
                        detail::data_or_null(qparams.zero_point), mask, gradient_scale,
                        dx_mode == GradMode::kSkip ? nullptr : dx.data, dx_mode == GradMode::kAccumulate, dscale.data,
                        dscale_mode == GradMode::kAccumulate, seed.value);
}

}  // namespace qat::inline v0::ops
