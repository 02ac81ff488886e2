// The factor of a learned scale's gradient, for the kernels of every backend.
#pragma once

#include "qat/quant/granularity.hpp"
#include "qat/quant/spec.hpp"

QAT_EXACT_BEGIN

namespace qat::inline v0::kernels {

/// 1 / sqrt(n qmax), n the elements of a full tile: makes the update of a scale, relative to it, as large as that of
/// the weights. (1 / sqrt(n) for int1, whose qmax is 0.)   Source: Esser et al. 2020, section 2.2
inline float lsq_gradient_scale(const QuantSpec& spec, index_t rows, index_t columns) {
  const GroupLayout layout = group_layout(spec.granularity, rows, columns);
  const double n = static_cast<double>(layout.tile_rows * layout.tile_columns);
  const double steps = spec.qmax() > 0 ? spec.qmax() : 1.0;
  return n > 0 ? static_cast<float>(1.0 / __builtin_sqrt(n * steps)) : 1.0f;
}

}  // namespace qat::inline v0::kernels

QAT_EXACT_END
