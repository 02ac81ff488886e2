// Rounding policies: fp32 to the nearest integer value, by integer arithmetic alone (any floating-point mode, any
// flags).
#pragma once

#include "qat/base/bit_cast.hpp"

namespace qat::inline v0 {

namespace numeric {
/// Bits of |x| split at the binary point: magnitude >= 2^23 (and NaN, infinity) has no fraction.
struct FractionSplit {
  std::uint32_t sign;       ///< the sign bit in place
  std::uint32_t truncated;  ///< bits of trunc(|x|)
  std::uint32_t unit;       ///< bit that stands for 1.0 in truncated's mantissa; 0: x is an integer already or |x| < 1
  std::uint32_t fraction;   ///< fraction of |x| in units of 2^-shift of `half`
  std::uint32_t half;       ///< the same unit's value of 0.5
};
QAT_HOST_DEVICE constexpr FractionSplit split_fraction(float x) {
  const std::uint32_t bits = qat::bit_cast<std::uint32_t>(x);
  const std::uint32_t magnitude = bits & 0x7FFFFFFFu;
  const std::uint32_t sign = bits & 0x80000000u;
  if (magnitude >= 0x4B000000u) return {sign, magnitude, 0, 0, 1};  // >= 2^23
  if (magnitude < 0x3F800000u) {                                    // < 1: compare the bits with those of 0.5
    return {sign, 0, 0, magnitude, 0x3F000000u};
  }
  const std::uint32_t unit = 1u << (150 - (magnitude >> 23));
  return {sign, magnitude & ~(unit - 1), unit, magnitude & (unit - 1), unit >> 1};
}
/// trunc(|x|) + 1 with the sign of x.
QAT_HOST_DEVICE constexpr float away_from_zero(const FractionSplit& s) {
  return qat::bit_cast<float>(s.sign | (s.unit == 0 ? 0x3F800000u : s.truncated + s.unit));
}
QAT_HOST_DEVICE constexpr float toward_zero(const FractionSplit& s) {
  return qat::bit_cast<float>(s.sign | s.truncated);
}
}  // namespace numeric

/// Ties to the even integer (IEEE default; torch.round, rintf). Keeps the sign of zero, NaN and infinity.
struct HalfToEven {
  static constexpr bool kStochastic = false;
  QAT_HOST_DEVICE static constexpr float round(float x) {
#if defined(__CUDA_ARCH__)
    if (!__builtin_is_constant_evaluated()) return rintf(x);  // devices have one rounding mode
#endif
    const auto s = numeric::split_fraction(x);
    // s.unit >= 2^23 cannot hold an odd bit below the implicit one: trunc(|x|) == 1 is odd.
    const bool odd = s.unit != 0 && (s.unit == 0x800000u || (s.truncated & s.unit) != 0);
    return s.fraction > s.half || (s.fraction == s.half && odd) ? numeric::away_from_zero(s) : numeric::toward_zero(s);
  }
};

/// Ties away from zero (C's roundf; ggml's Q8_0).
struct HalfAwayFromZero {
  static constexpr bool kStochastic = false;
  QAT_HOST_DEVICE static constexpr float round(float x) {
    const auto s = numeric::split_fraction(x);
    return s.fraction >= s.half ? numeric::away_from_zero(s) : numeric::toward_zero(s);
  }
};

/// Drops the fraction.
struct TowardZero {
  static constexpr bool kStochastic = false;
  QAT_HOST_DEVICE static constexpr float round(float x) { return numeric::toward_zero(numeric::split_fraction(x)); }
};

/// Rounds away from zero with the probability of the fraction: E[round(x)] = x up to 2^-32. The caller draws `random`
/// from the counter generator (base/random.hpp) at the element's index, so that a rerun draws the same.
struct Stochastic {
  static constexpr bool kStochastic = true;
  QAT_HOST_DEVICE static constexpr float round(float x, std::uint32_t random) {
    const auto s = numeric::split_fraction(x);
    if (s.fraction == 0) return numeric::toward_zero(s);
    std::uint64_t fraction_2_32 = 0;  // fraction in units of 2^-32
    if (s.unit != 0) {
      fraction_2_32 = (std::uint64_t{s.fraction} << 32) / s.unit;
    } else {  // |x| < 1: mantissa * 2^(exponent - 150)
      const std::uint32_t exponent = s.fraction >> 23;
      const std::uint64_t mantissa = (s.fraction & 0x7FFFFFu) | (exponent != 0 ? 0x800000u : 0u);
      const int shift = 150 - 32 - static_cast<int>(exponent);  // <= 0 for |x| >= 2^-9
      fraction_2_32 = shift <= 0 ? mantissa << -shift : shift < 64 ? mantissa >> shift : 0;
    }
    return random < fraction_2_32 ? numeric::away_from_zero(s) : numeric::toward_zero(s);
  }
};

}  // namespace qat::inline v0
