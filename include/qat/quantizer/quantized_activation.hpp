// An activation as quantized layers read it: codes with their parameters, and which elements pass a gradient.
#pragma once

#include "qat/kernels/cpu/quantize.hpp"
#include "qat/quantizer/ste.hpp"
#include "qat/tensor/tensor.hpp"

namespace qat::inline v0 {

/// 1.2 bytes an element at 8 bits per token, kept for the backward pass in place of the 4 of the activation.
struct QuantizedActivation {
  QuantSpec spec;
  SteMask mask = SteMask::kInclusive;
  index_t rows = 0, columns = 0;
  Tensor<std::int8_t> codes;        // (rows, columns)
  Tensor<float> scale, zero_point;  // (tiles) of spec.granularity
  Tensor<std::uint8_t> pass_mask;   // 1 bit an element; empty without a backward pass, or if every element passes

  /// True where a value is (code - zero_point[row]) * scale[row].
  bool has_row_parameters() const {
    return spec.granularity.kind == GranularityKind::kPerToken && spec.is_signed && !has_float_zero_point(spec.mapping);
  }
  /// The fake-quantized activation.  // (rows, columns)
  Tensor<float> dequantize(const CpuBackend& backend) const {
    Tensor<float> values = Tensor<float>::uninitialized({rows, columns});
    kernels::dequantize(backend, spec, codes.data(), rows, columns, scale.data(), zero_point.data(), values.data());
    return values;
  }
  /// dx (+)= gradient dy of the fake-quantized activation through the straight-through estimator.  // (rows, columns)
  void backward(const CpuBackend& backend, const float* dy, float* dx, bool accumulate) const {
    if (mask == SteMask::kPassThrough) {
      kernels::fake_quantize_backward<float>(backend, spec, dy, nullptr, rows, columns, scale.data(), zero_point.data(),
                                             mask, dx, accumulate);
    } else {
      kernels::fake_quantize_backward_masked(backend, spec, dy, pass_mask.data(), rows, columns, scale.data(),
                                             zero_point.data(), dx, accumulate);
    }
  }
};

namespace detail {
inline QuantizedActivation quantize_activation(const CpuBackend& backend, const QuantSpec& spec, View<const float, 2> x,
                                               const char* name, bool with_mask, SteMask mask) {
  QAT_CHECK(x.is_contiguous(), kShapeMismatch, name, ": the activation must be contiguous rows");
  const index_t rows = x.shape[0], columns = x.shape[1], tiles = group_layout(spec.granularity, rows, columns).count();
  QuantizedActivation q{spec,
                        mask,
                        rows,
                        columns,
                        Tensor<std::int8_t>::uninitialized({rows, columns}),
                        Tensor<float>::uninitialized({tiles}),
                        Tensor<float>::uninitialized({tiles}),
                        {}};
  index_t nonfinite = 0;
  if (with_mask && mask != SteMask::kPassThrough) {
    q.pass_mask = Tensor<std::uint8_t>::uninitialized({(rows * columns + 7) / 8});
    nonfinite = kernels::quantize_dynamic_masked(backend, spec, x.data, rows, columns, q.codes.data(), q.scale.data(),
                                                 q.zero_point.data(), mask, q.pass_mask.data());
  } else {
    nonfinite = kernels::quantize_dynamic(backend, spec, x.data, rows, columns, q.codes.data(), q.scale.data(),
                                          q.zero_point.data());
  }
  QAT_CHECK(nonfinite == 0, kInvalidArgument, name, ": ", nonfinite, " of ", rows * columns,
            " activations are NaN or infinite; finite ones are needed (training diverged, or the input is bad)");
  return q;
}
}  // namespace detail

/// For inference: no mask.   x (rows, columns), contiguous; `name` names the layer in errors.
/// @throws qat::Error if x has NaN or infinite elements
inline QuantizedActivation quantize_activation(const CpuBackend& backend, const QuantSpec& spec, View<const float, 2> x,
                                               const char* name) {
  return detail::quantize_activation(backend, spec, x, name, false, SteMask::kInclusive);
}
/// For training: with what backward() needs.
inline QuantizedActivation quantize_activation(const CpuBackend& backend, const QuantSpec& spec, View<const float, 2> x,
                                               const char* name, SteMask mask) {
  return detail::quantize_activation(backend, spec, x, name, true, mask);
}

}  // namespace qat::inline v0
