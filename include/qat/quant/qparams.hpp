// The range of a group, and the parameters chosen from it.
#pragma once

#include "qat/base/bit_cast.hpp"

namespace qat::inline v0 {

/// True for NaN and infinities; tests bits, so it holds under -ffast-math too.
QAT_HOST_DEVICE constexpr bool is_nonfinite(float x) {
  return (qat::bit_cast<std::uint32_t>(x) & 0x7F800000u) == 0x7F800000u;
}
QAT_HOST_DEVICE constexpr bool is_nan(float x) { return (qat::bit_cast<std::uint32_t>(x) & 0x7FFFFFFFu) > 0x7F800000u; }

/// Smallest, largest and largest-magnitude element of a group. Rule for NaN and infinities: they are not part of the
/// range; they are counted, so that callers can report them. A group without finite elements has range [0, 0].
struct GroupRange {
  float min = 0.0f;
  float max = 0.0f;
  float extremum = 0.0f;  ///< the element of largest magnitude, the first one on ties
  index_t count = 0;      ///< finite elements seen
  index_t nonfinite = 0;  ///< NaN and infinite elements seen

  QAT_HOST_DEVICE constexpr void observe(float x) {
    if (is_nonfinite(x)) {
      ++nonfinite;
      return;
    }
    if (count == 0 || x < min) min = x;
    if (count == 0 || x > max) max = x;
    if ((x < 0 ? -x : x) > (extremum < 0 ? -extremum : extremum)) extremum = x;
    ++count;
  }
  /// Range of this group followed by `next`.
  QAT_HOST_DEVICE constexpr void merge(const GroupRange& next) {
    nonfinite += next.nonfinite;
    if (next.count == 0) return;
    if (count == 0 || next.min < min) min = next.min;
    if (count == 0 || next.max > max) max = next.max;
    const float own = extremum < 0 ? -extremum : extremum, other = next.extremum < 0 ? -next.extremum : next.extremum;
    if (other > own) extremum = next.extremum;
    count += next.count;
  }
};

/// What quantize and dequantize need of a group. Two of these, scale and zero_point, are stored with the codes.
struct QParams {
  float scale = 1.0f;          ///< input units per step; negative only under SignedExtremum
  float zero_point = 0.0f;     ///< in steps, integer valued; in input units under FloatZeroPoint
  float inverse_scale = 1.0f;  ///< 1/scale, rounded in the scale's dtype; codes are chosen with it
};

}  // namespace qat::inline v0
