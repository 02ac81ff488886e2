// Elementwise functions as function objects. The scalar form is the definition; the loop around it is vectorized.
#pragma once

#include <type_traits>

#include "qat/base/bit_cast.hpp"

QAT_EXACT_BEGIN

namespace qat::inline v0 {

namespace expr {

// Element types an arithmetic functor takes. Codes (Int<4>, UInt<8>...) and storage formats (half, bfloat16...) are
// not.
template <class... T>
inline constexpr bool kNumbers = (std::is_arithmetic_v<T> && ...);

#if defined(__clang__)
// clang's -ffp-contract=fast (part of -Ofast) fuses a product into a following sum whatever the pragmas say. Products
// therefore pass through an integer operation with a zero that no optimizer can know; loops keep it in a register.
[[gnu::used]] inline std::uint32_t unknown_zero = 0;
#endif

/// a * b rounded, as a value that no compiler fuses with an addition. nvcc has no pragma that forbids it, but
/// intrinsics.
template <class T>
QAT_HOST_DEVICE QAT_INLINE constexpr auto rounded_product(T a, T b) {
#if defined(__CUDA_ARCH__)
  if (!__builtin_is_constant_evaluated()) {
    if constexpr (std::is_same_v<T, float>) return __fmul_rn(a, b);
    if constexpr (std::is_same_v<T, double>) return __dmul_rn(a, b);
  }
#elif defined(__clang__)
  if (!__builtin_is_constant_evaluated()) {
    if constexpr (std::is_same_v<T, float>)
      return qat::bit_cast<float>(qat::bit_cast<std::uint32_t>(a * b) ^ unknown_zero);
    if constexpr (std::is_same_v<T, double>)
      return qat::bit_cast<double>(qat::bit_cast<std::uint64_t>(a * b) ^ unknown_zero);
  }
#endif
  return a * b;
}

struct Add {
  static constexpr bool kNumbersOnly = true;
  template <class T>
  QAT_HOST_DEVICE QAT_INLINE constexpr auto operator()(T a, T b) const {
    return a + b;
  }
};
struct Subtract {
  static constexpr bool kNumbersOnly = true;
  template <class T>
  QAT_HOST_DEVICE QAT_INLINE constexpr auto operator()(T a, T b) const {
    return a - b;
  }
};
struct Multiply {
  static constexpr bool kNumbersOnly = true;
  template <class T>
  QAT_HOST_DEVICE QAT_INLINE constexpr auto operator()(T a, T b) const {
    return rounded_product(a, b);
  }
};
struct Divide {
  static constexpr bool kNumbersOnly = true;
  template <class T>
  QAT_HOST_DEVICE QAT_INLINE constexpr auto operator()(T a, T b) const {
    return a / b;
  }
};
struct Negate {
  static constexpr bool kNumbersOnly = true;
  template <class T>
  QAT_HOST_DEVICE QAT_INLINE constexpr auto operator()(T a) const {
    return -a;
  }
};
struct Abs {
  static constexpr bool kNumbersOnly = true;
  template <class T>
  QAT_HOST_DEVICE QAT_INLINE constexpr T operator()(T a) const {
    if constexpr (std::is_same_v<T, float>) {
      return __builtin_fabsf(a);
    } else if constexpr (std::is_same_v<T, double>) {
      return __builtin_fabs(a);
    } else {
      return static_cast<T>(a < T{} ? -a : a);
    }
  }
};
/// a where the operands are unordered (NaN), as std::min; clang -Ofast may give either.
struct Min {
  static constexpr bool kNumbersOnly = true;
  template <class T>
  QAT_HOST_DEVICE QAT_INLINE constexpr T operator()(T a, T b) const {
    return b < a ? b : a;
  }
};
/// a where the operands are unordered (NaN), as std::max; clang -Ofast may give either.
struct Max {
  static constexpr bool kNumbersOnly = true;
  template <class T>
  QAT_HOST_DEVICE QAT_INLINE constexpr T operator()(T a, T b) const {
    return a < b ? b : a;
  }
};
/// NaN stays NaN, except under clang -Ofast. low must not exceed high.
struct Clamp {
  static constexpr bool kNumbersOnly = true;
  template <class T>
  QAT_HOST_DEVICE QAT_INLINE constexpr T operator()(T x, T low, T high) const {
    const T raised = x < low ? low : x;
    return high < raised ? high : raised;
  }
};
struct Less {
  static constexpr bool kNumbersOnly = true;
  template <class T>
  QAT_HOST_DEVICE QAT_INLINE constexpr bool operator()(T a, T b) const {
    return a < b;
  }
};
struct LessEqual {
  static constexpr bool kNumbersOnly = true;
  template <class T>
  QAT_HOST_DEVICE QAT_INLINE constexpr bool operator()(T a, T b) const {
    return a <= b;
  }
};
struct Where {
  static constexpr bool kNumbersOnly = false;
  template <class T>
  QAT_HOST_DEVICE QAT_INLINE constexpr T operator()(bool mask, T a, T b) const {
    return mask ? a : b;
  }
};
/// Half to even, in the default rounding mode; keeps the sign of zero, NaN and infinity. Same bits as
/// HalfToEven::round.
struct Round {
  static constexpr bool kNumbersOnly = true;
  QAT_HOST_DEVICE QAT_INLINE constexpr float operator()(float x) const {
    // Adding 2^23 leaves no bits for a fraction, so the processor rounds. From 2^23 on (and for NaN and infinity) |x|
    // is kept. Selecting by masks keeps the loop around this free of branches.
    const std::uint32_t bits = qat::bit_cast<std::uint32_t>(x);
    const std::uint32_t magnitude = bits & 0x7FFFFFFFu;
    const float rounded = (qat::bit_cast<float>(magnitude) + 8388608.0f) - 8388608.0f;
    const std::uint32_t has_fraction = 0u - static_cast<std::uint32_t>(magnitude < 0x4B000000u);
    return qat::bit_cast<float>((bits & 0x80000000u) | (qat::bit_cast<std::uint32_t>(rounded) & has_fraction) |
                                (magnitude & ~has_fraction));
  }
};
/// Conversion by static_cast: between numbers, or between a number and a storage format.
template <class To>
struct Cast {
  static constexpr bool kNumbersOnly = false;
  template <class T>
  QAT_HOST_DEVICE QAT_INLINE constexpr To operator()(T x) const {
    return static_cast<To>(x);
  }
};

template <class F>
inline constexpr bool kTakesNumbersOnly = requires {
  requires F::kNumbersOnly;
};

}  // namespace expr

}  // namespace qat::inline v0

QAT_EXACT_END
