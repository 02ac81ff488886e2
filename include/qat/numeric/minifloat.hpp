// The one codec behind bfloat16, half, float8, float6 and float4: fp32 <-> small float by integer arithmetic alone, so
// that the result depends neither on the host's floating-point mode nor on its compiler flags.
#pragma once

#include "qat/base/bit_cast.hpp"

namespace qat::inline v0::numeric {

/// What a format does with magnitudes above its largest finite value, and how it spells NaN.
enum class Overflow {
  kInfinity,       ///< IEEE: rounds to infinity; NaN has the top exponent (bfloat16, half, e5m2)
  kSaturate,       ///< clamps, infinity included; one NaN code with all bits set (e4m3fn)
  kSaturateNoNan,  ///< clamps, infinity included; the format has no NaN (e2m1, e2m3, e3m2)
};

/// Sign, ExponentBits, MantissaBits, most significant first.
template <int ExponentBits, int MantissaBits, Overflow kOverflow>
struct MinifloatFormat {
  static constexpr int kExponentBits = ExponentBits;
  static constexpr int kMantissaBits = MantissaBits;
  static constexpr int kBits = 1 + ExponentBits + MantissaBits;
  static constexpr int kBias = (1 << (ExponentBits - 1)) - 1;
  static constexpr std::uint32_t kSignBit = 1u << (kBits - 1);
  static constexpr std::uint32_t kMagnitudeMask = kSignBit - 1;
  static constexpr std::uint32_t kTopExponent = ((1u << ExponentBits) - 1) << MantissaBits;
  /// Code of the largest finite magnitude.
  static constexpr std::uint32_t kMaxCode = kOverflow == Overflow::kInfinity   ? kTopExponent - 1
                                            : kOverflow == Overflow::kSaturate ? kMagnitudeMask - 1
                                                                               : kMagnitudeMask;

  /// bfloat16: fp32 without its low bits. A carry out of the mantissa reaches the next exponent, infinity at last.
  static constexpr bool kIsPrefixOfFp32 = ExponentBits == 8 && kOverflow == Overflow::kInfinity;

  /// fp32 to code, round half to even. Special: signed zeros and subnormals are kept; NaN keeps its sign and becomes a
  /// quiet NaN where the format has one, else the largest magnitude.
  QAT_HOST_DEVICE static constexpr std::uint32_t encode(float value) {
    const std::uint32_t bits = qat::bit_cast<std::uint32_t>(value);
    const std::uint32_t sign = (bits >> 31) != 0 ? kSignBit : 0u;
    const std::uint32_t magnitude = bits & 0x7FFFFFFFu;
    if (magnitude > 0x7F800000u) {
      if (kOverflow == Overflow::kInfinity) return sign | kTopExponent | (1u << (MantissaBits - 1));
      return sign | kMagnitudeMask;
    }
    if constexpr (kIsPrefixOfFp32) {
      constexpr int shift = 23 - MantissaBits;
      return sign | ((magnitude + (1u << (shift - 1)) - 1u + ((magnitude >> shift) & 1u)) >> shift);
    }
    const int exponent = magnitude >> 23 == 0 ? 1 : static_cast<int>(magnitude >> 23);
    const std::uint32_t mantissa =
        (magnitude & 0x7FFFFFu) | (magnitude >> 23 == 0 ? 0u : 0x800000u);  // value * 2^(150-e)
    const int normal_shift = 23 - MantissaBits;
    const int subnormal_shift = (1 - kBias) - MantissaBits + 150 - exponent;
    int shift = subnormal_shift > normal_shift ? subnormal_shift : normal_shift;
    if (shift > 26) shift = 26;  // below half of the smallest subnormal: zero
    const std::uint32_t rounded = (mantissa + (1u << (shift - 1)) - 1u + ((mantissa >> shift) & 1u)) >> shift;
    const int biased = exponent - 127 + kBias;
    // rounded carries the implicit bit, which is one unit of the exponent field: subnormals (biased < 1) need none
    // added.
    const std::uint64_t code = rounded + (biased > 1 ? static_cast<std::uint64_t>(biased - 1) << MantissaBits : 0u);
    if (code <= kMaxCode) return sign | static_cast<std::uint32_t>(code);
    return sign | (kOverflow == Overflow::kInfinity ? kTopExponent : kMaxCode);
  }

  /// Code to fp32, exact.
  QAT_HOST_DEVICE static constexpr float decode(std::uint32_t code) {
    if constexpr (kIsPrefixOfFp32) return qat::bit_cast<float>(code << (23 - MantissaBits));
    const std::uint32_t sign = (code & kSignBit) != 0 ? 0x80000000u : 0u;
    const std::uint32_t magnitude = code & kMagnitudeMask;
    std::uint32_t exponent = magnitude >> MantissaBits;
    std::uint32_t mantissa = magnitude & ((1u << MantissaBits) - 1u);
    if (kOverflow == Overflow::kInfinity && magnitude >= kTopExponent)
      return qat::bit_cast<float>(sign | 0x7F800000u | (mantissa << (23 - MantissaBits)));
    if (kOverflow == Overflow::kSaturate && magnitude == kMagnitudeMask)
      return qat::bit_cast<float>(sign | 0x7FC00000u);
    if (exponent == 0) {
      if (mantissa == 0) return qat::bit_cast<float>(sign);
      exponent = 1;
      while ((mantissa >> MantissaBits) == 0) {  // normalize: fp32 has the range
        mantissa <<= 1;
        --exponent;
      }
      mantissa &= (1u << MantissaBits) - 1u;
    }
    const std::uint32_t fp32_exponent =
        exponent + static_cast<std::uint32_t>(127 - kBias);  // wraps back for exponent < 0
    return qat::bit_cast<float>(sign | (fp32_exponent << 23) | (mantissa << (23 - MantissaBits)));
  }
};

/// A value of a small float format: storage and conversion, no arithmetic.
template <class FormatT, class StorageT>
struct Minifloat {
  using Format = FormatT;
  using Storage = StorageT;
  StorageT bits = 0;

  constexpr Minifloat() = default;
  QAT_HOST_DEVICE constexpr explicit Minifloat(float value) : bits(static_cast<StorageT>(Format::encode(value))) {}
  QAT_HOST_DEVICE static constexpr Minifloat from_bits(std::uint32_t bits) {
    Minifloat result;
    result.bits = static_cast<StorageT>(bits);
    return result;
  }
  QAT_HOST_DEVICE constexpr explicit operator float() const { return Format::decode(bits); }
  /// Equality of bits: -0 differs from +0, NaN equals the same NaN.
  friend constexpr bool operator==(Minifloat, Minifloat) = default;
};

}  // namespace qat::inline v0::numeric
