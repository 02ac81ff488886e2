// Codes and parameters back to values.
#pragma once

#include "qat/ops/quantize.hpp"

namespace qat::inline v0::ops {

/// y = dequantize(codes) in the dtype D the codes were quantized from.   codes, y (rows, columns), contiguous
template <class C, class D>
void dequantize(const CpuBackend& backend, const QuantSpec& spec, View<C, 2> codes, QParamsView<const float> qparams,
                View<D, 2> y) {
  static_assert(std::is_same_v<std::remove_const_t<C>, std::int8_t>, "qat: codes are views of std::int8_t");
  static_assert(detail::kIsElement<D>, "qat: dequantize writes views of float, half or bfloat16");
  const index_t rows = codes.shape[0], columns = codes.shape[1];
  detail::check_rows("dequantize", "codes", codes, rows, columns);
  detail::check_rows("dequantize", "y", y, rows, columns);
  detail::check_qparams("dequantize", spec, qparams, rows, columns, true);
  kernels::dequantize<D>(backend, spec, codes.data, rows, columns, qparams.scale.data,
                         detail::data_or_null(qparams.zero_point), y.data);
}

}  // namespace qat::inline v0::ops
