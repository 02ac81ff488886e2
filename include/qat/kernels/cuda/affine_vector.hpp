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

/// qat::choose_qparams on a thread: the same bits, for ranges of finite numbers, in a third of the operations.
template <class T, class Context>
QAT_HOST_DEVICE QParams choose_qparams_of(const Context& c, const GroupRange& range, const AffineScheme& a) {
  const auto to_bf16 = [&](float v) { return low_bf16(c.bf16_pair(v, 0.0f)); };
  const auto rounded = [&](float v) {  // to the grid of T, kept finite
    constexpr float kLargest = largest_finite(kFloatTypeOf<T>);
    if constexpr (sizeof(T) == 2) v = to_bf16(v);
    return smaller(larger(v, -kLargest), kLargest);
  };
  const MappingKind mapping = a.spec.mapping;
  const bool raw = mapping == MappingKind::kFloatZeroPoint || mapping == MappingKind::kAsymmetricRaw;
  const float low = raw ? range.min : smaller(range.min, 0.0f), high = raw ? range.max : larger(range.max, 0.0f);
  float s = 0.0f;
  if (mapping == MappingKind::kSymmetric)
    s = rounded(c.div(larger(-low, high), (a.qmax - a.qmin) * 0.5f));
  else if (mapping == MappingKind::kSignedExtremum)
    s = rounded(c.div(range.extremum, a.qmin));
  else if (mapping == MappingKind::kSymmetricNoClip)
    s = larger(a.qmin < 0.0f ? rounded(c.div(low, a.qmin)) : 0.0f, a.qmax > 0.0f ? rounded(c.div(high, a.qmax)) : 0.0f);
  else
    s = rounded(c.div(rounded(c.sub(high, low)), a.qmax - a.qmin));
  const float size = rounded(larger(cuda::magnitude(s), a.eps));
  s = s < 0.0f ? -size : size;

  float zero_point = a.spec.is_signed ? 0.0f : a.middle();
  if (mapping == MappingKind::kFloatZeroPoint)
    zero_point = qat::detail::round_finite(a.scale, rounded(c.add(low, rounded(c.mul(s, a.middle())))));
  else if (mapping == MappingKind::kAsymmetric || mapping == MappingKind::kAsymmetricRaw)
    zero_point = smaller(larger(rounded(c.sub(a.qmin, c.rint(rounded(c.div(low, s))))), a.qmin), a.qmax);

  QParams p{s, zero_point, 0.0f};
  const ScaleType stored = a.spec.scale_type;
  if (stored == ScaleType::kBfloat16Safe) {
    p.scale = smaller(larger(to_bf16(size), 0x1p-14f), 0x1.FEp15f);
    p.scale = s < 0.0f ? -p.scale : p.scale;
  } else if (stored != ScaleType::kFloat32) {
    p.scale = round_scale(stored, s);
  }
  p.inverse_scale = c.div(1.0f, p.scale);
  if (a.scale == FloatType::kBfloat16)
    p.inverse_scale = to_bf16(p.inverse_scale);
  else if (a.scale == FloatType::kFloat16)
    p.inverse_scale = round_to(FloatType::kFloat16, p.inverse_scale);
  return p;
}

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
  /// Clamped steps to their codes, kWidth bits each, the first lowest. A float of 1.5 * 2^23 plus an integer holds the
  /// integer in its low bits; the shifted bits are added up, the constant parts taken off at the end. Signed codes are
  /// counted from the smallest, so that no bit is borrowed, and their sign bits turned over.
  template <int kWidth, class Context>
  QAT_HOST_DEVICE void codes(const Context& c, const float (&q)[kSize], const VectorGroup& g,
                             std::uint32_t (&word)[kSize * kWidth > 32 ? 2 : 1]) const {
    constexpr int kOfWord = 32 / kWidth < kSize ? 32 / kWidth : kSize;
    constexpr std::uint32_t kOnes = 0xFFFFFFFFu / ((1u << kWidth) - 1u);  // a one in each code
    constexpr std::uint32_t kUsed = kOfWord * kWidth == 32 ? 0xFFFFFFFFu : (1u << kOfWord * kWidth % 32) - 1u;
    constexpr std::uint32_t kSigns = kOnes << (kWidth - 1);
    const float zero_point = kFloatZero ? 0.0f : c.sub(scheme.qmin, g.low);
    const float offset = c.add(zero_point, kRoundToInteger);
    const std::uint32_t signs = scheme.spec.is_signed ? kSigns : 0u;
    constexpr std::uint32_t kConstant = bit_cast<std::uint32_t>(kRoundToInteger) * (kOnes & kUsed);
    QAT_CUDA_UNROLL
    for (int w = 0; w < (kSize + kOfWord - 1) / kOfWord; ++w) {
      std::uint32_t sum = signs - kConstant;
      QAT_CUDA_UNROLL
      for (int i = 0; i < kOfWord; ++i)
        sum += bit_cast<std::uint32_t>(c.add(q[w * kOfWord + i], offset)) << (i * kWidth);
      word[w] = (sum ^ signs) & kUsed;
    }
  }
};

}  // namespace qat::inline v0::cuda
