// THE definition of quantization. Every kernel, on every target, is held to these functions bit for bit.
//
//   q = clamp(round(x * (1/s)) + z, qmin, qmax)      y = (q - z) * s
//
// Round first, then add the integer: no multiply feeds an add, so no compiler can fuse them and codes do not change
// between targets. R_D, R_S, R_P round to the grid of the input dtype, of the scale dtype, and of their promotion (fp32
// if either is fp32) after every single operation; for fp32 they are the identity. Source: torchao quant_primitives.py
// as released in 0.18, whose integer schemes these functions reproduce bit for bit.
//
// Degenerate input, one rule each:
//   all-zero group     scale = eps, every code is the zero point, y = +0
//   NaN                left out of the range; its code is the zero point, y = 0 (the middle of the range under
//                      FloatZeroPoint); counted in GroupRange::nonfinite
//   +Inf, -Inf         left out of the range; saturate to qmax or qmin; counted
//   subnormal          ordinary numbers (the kernels switch flush-to-zero off); |scale| is never below eps
//   -0.0               code of +0.0; y = +0 (the zero point is added after rounding), or -0 under a negative scale
//   1e30               ordinary; a range or scale beyond the largest finite number is clamped to it
//   K not divisible    the last group of a row is shorter and follows the same rules
#pragma once

#include "qat/quant/qparams.hpp"
#include "qat/quant/spec.hpp"

QAT_EXACT_BEGIN

namespace qat::inline v0 {

/// The spec with every dtype-dependent default resolved, and the grids its arithmetic rounds to.
struct AffineScheme {
  QuantSpec spec;
  FloatType input = FloatType::kFloat32;    ///< D
  FloatType scale = FloatType::kFloat32;    ///< S, the grid 1/s is rounded to
  FloatType product = FloatType::kFloat32;  ///< P
  float eps = 0x1p-126f;
  float qmin = -128.0f, qmax = 127.0f;

