// The two int4 weight schemes that torchao's Int4WeightFakeQuantizer simulates: a float zero point with codes stored
// signed (bf16 activations), and int4 over a float8 row (float8 activations). They differ from affine.hpp in where the
// lower bound of the scale acts and in the order of operations, so they are named forms of their own. Source: torchao
// 0.18, quantization/qat/fake_quantizer.py, Int4WeightFakeQuantizer.
#pragma once

#include "qat/numeric/float8.hpp"
#include "qat/quant/affine.hpp"

QAT_EXACT_BEGIN

namespace qat::inline v0 {

inline constexpr float kInt4WeightEps = 1e-6f;

/// Parameters of a group: y = code * scale + zero_point, code in [-8, 7]; fp32 whatever the weight's dtype.
struct Int4FloatZeroGroup {
  float scale = 0.0f;
  float zero_point = 0.0f;  ///< value of code 0, in input units
  float min = 0.0f;         ///< origin of the codes
};

/// s = max(max - min, 1e-6) / 15 (the bound acts on the range), z = min + 8 s. An empty group has range 0.
QAT_HOST_DEVICE constexpr Int4FloatZeroGroup choose_int4_float_zero(const GroupRange& range) {
  const float width = detail::clamp(range.max - range.min, kInt4WeightEps, largest_finite(FloatType::kFloat32));
  const float scale = width / 15.0f;
  const float eighth = scale * 8.0f;
  return {scale, range.min + eighth, range.min};
}
/// Code before clamping and before the shift to signed, integer valued. x: not NaN.
QAT_HOST_DEVICE constexpr float unclamped_code(float x, const Int4FloatZeroGroup& g) {
  return HalfToEven::round((x - g.min) / g.scale);
}
/// NaN takes code 0, whose value is the zero point.
QAT_HOST_DEVICE constexpr int quantize(float x, const Int4FloatZeroGroup& g) {
  return is_nan(x) ? 0 : static_cast<int>(detail::clamp(unclamped_code(x, g), 0.0f, 15.0f)) - 8;
}
QAT_HOST_DEVICE constexpr float dequantize(int code, const Int4FloatZeroGroup& g, FloatType input) {
  const float product = static_cast<float>(code) * g.scale;
  return round_to(input, product + g.zero_point);
}

/// Scale of a float8 e4m3 row: max(amax, 1e-12) / 448, computed in the input dtype.
QAT_HOST_DEVICE constexpr float float8_row_scale(float amax, FloatType input) {
  return round_to(input, detail::maximum(amax, round_to(input, 1e-12f)) / 448.0f);
}
/// To float8 e4m3 and back.
QAT_HOST_DEVICE constexpr float fake_quantize_float8(float x, float row_scale, FloatType input) {
  const float8_e4m3 code(detail::clamp(x / row_scale, -448.0f, 448.0f));
  return round_to(input, static_cast<float>(code) * row_scale);
}
/// Int4 over the float8 values of a row: s = max(amax / 8, 1e-6) in the input dtype, so the positive extreme always
/// clips; quantize and dequantize are those of affine.hpp under int4_over_float8_scheme.
QAT_HOST_DEVICE constexpr AffineScheme int4_over_float8_scheme(index_t group_size, FloatType input) {
  QuantSpec spec{4, true, {GranularityKind::kPerGroup, 0, group_size}, MappingKind::kSymmetric, ScaleType::kInput};
  spec.eps = kInt4WeightEps;
  return AffineScheme(spec, input);
}
QAT_HOST_DEVICE constexpr QParams choose_int4_over_float8(float amax, const AffineScheme& scheme) {
  const float bound = round_to(scheme.input, kInt4WeightEps);
  return make_qparams(detail::maximum(round_to(scheme.input, amax / 8.0f), bound), 0.0f, scheme);
}

}  // namespace qat::inline v0

QAT_EXACT_END
