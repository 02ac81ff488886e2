// Floats of 4 to 8 bits under a scale that a tensor, a row or a block of a row shares: FP8, the microscaling formats
// MXFP8, MXFP6 and MXFP4, and NVFP4. THE definition, as affine.hpp is for integers.
//
//   v = x / scale, or x * factor where the rule says so      q = the nearest element, ties to even, saturating
//   y = R_D(q * scale)                                       D the dtype of x; arithmetic in fp32
//
// How the scale is chosen differs between programs and changes the codes, so it is part of the scheme (ScaleRule).
//
// Degenerate input, one rule each:
//   all-zero block   the smallest scale of the rule; y is a zero with the sign of x
//   NaN              left out of the largest magnitude; y = +0, also in the formats that have a NaN; does not pass its
//                    gradient; counted
//   +Inf, -Inf       left out of it; saturate; counted
//   subnormal        ordinary numbers
//   near 3.4e38      y may be infinite: rounding up leaves the range of fp32
//   K not divisible  the last block of a row is shorter and follows the same rules
#pragma once

#include "qat/numeric/float4.hpp"
#include "qat/numeric/float8.hpp"
#include "qat/quant/affine.hpp"

QAT_EXACT_BEGIN

namespace qat::inline v0 {

enum class FloatElement : std::uint8_t { kE4M3, kE5M2, kE2M3, kE3M2, kE2M1 };

enum class ScaleRule : std::uint8_t {
  kAmax,     ///< fp32, R_D(amax / largest), at least the smallest normal of D: torchao's float8 schemes
  kMxFloor,  ///< a power of two (e8m0), 2^(floor(log2 amax) - emax): the OCP microscaling specification 1.0
  kMxCeil,   ///< the same of amax rounded up to a power of two
  kMxEven,   ///< the same of amax rounded, half up, to the mantissa bits of the element
  kMxRceil,  ///< amax * fp32(1 / largest), rounded up to a power of two: torchao's default for training
  kNvfp4,    ///< float8 e4m3 of amax / 6 over a scale of the tensor, at least 2^-6: torchao's NVFP4, two levels
};

/// What a format is made of: largest and smallest normal exponent, mantissa bits, largest magnitude.
struct FloatElementFormat {
  int mantissa_bits, min_exponent, max_exponent;
  float largest;
};
QAT_HOST_DEVICE constexpr FloatElementFormat format_of(FloatElement element) {
  switch (element) {
    case FloatElement::kE4M3:
      return {3, -6, 8, 448.0f};
    case FloatElement::kE5M2:
      return {2, -14, 15, 57344.0f};
    case FloatElement::kE2M3:
      return {3, 0, 2, 7.5f};
    case FloatElement::kE3M2:
      return {2, -2, 4, 28.0f};
    default:
      return {1, 0, 2, 6.0f};
  }
}

/// One scheme.
struct ScaledFloatSpec {
  FloatElement element = FloatElement::kE4M3;
  Granularity granularity{};
  ScaleRule rule = ScaleRule::kAmax;
  friend constexpr bool operator==(const ScaledFloatSpec&, const ScaledFloatSpec&) = default;
};

/// Throws Error(kUnsupported) naming the field, what was found and what is accepted.
constexpr void validate(const ScaledFloatSpec& spec) {
  const GranularityKind kind = spec.granularity.kind;
  QAT_CHECK(kind == GranularityKind::kPerTensor || kind == GranularityKind::kPerToken ||
                (kind == GranularityKind::kPerAxis && spec.granularity.axis == 0) ||
                (kind == GranularityKind::kPerGroup && spec.granularity.group_size > 0),
            kUnsupported, "ScaledFloatSpec: accepted granularities are tensor, token, axis0 and groupG (G >= 1)");
  QAT_CHECK(spec.rule != ScaleRule::kNvfp4 || spec.element == FloatElement::kE2M1, kUnsupported,
            "ScaledFloatSpec: the scale rule nvfp4 needs elements e2m1");
}

/// The schemes of hardware and other programs.
inline constexpr ScaledFloatSpec kFp8Tensor{FloatElement::kE4M3, PerTensor::granularity, ScaleRule::kAmax};
inline constexpr ScaledFloatSpec kFp8Row{FloatElement::kE4M3, PerToken::granularity, ScaleRule::kAmax};
inline constexpr ScaledFloatSpec kMxfp8{FloatElement::kE4M3, PerGroup<32>::granularity, ScaleRule::kMxRceil};
inline constexpr ScaledFloatSpec kMxfp4{FloatElement::kE2M1, PerGroup<32>::granularity, ScaleRule::kMxRceil};
inline constexpr ScaledFloatSpec kNvfp4{FloatElement::kE2M1, PerGroup<16>::granularity, ScaleRule::kNvfp4};

namespace detail {
template <class Code>
QAT_HOST_DEVICE constexpr float through(float x) {
  return static_cast<float>(Code(x));
}
/// |x| of a finite number as its bits.
QAT_HOST_DEVICE constexpr std::uint32_t magnitude_bits(float x) {
  return qat::bit_cast<std::uint32_t>(x) & 0x7FFFFFFFu;
}
}  // namespace detail

/// The nearest element, ties to even; beyond the largest magnitude, infinity included, that. x: not NaN.
QAT_HOST_DEVICE constexpr float nearest_element(FloatElement element, float x) {
  const float largest = format_of(element).largest;
  const float bounded = detail::clamp(x, -largest, largest);
  switch (element) {
    case FloatElement::kE4M3:
      return detail::through<float8_e4m3>(bounded);
    case FloatElement::kE5M2:
      return detail::through<float8_e5m2>(bounded);
    case FloatElement::kE2M3:
      return detail::through<float6_e2m3>(bounded);
    case FloatElement::kE3M2:
      return detail::through<float6_e3m2>(bounded);
    default:
      return detail::through<float4_e2m1>(bounded);
  }
}

/// The scale of a tensor under kNvfp4: amax / (448 * 6), at least 2^-120, so that all that is computed with it is
/// finite.
QAT_HOST_DEVICE constexpr float nvfp4_tensor_scale(float tensor_amax) {
  return detail::maximum(tensor_amax / 2688.0f, 0x1p-120f);
}

/// Parameters of a block.
struct ScaledFloatBlock {
  float scale = 1.0f;   ///< y = R_D(q * scale)
  float factor = 1.0f;  ///< v = x * factor, under every rule but kAmax
};

namespace detail {
/// The byte of an e8m0 scale by the microscaling rules.
QAT_HOST_DEVICE constexpr int mx_exponent(const ScaledFloatSpec& spec, float amax) {
  const FloatElementFormat format = format_of(spec.element);
  std::uint32_t bits = magnitude_bits(amax);
  int exponent = 0;
  if (spec.rule == ScaleRule::kMxRceil) {
    bits = magnitude_bits(rounded_product(amax, 1.0f / format.largest));
    exponent = static_cast<int>(bits >> 23);
    const std::uint32_t mantissa = bits & 0x7FFFFFu;
    return exponent + (mantissa > (exponent == 0 ? 0x400000u : 0u) ? 1 : 0);  // byte 0 is 2^-127
  }
  if (spec.rule == ScaleRule::kMxEven) bits += 1u << (22 - format.mantissa_bits);
  exponent = static_cast<int>(bits >> 23);
  if (spec.rule == ScaleRule::kMxCeil && (bits & 0x7FFFFFu) != 0) ++exponent;
  exponent -= format.max_exponent;
  return exponent < 0 ? 0 : exponent;
}
}  // namespace detail

/// amax: largest finite magnitude of the block, 0 if there is none. tensor_scale: nvfp4_tensor_scale() of the whole
/// tensor under kNvfp4, else not read.
/// Source: torchao 0.18, quant_primitives.py (float8), mx_formats/mx_tensor.py, mx_formats/nvfp4_tensor.py.
QAT_HOST_DEVICE constexpr ScaledFloatBlock choose_block(float amax, float tensor_scale, const ScaledFloatSpec& spec,
                                                        FloatType input) {
  if (spec.rule == ScaleRule::kAmax) {
    const float s = round_to(input, amax / format_of(spec.element).largest);
    return {detail::maximum(s, smallest_normal(input)), 1.0f};
  }
  if (spec.rule == ScaleRule::kNvfp4) {
    const float block = amax / 6.0f / tensor_scale;
    const float s = detail::through<float8_e4m3>(detail::clamp(block, 0x1p-6f, 448.0f));
    return {round_to(input, detail::rounded_product(tensor_scale, s)), 1.0f / tensor_scale / s};
  }
  const int exponent = detail::mx_exponent(spec, amax);
  const auto power = [](int biased) {  // of two; byte 0 is the subnormal 2^-127
    return qat::bit_cast<float>(biased == 0 ? 0x00400000u : static_cast<std::uint32_t>(biased) << 23);
  };
  return {power(exponent), power(254 - exponent)};
}

/// x in units of the elements, before rounding.
QAT_HOST_DEVICE constexpr float scaled(float x, const ScaledFloatBlock& block, const ScaledFloatSpec& spec) {
  return spec.rule == ScaleRule::kAmax ? x / block.scale : detail::rounded_product(x, block.factor);
}

/// The element of x, as a number; 0 for NaN.
QAT_HOST_DEVICE constexpr float quantize(float x, const ScaledFloatBlock& block, const ScaledFloatSpec& spec) {
  return is_nan(x) ? 0.0f : nearest_element(spec.element, scaled(x, block, spec));
}
QAT_HOST_DEVICE constexpr float dequantize(float element, const ScaledFloatBlock& block, FloatType input) {
  return round_to(input, detail::rounded_product(element, block.scale));
}
QAT_HOST_DEVICE constexpr float fake_quantize(float x, const ScaledFloatBlock& block, const ScaledFloatSpec& spec,
                                              FloatType input) {
  return dequantize(quantize(x, block, spec), block, input);
}

/// True where the rounding does not saturate: the clipped straight-through estimator, under which such elements pass
/// their gradient unchanged. (torchao passes every gradient of MX and NVFP4.)
QAT_HOST_DEVICE constexpr bool passes_gradient(float x, const ScaledFloatBlock& block, const ScaledFloatSpec& spec) {
  const float v = scaled(x, block, spec), largest = format_of(spec.element).largest;
  return v >= -largest && v <= largest;  // not NaN
}

namespace detail {
inline constexpr SpecName kElementNames[] = {{"e4m3", static_cast<int>(FloatElement::kE4M3)},
                                             {"e5m2", static_cast<int>(FloatElement::kE5M2)},
                                             {"e2m3", static_cast<int>(FloatElement::kE2M3)},
                                             {"e3m2", static_cast<int>(FloatElement::kE3M2)},
                                             {"e2m1", static_cast<int>(FloatElement::kE2M1)}};
inline constexpr SpecName kRuleNames[] = {
    {"amax", static_cast<int>(ScaleRule::kAmax)},        {"mx_floor", static_cast<int>(ScaleRule::kMxFloor)},
    {"mx_ceil", static_cast<int>(ScaleRule::kMxCeil)},   {"mx_even", static_cast<int>(ScaleRule::kMxEven)},
    {"mx_rceil", static_cast<int>(ScaleRule::kMxRceil)}, {"nvfp4", static_cast<int>(ScaleRule::kNvfp4)}};
}  // namespace detail

/// Text: ELEMENT:GRANULARITY:RULE, e.g. e2m1:group32:mx_floor, e4m3:token:amax.
inline FixedString<120> to_string(const ScaledFloatSpec& spec) {
  FixedString<120> out(detail::name_of(detail::kElementNames, static_cast<int>(spec.element)));
  switch (spec.granularity.kind) {
    case GranularityKind::kPerTensor:
      out.append(":tensor:");
      break;
    case GranularityKind::kPerGroup:
      out.append(":group").append(static_cast<long long>(spec.granularity.group_size)).append(':');
      break;
    case GranularityKind::kPerAxis:
      out.append(":axis0:");
      break;
    default:
      out.append(":token:");
      break;
  }
  return out.append(detail::name_of(detail::kRuleNames, static_cast<int>(spec.rule)));
}

/// Reads the text to_string writes. @throws qat::Error naming the field and what is accepted
inline ScaledFloatSpec parse_scaled_float_spec(const char* text) {
  detail::SpecField fields[3] = {};
  const char* cursor = text;
  for (detail::SpecField& field : fields) {
    const char* begin = cursor;
    while (*cursor != '\0' && *cursor != ':') ++cursor;
    field = {begin, cursor};
    if (*cursor == ':' && &field != fields + 2) ++cursor;
  }
  const auto fail = [&](const char* what, const detail::SpecField& found, const char* accepted) {
    raise(ErrorCode::kUnsupported, "spec \"", text, "\": ", what, " is \"", found, "\", accepted: ", accepted);
  };
  ScaledFloatSpec spec;
  int value = 0;
  if (!detail::find_name(detail::kElementNames, fields[0], value))
    fail("element type", fields[0], "e4m3, e5m2, e2m3, e3m2, e2m1");
  spec.element = static_cast<FloatElement>(value);
  detail::SpecField rest = fields[1];
  Granularity& g = spec.granularity;
  bool known = true;
  if (rest.equals("tensor")) {
    g = PerTensor::granularity;
  } else if (rest.equals("token")) {
    g = PerToken::granularity;
  } else if (rest.equals("axis0")) {
    g = PerAxis<0>::granularity;
  } else {
    g.kind = GranularityKind::kPerGroup;
    known = rest.consume("group") && rest.consume_number(g.group_size) && rest.size() == 0 && g.group_size > 0;
  }
  if (!known) fail("granularity", fields[1], "tensor, token, axis0, groupG (G >= 1)");
  if (!detail::find_name(detail::kRuleNames, fields[2], value) || *cursor != '\0')
    fail("scale rule", {fields[2].begin, fields[2].begin + std::strlen(fields[2].begin)},
         "amax, mx_floor, mx_ceil, mx_even, mx_rceil, nvfp4");
  spec.rule = static_cast<ScaleRule>(value);
  validate(spec);
  return spec;
}

}  // namespace qat::inline v0

QAT_EXACT_END
