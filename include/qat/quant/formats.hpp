// Number formats by name at run time: the float grids that arithmetic rounds to, and the types a scale is stored in.
#pragma once

#include "qat/numeric/bfloat16.hpp"
#include "qat/numeric/float8.hpp"
#include "qat/numeric/half.hpp"

namespace qat::inline v0 {

/// The dtype a tensor is held in and arithmetic on it is rounded to, operation by operation, as PyTorch does.
enum class FloatType : std::uint8_t { kFloat32, kFloat16, kBfloat16 };

template <class D>
inline constexpr FloatType kFloatTypeOf = [] {
  static_assert(sizeof(D) == 0, "qat: tensor elements must be float, qat::half or qat::bfloat16");
  return FloatType::kFloat32;
}();
template <>
inline constexpr FloatType kFloatTypeOf<float> = FloatType::kFloat32;
template <>
inline constexpr FloatType kFloatTypeOf<half> = FloatType::kFloat16;
template <>
inline constexpr FloatType kFloatTypeOf<bfloat16> = FloatType::kBfloat16;

/// fp32 value rounded (half to even) to the grid of `type`.
QAT_HOST_DEVICE constexpr float round_to(FloatType type, float value) {
  switch (type) {
    case FloatType::kFloat16:
      return static_cast<float>(half(value));
    case FloatType::kBfloat16:
      return static_cast<float>(bfloat16(value));
    default:
      return value;
  }
}
QAT_HOST_DEVICE constexpr float smallest_normal(FloatType type) {
  return type == FloatType::kFloat16 ? 0x1p-14f : 0x1p-126f;
}
QAT_HOST_DEVICE constexpr float largest_finite(FloatType type) {
  return type == FloatType::kFloat16 ? 65504.0f : type == FloatType::kBfloat16 ? 0x1.FEp127f : 0x1.FFFFFEp127f;
}

/// The type a scale is held in: part of the scheme, since it changes codes (and the size of the packed weights).
enum class ScaleType : std::uint8_t {
  kInput,         ///< the dtype of the quantized tensor (torchao: scale_precision=None)
  kFloat32,       ///< 32 bits: torchao's contract; int4 at group 32 packs to 5.0 bits a weight
  kFloat16,       ///< 16 bits
  kBfloat16,      ///< 16 bits; 1/s is rounded to bfloat16 too (torchao: scale_precision=bfloat16)
  kBfloat16Safe,  ///< 16 bits: 8 significant bits inside half's range, so bfloat16, half and fp32 all hold it exactly
  kE8M0,          ///< 8 bits: a power of two, rounded up so that nothing clips
  kE4M3,          ///< 8 bits: float8 e4m3
  kGgmlHalf,   ///< 16 bits, as ggml has it: codes are chosen with the fp32 scale, its half is stored, subnormal or not
  kGgmlFloat,  ///< 32 bits, as ggml's Q8_K: codes are chosen with qmax/amax, the scale is the inverse of that
};

QAT_HOST_DEVICE constexpr int scale_bits(ScaleType type) {
  switch (type) {
    case ScaleType::kFloat16:
    case ScaleType::kBfloat16:
    case ScaleType::kBfloat16Safe:
    case ScaleType::kGgmlHalf:
      return 16;
    case ScaleType::kE8M0:
    case ScaleType::kE4M3:
      return 8;
    default:
      return 32;
  }
}

/// A positive or negative finite fp32 scale rounded to what `type` can hold. Never 0, infinite or NaN for s != 0:
/// values outside the type's range become its smallest normal or largest finite value of the same sign. kInput must
/// have been resolved (resolve_scale_type) before.
QAT_HOST_DEVICE constexpr float round_scale(ScaleType type, float s) {
  const std::uint32_t bits = qat::bit_cast<std::uint32_t>(s);
  const float magnitude = qat::bit_cast<float>(bits & 0x7FFFFFFFu);
  float rounded = magnitude, smallest = 0x1p-126f, largest = 0x1.FFFFFEp127f;
  switch (type) {
    case ScaleType::kFloat16:
      rounded = static_cast<float>(half(magnitude));
      smallest = 0x1p-14f;
      largest = 65504.0f;
      break;
    case ScaleType::kBfloat16:
      rounded = static_cast<float>(bfloat16(magnitude));
      largest = 0x1.FEp127f;
      break;
    case ScaleType::kBfloat16Safe:
      rounded = static_cast<float>(bfloat16(magnitude));
      smallest = 0x1p-14f;
      largest = 0x1.FEp15f;
      break;
    case ScaleType::kE8M0:  // up: ceil(log2 s)
      rounded = qat::bit_cast<float>(((bits & 0x7FFFFFFFu) + 0x7FFFFFu) & 0x7F800000u);
      largest = 0x1p127f;
      break;
    case ScaleType::kE4M3:
      rounded = static_cast<float>(float8_e4m3(magnitude));
      smallest = 0x1p-6f;
      largest = 448.0f;
      break;
    case ScaleType::kGgmlHalf:
      rounded = static_cast<float>(half(magnitude));
      smallest = 0x1p-24f;
      largest = 65504.0f;
      break;
    default:
      break;
  }
  if (!(rounded >= smallest)) rounded = smallest;
  if (rounded > largest) rounded = largest;
  return qat::bit_cast<float>(qat::bit_cast<std::uint32_t>(rounded) | (bits & 0x80000000u));
}

QAT_HOST_DEVICE constexpr ScaleType resolve_scale_type(ScaleType type, FloatType input) {
  if (type != ScaleType::kInput) return type;
  return input == FloatType::kFloat16    ? ScaleType::kFloat16
         : input == FloatType::kBfloat16 ? ScaleType::kBfloat16
                                         : ScaleType::kFloat32;
}

}  // namespace qat::inline v0
