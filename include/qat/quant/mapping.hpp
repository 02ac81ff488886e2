// Mapping: how the range of a group becomes a scale and a zero point. The arithmetic is in affine.hpp.
#pragma once

#include "qat/base/config.hpp"

namespace qat::inline v0 {

enum class MappingKind : std::uint8_t {
  kSymmetric,  ///< s = amax / ((qmax - qmin) / 2): amax/7.5 at int4 (torchao SYMMETRIC; compressed-tensors "full")
  kSymmetricNoClip,  ///< s = max(min/qmin, max/qmax): nothing clips (torchao SYMMETRIC_NO_CLIPPING_ERR)
  kAsymmetric,       ///< s = (max - min) / (qmax - qmin) over a range that contains 0; integer zero point (torchao
                     ///< ASYMMETRIC)
  kAsymmetricRaw,    ///< as kAsymmetric over the raw range, which need not contain 0 (torchao preserve_zero=False, INT
                     ///< domain)
  kSignedExtremum,  ///< s = e / qmin, e the element of largest magnitude, first one wins; s may be negative (ggml Q4_0)
  kFloatZeroPoint,  ///< s = (max - min) / (qmax - qmin), z = min + s*mid in input units (tinygemm's FLOAT domain)
  kFloatMinimum,    ///< the same with z = min: y = q*s + z (ggml Q4_1)
};

namespace detail {
/// What only the processor computes (FloatMinimum, tables of levels, ggml's scales): no GPU kernel pays for it, and
/// cuda::validate_on_device refuses it.
#if defined(__CUDA_ARCH__)
inline constexpr bool kOnProcessor = false;
#else
inline constexpr bool kOnProcessor = true;
#endif
}  // namespace detail

struct Symmetric {
  static constexpr MappingKind kind = MappingKind::kSymmetric;
};
struct SymmetricNoClip {
  static constexpr MappingKind kind = MappingKind::kSymmetricNoClip;
};
struct Asymmetric {
  static constexpr MappingKind kind = MappingKind::kAsymmetric;
};
struct AsymmetricRaw {
  static constexpr MappingKind kind = MappingKind::kAsymmetricRaw;
};
struct SignedExtremum {
  static constexpr MappingKind kind = MappingKind::kSignedExtremum;
};
struct FloatZeroPoint {
  static constexpr MappingKind kind = MappingKind::kFloatZeroPoint;
};
struct FloatMinimum {
  static constexpr MappingKind kind = MappingKind::kFloatMinimum;
};

/// True where every group has the same zero point, which then need not be stored.
QAT_HOST_DEVICE constexpr bool has_constant_zero_point(MappingKind mapping) {
  return mapping == MappingKind::kSymmetric || mapping == MappingKind::kSymmetricNoClip ||
         mapping == MappingKind::kSignedExtremum;
}
/// True where the zero point is a number in the units of the input, not a code.
QAT_HOST_DEVICE constexpr bool has_float_zero_point(MappingKind mapping) {
  return mapping == MappingKind::kFloatZeroPoint || (detail::kOnProcessor && mapping == MappingKind::kFloatMinimum);
}

}  // namespace qat::inline v0
