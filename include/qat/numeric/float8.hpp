// The 8-bit floats: e4m3 (finite, NaN, no infinity), e5m2 (IEEE-like) and e8m0 (a power of two, used as a scale).
#pragma once

#include "qat/numeric/minifloat.hpp"

namespace qat::inline v0 {

/// Largest 448. Overflow and infinity saturate to 448; NaN is 0x7F (torch.float8_e4m3fn's cast).
using float8_e4m3 = numeric::Minifloat<numeric::MinifloatFormat<4, 3, numeric::Overflow::kSaturate>, std::uint8_t>;
/// Largest finite 57344; 61440 and above become infinity (torch.float8_e5m2's cast).
using float8_e5m2 = numeric::Minifloat<numeric::MinifloatFormat<5, 2, numeric::Overflow::kInfinity>, std::uint8_t>;

/// Byte e stands for 2^(e-127); 255 is NaN. There is no sign and no zero.
struct float8_e8m0 {
  std::uint8_t bits = 127;

  constexpr float8_e8m0() = default;
  /// Ignores the sign, rounds the exponent up from mantissa 1.5 on (half up), overflows to NaN (torch.float8_e8m0fnu's
  /// cast).
  QAT_HOST_DEVICE constexpr explicit float8_e8m0(float value) {
    const std::uint32_t magnitude = qat::bit_cast<std::uint32_t>(value) & 0x7FFFFFFFu;
    const std::uint32_t exponent = magnitude >> 23;
    if (exponent == 255) {
      bits = 255;
    } else if (exponent == 0) {  // subnormal: 2^-127 is mantissa 0x400000, halfway to 2^-126 is 0x600000
      bits = (magnitude & 0x7FFFFFu) > 0x400000u ? 1 : 0;
    } else {
      bits = static_cast<std::uint8_t>(exponent + ((magnitude >> 22) & 1u));
    }
  }
  QAT_HOST_DEVICE static constexpr float8_e8m0 from_bits(std::uint32_t bits) {
    float8_e8m0 result;
    result.bits = static_cast<std::uint8_t>(bits);
    return result;
  }
  QAT_HOST_DEVICE constexpr explicit operator float() const {
    if (bits == 255) return qat::bit_cast<float>(0x7FC00000u);
    return qat::bit_cast<float>(bits == 0 ? 0x00400000u : static_cast<std::uint32_t>(bits) << 23);
  }
  friend constexpr bool operator==(float8_e8m0, float8_e8m0) = default;
};
static_assert(sizeof(float8_e4m3) == 1 && sizeof(float8_e5m2) == 1 && sizeof(float8_e8m0) == 1, "float8 is one byte");

}  // namespace qat::inline v0
