// Real quantization of a matrix: values to codes and parameters.
#pragma once

#include "qat/kernels/cpu/quantize.hpp"
#include "qat/ops/grad_mode.hpp"
#include "qat/tensor/view.hpp"

namespace qat::inline v0::ops {

/// Seed of stochastic rounding; the other roundings ignore it. Element i draws word i of its stream.
struct StochasticSeed {
  std::uint64_t value = 0;
};

/// Stored parameters: one scale and one zero point per tile, (tile_row_count, tiles_per_row) of
/// group_layout(spec.granularity, rows, columns) in row-major order. T is float or const float.
template <class T>
struct QParamsView {
  View<T, 1> scale;
  View<T, 1> zero_point;  ///< may have no elements where has_constant_zero_point(spec.mapping)
  template <class To, class = std::enable_if_t<!std::is_const_v<T> && std::is_same_v<To, QParamsView<const T>>>>
  constexpr operator To() const {
    return {scale, zero_point};
  }
};

/// Elements of scale (and zero_point) that `spec` needs for a (rows, columns) tensor.
constexpr index_t qparams_size(const QuantSpec& spec, index_t rows, index_t columns) {
  return group_layout(spec.granularity, rows, columns).count();
}

/// Throws if `nonfinite`, as the forward functions return it, is not 0: names the tensor and how many elements are bad.
inline void check_finite(const char* tensor, index_t nonfinite, index_t size) {
  QAT_CHECK(nonfinite == 0, kInvalidArgument, tensor, ": ", nonfinite, " of ", size,
            " elements are NaN or infinite, only finite values can be quantized");
}

namespace detail {
template <class T>
void check_qparams(const char* op, const QuantSpec& spec, const QParamsView<T>& qparams, index_t rows, index_t columns,
                   bool required) {
  const index_t tiles = qparams_size(spec, rows, columns);
  const index_t scales = qparams.scale.shape[0], zeros = qparams.zero_point.shape[0];
  QAT_CHECK(scales == tiles || (!required && scales == 0), kShapeMismatch, op, ": scale has ", scales, " elements, ",
            to_string(spec), " on (", rows, ", ", columns, ") needs ", tiles);
  const bool may_lack = !required || has_constant_zero_point(spec.mapping);
  QAT_CHECK(zeros == tiles || (may_lack && zeros == 0), kShapeMismatch, op, ": zero_point has ", zeros, " elements, ",
            to_string(spec), " on (", rows, ", ", columns, ") needs ", tiles);
  QAT_CHECK(qparams.scale.is_contiguous() && qparams.zero_point.is_contiguous(), kUnsupported, op,
            ": scale and zero_point must be contiguous");
}
template <class T>
T* data_or_null(const View<T, 1>& v) {
  return v.shape[0] == 0 ? nullptr : v.data;
}
template <class D>
inline constexpr bool kIsElement = std::is_same_v<D, float> || std::is_same_v<D, half> || std::is_same_v<D, bfloat16>;
}  // namespace detail

/// codes = quantize(x) with parameters chosen from x.
///
/// Shapes:   x, codes (rows, columns), contiguous; qparams: outputs, either view may be empty
/// Returns:  how many elements of x are NaN or infinite (quant/affine.hpp says what becomes of them)
template <class X>
index_t quantize_dynamic(const CpuBackend& backend, const QuantSpec& spec, View<X, 2> x, View<std::int8_t, 2> codes,
                         QParamsView<float> qparams, StochasticSeed seed = {}) {
  using D = std::remove_const_t<X>;
  static_assert(detail::kIsElement<D>, "qat: quantize takes views of float, half or bfloat16");
  const index_t rows = x.shape[0], columns = x.shape[1];
  detail::check_rows("quantize_dynamic", "x", x, rows, columns);
  detail::check_rows("quantize_dynamic", "codes", codes, rows, columns);
  detail::check_qparams("quantize_dynamic", spec, qparams, rows, columns, false);
  return kernels::quantize_dynamic<D>(backend, spec, x.data, rows, columns, codes.data,
                                      detail::data_or_null(qparams.scale), detail::data_or_null(qparams.zero_point),
                                      seed.value);
}

/// codes = quantize(x) with given parameters.   x, codes (rows, columns), contiguous
template <class X>
void quantize(const CpuBackend& backend, const QuantSpec& spec, View<X, 2> x, QParamsView<const float> qparams,
              View<std::int8_t, 2> codes, StochasticSeed seed = {}) {
  using D = std::remove_const_t<X>;
  static_assert(detail::kIsElement<D>, "qat: quantize takes views of float, half or bfloat16");
  const index_t rows = x.shape[0], columns = x.shape[1];
  detail::check_rows("quantize", "x", x, rows, columns);
  detail::check_rows("quantize", "codes", codes, rows, columns);
  detail::check_qparams("quantize", spec, qparams, rows, columns, true);
  kernels::quantize<D>(backend, spec, x.data, rows, columns, qparams.scale.data,
                       detail::data_or_null(qparams.zero_point), codes.data, seed.value);
}

}  // namespace qat::inline v0::ops
