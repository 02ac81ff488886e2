// quant/affine.hpp on the elements that a thread holds: half-to-even rounding, fp32 or bfloat16 input, the same bits in
// fewer operations.
//
// With an integer zero point z that is a code, clamp(round(t) + z, qmin, qmax) - z = clamp(round(t), qmin - z, qmax -
// z): the difference that dequantize() needs comes without z. Adding and subtracting 1.5 * 2^23 rounds |t| < 2^22 half
// to even, leaves larger ones beyond every code, and gives zeros a plus sign, as a code has none.
#pragma once

#include "qat/kernels/cuda/elements.hpp"
#include "qat/quant/affine.hpp"

namespace qat::inline v0::cuda {

/// Added and subtracted: rounds to integers. Its bits end in eight zeros.
inline constexpr float kRoundToInteger = 12582912.0f;

/// Parameters of a group as the elements need them.
struct VectorGroup {
  float scale;
  float inverse;    ///< of the scale; the zero point under FloatZeroPoint
  float low, high;  ///< qmin - z and qmax - z; the value of code 0 (origin) and unused under FloatZeroPoint
};

/// T: float or bfloat16. kFloatZero: the mapping is FloatZeroPoint.
template <class T, bool kFloatZero>
struct AffineVector {
  static constexpr int kSize = Vector<T>::kSize;
  const AffineScheme& scheme;

  /// Where P, the grid of products, is bfloat16; for fp32 tensors it never is.
  QAT_HOST_DEVICE bool rounds_products() const {
    if constexpr (sizeof(T) == 4) return false;
    return scheme.product == FloatType::kBfloat16;
  }
  QAT_HOST_DEVICE VectorGroup group(const QParams& p) const {
    if constexpr (kFloatZero) {
      const float origin = round_to(
          scheme.scale, p.zero_point - round_to(scheme.scale, qat::detail::rounded_product(p.scale, scheme.middle())));
      return {p.scale, p.zero_point, origin, 0.0f};
    } else {
      return {p.scale, p.inverse_scale, scheme.qmin - p.zero_point, scheme.qmax - p.zero_point};
    }
  }
  QAT_HOST_DEVICE float low(const VectorGroup& g) const { return kFloatZero ? scheme.qmin : g.low; }
  QAT_HOST_DEVICE float high(const VectorGroup& g) const { return kFloatZero ? scheme.qmax : g.high; }

  /// x -> codes before rounding (less the zero point where that is an integer).
  template <class Context>
  QAT_HOST_DEVICE void steps(const Context& c, float (&x)[kSize], const VectorGroup& g) const {
    if constexpr (kFloatZero) {
      QAT_CUDA_UNROLL
      for (int i = 0; i < kSize; ++i) x[i] = c.sub(x[i], g.low);
      if (rounds_products()) round_to_bf16(c, x);
      QAT_CUDA_UNROLL
      for (int i = 0; i < kSize; ++i) x[i] = c.div(x[i], g.scale);
    } else {
      QAT_CUDA_UNROLL
      for (int i = 0; i < kSize; ++i) x[i] = c.mul(x[i], g.inverse);
    }
    if (rounds_products()) round_to_bf16(c, x);
  }
  template <class Context>
  QAT_HOST_DEVICE static float round(const Context& c, float steps) {
    return c.sub(c.add(steps, kRoundToInteger), kRoundToInteger);
  }
  /// Of a rounded number of steps, not NaN unless kFloatZero.
  QAT_HOST_DEVICE float clamp(float rounded, const VectorGroup& g) const {
    const float q = smaller(larger(rounded, low(g)), high(g));
    if constexpr (kFloatZero) return rounded != rounded ? scheme.middle() : q;
    return q;
  }
  /// Clamped steps to values on the grid of T or, where packing rounds to it, fp32.
  template <class Context>
  QAT_HOST_DEVICE void values(const Context& c, float (&q)[kSize], const VectorGroup& g) const {
    if constexpr (kFloatZero) {
      QAT_CUDA_UNROLL
      for (int i = 0; i < kSize; ++i) q[i] = c.mul(c.sub(q[i], scheme.middle()), g.scale);
      if constexpr (sizeof(T) == 2) round_to_bf16(c, q);
      QAT_CUDA_UNROLL
      for (int i = 0; i < kSize; ++i) q[i] = c.add(q[i], g.inverse);
    } else {
      QAT_CUDA_UNROLL
      for (int i = 0; i < kSize; ++i) q[i] = c.mul(q[i], g.scale);
    }
  }
  /// dy -> scale_gradient(dy), to be rounded to T.
  template <class Context>
  QAT_HOST_DEVICE void gradient(const Context& c, float (&d)[kSize], const VectorGroup& g) const {
    QAT_CUDA_UNROLL
    for (int i = 0; i < kSize; ++i) d[i] = c.mul(d[i], g.scale);
    if constexpr (sizeof(T) == 2) round_to_bf16(c, d);
    QAT_CUDA_UNROLL
    for (int i = 0; i < kSize; ++i) d[i] = kFloatZero ? c.div(d[i], g.scale) : c.mul(d[i], g.inverse);
  }
  /// The code of clamped steps in the low bits of the result, two's complement; the others are not zero.
  template <class Context>
  QAT_HOST_DEVICE std::uint32_t code_bits(const Context& c, float q, const VectorGroup& g) const {
    const float zero_point = kFloatZero ? 0.0f : c.sub(scheme.qmin, g.low);
    return bit_cast<std::uint32_t>(c.add(q, c.add(zero_point, kRoundToInteger)));
  }
};

}  // namespace qat::inline v0::cuda