  constexpr AffineScheme() = default;
  QAT_HOST_DEVICE constexpr AffineScheme(const QuantSpec& s, FloatType input_type) : spec(s), input(input_type) {
    spec.scale_type = resolve_scale_type(s.scale_type, input_type);
    if (spec.scale_type == ScaleType::kFloat16) scale = FloatType::kFloat16;
    if (spec.scale_type == ScaleType::kBfloat16) scale = FloatType::kBfloat16;
    product = scale == input ? input : FloatType::kFloat32;
    eps = s.eps != 0.0f ? s.eps : smallest_normal(input_type);
    qmin = static_cast<float>(s.qmin());
    qmax = static_cast<float>(s.qmax());
  }
  /// Middle code of the float zero-point form: 8 at uint4; 0 where the zero point is the value of code 0.
  QAT_HOST_DEVICE constexpr float middle() const {
    if (detail::kOnProcessor && spec.mapping == MappingKind::kFloatMinimum) return 0.0f;
    return (qmax + qmin + 1.0f) * 0.5f;
  }
};

namespace detail {
QAT_HOST_DEVICE constexpr float maximum(float a, float b) { return a > b ? a : b; }
QAT_HOST_DEVICE constexpr float clamp(float x, float low, float high) { return x < low ? low : x > high ? high : x; }
/// a * b as a value that no compiler fuses into the addition that follows: clang's -ffp-contract=fast overrules its
/// pragma, and nvcc has none.
QAT_HOST_DEVICE constexpr float rounded_product(float a, float b) {
#if defined(__CUDA_ARCH__)
  if (!__builtin_is_constant_evaluated()) return __fmul_rn(a, b);
#endif
  float product = a * b;
#if defined(__clang__) && !defined(__CUDA_ARCH__)
  if (!__builtin_is_constant_evaluated()) asm("" : "+m"(product));
#endif
  return product;
}
QAT_HOST_DEVICE constexpr float round_to_integer(RoundingKind kind, float x, std::uint32_t random) {
  switch (kind) {
    case RoundingKind::kHalfAwayFromZero:
      return HalfAwayFromZero::round(x);
    case RoundingKind::kTowardZero:
      return TowardZero::round(x);
    case RoundingKind::kStochastic:
      return Stochastic::round(x, random);
    default:
      return HalfToEven::round(x);
  }
}
}  // namespace detail

/// Parameters from a stored scale and zero point. scale: finite, not 0.
QAT_HOST_DEVICE constexpr QParams make_qparams(float scale, float zero_point, const AffineScheme& a) {
  return {scale, zero_point, round_to(a.scale, 1.0f / scale)};
}

namespace detail {
/// R(v) kept finite: beyond the largest number of the type it is that number.
QAT_HOST_DEVICE constexpr float round_finite(FloatType type, float v) {
  const float largest = largest_finite(type);
  return clamp(round_to(type, v), -largest, largest);
}
/// The range a mapping works on: it contains 0 except under the raw mappings.
QAT_HOST_DEVICE constexpr GroupRange mapped_range(GroupRange range, MappingKind mapping) {
  if (has_float_zero_point(mapping) || mapping == MappingKind::kAsymmetricRaw) return range;
  if (range.min > 0.0f) range.min = 0.0f;
  if (range.max < 0.0f) range.max = 0.0f;
  return range;
}
}  // namespace detail

/// Scale of a mapped range on the grid of the input dtype, |s| >= eps, before it is rounded to its storage type.
QAT_HOST_DEVICE constexpr float choose_scale(const GroupRange& r, const AffineScheme& a) {
  const auto rounded = [&a](float v) { return detail::round_finite(a.input, v); };
  float s = 0.0f;
  switch (a.spec.mapping) {
    case MappingKind::kSymmetric:
      if (detail::kOnProcessor &&
          a.spec.levels == Levels::kE2m1) {  // 2^floor(log2 amax) is level 8 (OCP microscaling 1.0, ggml MXFP4)
        s = 0.125f * qat::bit_cast<float>(qat::bit_cast<std::uint32_t>(detail::maximum(-r.min, r.max)) & 0x7F800000u);
        break;
      }
      s = rounded(detail::maximum(-r.min, r.max) / ((a.qmax - a.qmin) * 0.5f));
      break;
    case MappingKind::kSymmetricNoClip:
      s = detail::maximum(a.qmin < 0.0f ? rounded(r.min / a.qmin) : 0.0f,
                          a.qmax > 0.0f ? rounded(r.max / a.qmax) : 0.0f);
      break;
    case MappingKind::kSignedExtremum:
      s = rounded(r.extremum / a.qmin);
      break;
    default:
      s = rounded(rounded(r.max - r.min) / (a.qmax - a.qmin));
      break;
  }
  const float magnitude = rounded(detail::maximum(s < 0.0f ? -s : s, a.eps));
  return s < 0.0f ? -magnitude : magnitude;
}

/// Zero point of a mapped range for the scale that choose_scale gave: a code, or a value under FloatZeroPoint.
QAT_HOST_DEVICE constexpr float choose_zero_point(const GroupRange& r, float s, const AffineScheme& a) {
  const auto rounded = [&a](float v) { return detail::round_finite(a.input, v); };
  if (has_float_zero_point(a.spec.mapping))
    return detail::round_finite(a.scale, rounded(r.min + rounded(detail::rounded_product(s, a.middle()))));
  if (a.spec.mapping == MappingKind::kAsymmetric || a.spec.mapping == MappingKind::kAsymmetricRaw)
    return detail::clamp(rounded(a.qmin - HalfToEven::round(rounded(r.min / s))), a.qmin, a.qmax);
  return a.spec.is_signed ? 0.0f : a.middle();
}

namespace detail {
/// ggml's activations. Q8_0: codes are chosen with the inverse of the fp32 scale, as x86's vector instructions compute
/// it (qmax/amax) under HalfToEven, else as its reference does (1/s), and so where eps is the scale. A scale that no
/// half but 0 holds gives codes 0. Q8_K (ggml_float): codes are chosen with qmax/amax, whose inverse is the scale.
QAT_HOST_DEVICE constexpr QParams ggml_qparams(const GroupRange& r, float s, const AffineScheme& a) {
  const bool is_half = a.spec.scale_type == ScaleType::kGgmlHalf;
  const float bound = (a.qmax - a.qmin) * 0.5f, amax = maximum(-r.min, r.max);
  const bool by_range = (!is_half || a.spec.rounding == RoundingKind::kHalfToEven) && amax / bound >= a.eps;
  const float inverse = is_half && s <= 0x1p-25f ? 0.0f : by_range ? bound / amax : 1.0f / s;
  const float scale = by_range && !is_half ? 1.0f / inverse : s;
  return {round_scale(a.spec.scale_type, scale), a.spec.is_signed ? 0.0f : a.middle(), inverse};
}
}  // namespace detail

/// Scale and zero point of a group from its range.
/// Source: torchao choose_qparams_affine (symmetric, no-clip, asymmetric), get_groupwise_affine_qparams (raw, float
/// zero point); ggml's q4_0 scale rule (signed extremum).
QAT_HOST_DEVICE constexpr QParams choose_qparams(const GroupRange& range, const AffineScheme& a) {
  const GroupRange r = detail::mapped_range(range, a.spec.mapping);
  const float s = choose_scale(r, a);
  if (detail::kOnProcessor && has_ggml_scale(a.spec)) return detail::ggml_qparams(r, s, a);
  return make_qparams(round_scale(a.spec.scale_type, s), choose_zero_point(r, s, a), a);
}

namespace detail {
/// The level of a table that is nearest to x, the one of smaller magnitude on ties; the last ones beyond the ends.
QAT_HOST_DEVICE constexpr float nearest_level(Levels levels, float x) {
  constexpr int kIq4Nl[16] = {1, -10, 13, -22, 25, -35, 38, -49, 53, -65, 69, -83, 89, -104, 113, -127};
  constexpr int kE2m1[16] = {0, 0, 1, -1, 2, -2, 3, -3, 4, -4, 6, -6, 8, -8, 12, -12};
  float best = 0.0f, error = 0.0f;
  x = clamp(x, -128.0f, 128.0f);  // farther out all levels are as far
  for (int i = 0; i < 16; ++i) {
    const float level = static_cast<float>(levels == Levels::kIq4Nl ? kIq4Nl[i] : kE2m1[i]);
    const float distance = level < x ? x - level : level - x;
    if (i > 0 && !(distance < error)) continue;
    best = level;
    error = distance;
  }
  return best;
}
}  // namespace detail

/// Code before clamping, integer valued. x: finite or infinite, not NaN. random: used by stochastic rounding only.
QAT_HOST_DEVICE constexpr float unclamped_code(float x, const QParams& p, const AffineScheme& a,
                                               std::uint32_t random = 0) {
  if (has_float_zero_point(a.spec.mapping)) {  // true division, low end of the range as origin
    const float low = round_to(a.scale, p.zero_point - round_to(a.scale, detail::rounded_product(p.scale, a.middle())));
    return detail::round_to_integer(a.spec.rounding, round_to(a.product, round_to(a.product, x - low) / p.scale),
                                    random);
  }
  const float steps = round_to(a.product, x * p.inverse_scale);
  if (detail::kOnProcessor && a.spec.has_level_table()) return detail::nearest_level(a.spec.levels, steps);
  return round_to(a.product, detail::round_to_integer(a.spec.rounding, steps, random) + p.zero_point);
}

/// x (input units) to a code in [qmin, qmax].
QAT_HOST_DEVICE constexpr int quantize(float x, const QParams& p, const AffineScheme& a, std::uint32_t random = 0) {
  if (is_nan(x)) return static_cast<int>(has_float_zero_point(a.spec.mapping) ? a.middle() : p.zero_point);
  return static_cast<int>(detail::clamp(unclamped_code(x, p, a, random), a.qmin, a.qmax));
}

/// Code to input units, on the grid of the input dtype.
QAT_HOST_DEVICE constexpr float dequantize(int code, const QParams& p, const AffineScheme& a) {
  const float q = static_cast<float>(code);
  if (has_float_zero_point(a.spec.mapping))  // three roundings, no fused multiply-add
    return round_to(
        a.input, round_to(a.input, detail::rounded_product(round_to(a.input, q - a.middle()), p.scale)) + p.zero_point);
  return round_to(a.input, round_to(a.product, round_to(a.input, q - p.zero_point) * p.scale));
}

/// dequantize(quantize(x)), by definition.
QAT_HOST_DEVICE constexpr float fake_quantize(float x, const QParams& p, const AffineScheme& a,
                                              std::uint32_t random = 0) {
  return dequantize(quantize(x, p, a, random), p, a);
}

/// Which elements pass their gradient through the rounding (straight-through estimator).
enum class SteMask : std::uint8_t {
  kInclusive,    ///< qmin <= u <= qmax, u the code before clamping: the published STE; torch.clamp before 2.15. Default
  kStrict,       ///< qmin < u < qmax: torch.clamp of PyTorch 2.15, which starves every extreme code
  kPassThrough,  ///< every element, gradient unchanged
};

/// 1 if x passes its gradient; NaN does only under kPassThrough.
QAT_HOST_DEVICE constexpr bool passes_gradient(float x, const QParams& p, const AffineScheme& a, SteMask mask,
                                               std::uint32_t random = 0) {
  if (mask == SteMask::kPassThrough) return true;
  if (is_nan(x)) return false;
  const float u = unclamped_code(x, p, a, random);
  return mask == SteMask::kInclusive ? u >= a.qmin && u <= a.qmax : u > a.qmin && u < a.qmax;
}

/// An output gradient through the two scalings where the mask passes: R(R(dy*s) * (1/s)).
QAT_HOST_DEVICE constexpr float scale_gradient(float dy, const QParams& p, const AffineScheme& a) {
  const float steps = round_to(a.input, round_to(a.product, dy * p.scale));
  if (has_float_zero_point(a.spec.mapping)) return round_to(a.input, round_to(a.product, steps / p.scale));
  return round_to(a.input, round_to(a.product, steps * p.inverse_scale));
}

/// Gradient of fake_quantize with respect to x for an output gradient dy: scale_gradient where the mask passes, else 0.
/// Surrogate: round() has derivative 1; scale and zero point are constants.
QAT_HOST_DEVICE constexpr float fake_quantize_backward(float dy, float x, const QParams& p, const AffineScheme& a,
                                                       SteMask mask = SteMask::kInclusive, std::uint32_t random = 0) {
  if (mask == SteMask::kPassThrough) return dy;
  return passes_gradient(x, p, a, mask, random) ? scale_gradient(dy, p, a) : 0.0f;
}

/// Derivative of fake_quantize with respect to the scale, in steps: q - z where the mask stops the gradient of x, else
/// q - z - x/s. Surrogate: round() has derivative 1 and the zero point is a constant; 0 for NaN; not for
/// FloatZeroPoint. Source: learned step size quantization (LSQ), Esser et al. 2020, equation 3, but for the mask, which
/// looks at the code after rounding as everywhere here: x up to half a step outside the range still counts as inside.
QAT_HOST_DEVICE constexpr float lsq_derivative(float x, const QParams& p, const AffineScheme& a,
                                               SteMask mask = SteMask::kInclusive, std::uint32_t random = 0) {
  if (is_nan(x)) return 0.0f;
  const float steps = detail::clamp(unclamped_code(x, p, a, random), a.qmin, a.qmax) - p.zero_point;
  return passes_gradient(x, p, a, mask, random) ? steps - detail::rounded_product(x, p.inverse_scale) : steps;
}

/// The scale that stands for a trained one: on the grid it is stored on, at least eps, negative only under
/// SignedExtremum. The scales of choose_qparams stand for themselves.
QAT_HOST_DEVICE constexpr float stored_scale(float trained, const AffineScheme& a) {
  const bool negative = trained < 0.0f && a.spec.mapping == MappingKind::kSignedExtremum;
  const float magnitude = detail::maximum(negative ? -trained : trained, a.eps);
  return round_scale(a.spec.scale_type, negative ? -magnitude : magnitude);
}

}  // namespace qat::inline v0

QAT_EXACT_END
