// Fake quantization of a matrix beside its straight-through gradient.
#pragma once

#include "qat/ops/quantize.hpp"

namespace qat::inline v0::ops {

/// y = dequantize(quantize(x)) with parameters chosen from x, in one pass over memory.
///
/// Shapes:   x, y (rows, columns), contiguous, of float, half or bfloat16; y may be x. qparams: outputs, may be empty
/// Exact:    bit for bit dequantize(quantize(x)), on every target, with any number of threads
/// Returns:  how many elements of x are NaN or infinite; check_finite() makes an error of it
template <class X, class D>
index_t fake_quantize_dynamic(const CpuBackend& backend, const QuantSpec& spec, View<X, 2> x, View<D, 2> y,
                              QParamsView<float> qparams, StochasticSeed seed = {}) {
  static_assert(std::is_same_v<std::remove_const_t<X>, D> && detail::kIsElement<D>,
                "qat: fake_quantize takes two views of the same type: float, half or bfloat16");
  const index_t rows = x.shape[0], columns = x.shape[1];
  detail::check_rows("fake_quantize_dynamic", "x", x, rows, columns);
  detail::check_rows("fake_quantize_dynamic", "y", y, rows, columns);
  detail::check_qparams("fake_quantize_dynamic", spec, qparams, rows, columns, false);
  return kernels::fake_quantize_dynamic<D>(backend, spec, x.data, rows, columns, y.data,
                                           detail::data_or_null(qparams.scale),
                                           detail::data_or_null(qparams.zero_point), seed.value);
}

/// y = dequantize(quantize(x)) with given parameters (a static range).
template <class X, class D>
void fake_quantize(const CpuBackend& backend, const QuantSpec& spec, View<X, 2> x, QParamsView<const float> qparams,
                   View<D, 2> y, StochasticSeed seed = {}) {
  static_assert(std::is_same_v<std::remove_const_t<X>, D> && detail::kIsElement<D>,
                "qat: fake_quantize takes two views of the same type: float, half or bfloat16");
  const index_t rows = x.shape[0], columns = x.shape[1];
  detail::check_rows("fake_quantize", "x", x, rows, columns);
  detail::check_rows("fake_quantize", "y", y, rows, columns);
  detail::check_qparams("fake_quantize", spec, qparams, rows, columns, true);
  kernels::fake_quantize<D>(backend, spec, x.data, rows, columns, qparams.scale.data,
                            detail::data_or_null(qparams.zero_point), y.data, seed.value);
}

/// dx = dy where the mask of x passes, else 0 (scaled by s and 1/s as affine.hpp's scale_gradient rounds it).
/// Surrogate: round() has derivative 1, scale and zero point are constants. qparams and seed: those of the forward
/// pass.
///
/// Shapes:   dy, x, dx (rows, columns), contiguous; dx may be dy
template <class G, class X, class D>
void fake_quantize_backward(const CpuBackend& backend, const QuantSpec& spec, View<G, 2> dy, View<X, 2> x,
                            QParamsView<const float> qparams, SteMask mask, View<D, 2> dx, GradMode mode,
                            StochasticSeed seed = {}) {
  static_assert(
      std::is_same_v<std::remove_const_t<G>, D> && std::is_same_v<std::remove_const_t<X>, D> && detail::kIsElement<D>,
      "qat: fake_quantize_backward takes views of one type: float, half or bfloat16");
  if (mode == GradMode::kSkip) return;
  const index_t rows = dy.shape[0], columns = dy.shape[1];
  detail::check_rows("fake_quantize_backward", "dy", dy, rows, columns);
  detail::check_rows("fake_quantize_backward", "x", x, rows, columns);
  detail::check_rows("fake_quantize_backward", "dx", dx, rows, columns);
  if (mask != SteMask::kPassThrough)
    detail::check_qparams("fake_quantize_backward", spec, qparams, rows, columns, true);
  kernels::fake_quantize_backward<D>(backend, spec, dy.data, x.data, rows, columns, qparams.scale.data,
                                     detail::data_or_null(qparams.zero_point), mask, dx.data,
                                     mode == GradMode::kAccumulate, seed.value);
}

}  // namespace qat::inline v0::ops
