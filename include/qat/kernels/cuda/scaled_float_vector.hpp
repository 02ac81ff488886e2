// quant/scaled_float.hpp on the elements that a thread holds: the same bits in fewer operations.
#pragma once

#include "qat/kernels/cuda/elements.hpp"
#include "qat/quant/scaled_float.hpp"

namespace qat::inline v0::cuda {

/// Rounding to small floats by one addition: the sum of |v| and 1.5 * 2^(e + 23 - mantissa bits), e the exponent of |v|
/// or the smallest of the format, ends where the element's mantissa does.
struct SmallFloatRounding {
  float largest;
  std::uint32_t smallest_exponent, shift;  ///< in place as fp32 bits

  QAT_HOST_DEVICE explicit SmallFloatRounding(FloatElement element) {
    const FloatElementFormat f = format_of(element);
    largest = f.largest;
    smallest_exponent = static_cast<std::uint32_t>(127 + f.min_exponent) << 23;
    shift = (static_cast<std::uint32_t>(23 - f.mantissa_bits) << 23) + 0x00400000u;
  }
  /// a: a magnitude.
  template <class Context>
  QAT_HOST_DEVICE float operator()(const Context& c, float a) const {
    a = smaller(a, largest);
    std::uint32_t exponent = bit_cast<std::uint32_t>(a) & 0x7F800000u;
    exponent = exponent < smallest_exponent ? smallest_exponent : exponent;
    const float anchor = bit_cast<float>(exponent + shift);
    return c.sub(c.add(a, anchor), anchor);
  }
};

/// a / b in three operations, from inverse = 1 / b, rounded: the quotient that is one multiplication away is corrected
/// by its remainder, which a fused multiply-add gives exactly. Rounded as the division is (Markstein 1990), while
/// nothing leaves the normal numbers: b in [2^-80, 2^80], a / b in [2^-20, 2^20] or rounded to 0 later on.
template <class Context>
QAT_HOST_DEVICE float quotient(const Context& c, float a, float b, float inverse) {
  const float q = c.mul(a, inverse);
  return c.fma(c.fma(-q, b, a), inverse, q);
}
QAT_HOST_DEVICE inline bool has_quotients(float b) { return b >= 0x1p-80f && b <= 0x1p80f; }

/// What vectors are quantized with. Where they are divided by the scale, both are first multiplied by a power of two
/// that makes the scale a divisor of 2^-62 to 2^40.
struct VectorBlock {
  float scale;
  float factor;  ///< v = x * factor; dividing: 1 / divisor
  float power = 1.0f, divisor = 1.0f;
  static constexpr float kBound = 0x1p64f;  ///< of dividends: more saturates as well, and the quotient is finite
};

/// How a kernel finds parameters and applies them.
enum class FloatKind { kAmax, kMx, kNvfp4 };

/// The microscaling rules as one: the exponent of amax * multiplier after `add` is added to its bits, less `subtract`.
struct MxExponent {
  float multiplier = 1.0f;
  std::uint32_t add = 0;
  int subtract = 0;

  QAT_HOST_DEVICE explicit MxExponent(const ScaledFloatSpec& spec) {
    const FloatElementFormat f = format_of(spec.element);
    if (spec.rule == ScaleRule::kMxRceil)
      multiplier = 1.0f / f.largest;
    else
      subtract = f.max_exponent;
    if (spec.rule == ScaleRule::kMxRceil || spec.rule == ScaleRule::kMxCeil) add = 0x7FFFFFu;
    if (spec.rule == ScaleRule::kMxEven) add = 1u << (22 - f.mantissa_bits);
  }
  /// The biased exponent of the scale of a block.
  template <class Context>
  QAT_HOST_DEVICE int operator()(const Context& c, float amax) const {
    const std::uint32_t bits = bit_cast<std::uint32_t>(c.mul(amax, multiplier));
    const int exponent = static_cast<int>((bits + add) >> 23) - subtract;
    if (subtract == 0 && bits <= 0x400000u) return 0;  // up to 2^-127, which is byte 0
    return exponent < 0 ? 0 : exponent;
  }
};

/// choose_block(amax) for kKind, with the device's instructions. inverse: 1 / tensor_scale under kNvfp4.
template <class T, FloatKind kKind, class Context>
QAT_HOST_DEVICE VectorBlock choose_vector_block(const Context& c, float amax, float tensor_scale, float inverse,
                                                const ScaledFloatSpec& spec) {
  if constexpr (kKind == FloatKind::kNvfp4) {
    const float sixth = amax > 0x1p-90f ? quotient(c, amax, 6.0f, 1.0f / 6.0f) : c.div(amax, 6.0f);
    const float wanted = has_quotients(tensor_scale) && amax > 0x1p-90f
                             ? quotient(c, smaller(sixth, c.mul(1024.0f, tensor_scale)), tensor_scale, inverse)
                             : c.div(sixth, tensor_scale);
    const float s = SmallFloatRounding(FloatElement::kE4M3)(c, larger(wanted, 0x1p-6f));
    return {round_to(kFloatTypeOf<T>, c.mul(tensor_scale, s)), c.div(inverse, s)};
  } else if constexpr (kKind == FloatKind::kMx) {
    const int exponent = MxExponent(spec)(c, amax);
    const std::uint32_t scale = exponent == 0 ? 0x00400000u : static_cast<std::uint32_t>(exponent) << 23;
    return {bit_cast<float>(scale), bit_cast<float>(static_cast<std::uint32_t>(254 - exponent) << 23)};
  } else {
    const float largest = format_of(spec.element).largest;
    float scale = c.div(amax, largest);
    if constexpr (sizeof(T) == 2) scale = low_bf16(c.bf16_pair(scale, 0.0f));
    scale = larger(scale, smallest_normal(kFloatTypeOf<T>));
    const float power = scale < 0x1p-40f ? 0x1p64f : scale > 0x1p40f ? 0x1p-80f : 1.0f;
    const float divisor = c.mul(scale, power);
    return {scale, c.div(1.0f, divisor), power, divisor};
  }
}

}  // namespace qat::inline v0::cuda
