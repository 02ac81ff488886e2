// What a mapping needs to know of a group (quant/qparams.hpp: GroupRange), as little as a thread must hold and shuffle.
// Ranges leave NaN and infinities out; of() does not and is then not finite(), which is rare and handled by observe().
#pragma once

#include "qat/kernels/cuda/elements.hpp"
#include "qat/quant/affine.hpp"

namespace qat::inline v0::cuda {

/// validate(), and refuses what only the processor computes.
inline void validate_on_device(const QuantSpec& spec) {
  validate(spec);
  QAT_CHECK(
      spec.levels == Levels::kAll && spec.mapping != MappingKind::kFloatMinimum && !has_ggml_scale(spec), kUnsupported,
      to_string(spec),
      " is not computed on a GPU; accepted are int and uint types without narrow, all mappings but float_minimum, all "
      "scales but ggml_half and ggml_float");
}

enum class RangeKind { kMagnitude, kMinMax, kExtremum };

constexpr RangeKind range_kind(MappingKind mapping) {
  return mapping == MappingKind::kSymmetric        ? RangeKind::kMagnitude
         : mapping == MappingKind::kSignedExtremum ? RangeKind::kExtremum
                                                   : RangeKind::kMinMax;
}

template <RangeKind>
struct Range;

/// The largest magnitude.
template <>
struct Range<RangeKind::kMagnitude> {
  float magnitude = 0.0f;

  template <class T>
  QAT_HOST_DEVICE static Range of(const Bytes16& v) {
    return {Vector<T>::magnitude(v)};
  }
  QAT_HOST_DEVICE bool finite() const { return magnitude < kInfinity; }
  QAT_HOST_DEVICE void observe(float x) { magnitude = larger(magnitude, cuda::magnitude(x)); }
  /// next: a range of elements that come later in the group.
  QAT_HOST_DEVICE void merge(const Range& next) { magnitude = larger(magnitude, next.magnitude); }
  /// With that of the lane whose number differs in the one bit `mask`; elements are in the order of lanes.
  template <class Context>
  QAT_HOST_DEVICE void merge_lane(const Context& c, unsigned mask) {
    magnitude = larger(magnitude, c.shuffle_xor(magnitude, mask));
  }
  template <class Context>
  QAT_HOST_DEVICE Range shuffle_xor(const Context& c, unsigned mask) const {
    return {c.shuffle_xor(magnitude, mask)};
  }
  QAT_HOST_DEVICE static bool tie(const Range&, const Range&) { return false; }
  QAT_HOST_DEVICE GroupRange group() const {
    GroupRange r;
    r.max = magnitude;
    return r;
  }
};

template <>
struct Range<RangeKind::kMinMax> {
  float min = kInfinity, max = -kInfinity;

  template <class T>
  QAT_HOST_DEVICE static Range of(const Bytes16& v) {
    return {Vector<T>::smallest(v), Vector<T>::largest(v)};
  }
  QAT_HOST_DEVICE bool finite() const { return min > -kInfinity && max < kInfinity; }
  QAT_HOST_DEVICE void observe(float x) {
    min = smaller(min, x);
    max = larger(max, x);
  }
  QAT_HOST_DEVICE void merge(const Range& next) {
    min = smaller(min, next.min);
    max = larger(max, next.max);
  }
  template <class Context>
  QAT_HOST_DEVICE void merge_lane(const Context& c, unsigned mask) {
    merge(shuffle_xor(c, mask));
  }
  template <class Context>
  QAT_HOST_DEVICE Range shuffle_xor(const Context& c, unsigned mask) const {
    return {c.shuffle_xor(min, mask), c.shuffle_xor(max, mask)};
  }
  QAT_HOST_DEVICE static bool tie(const Range&, const Range&) { return false; }
  QAT_HOST_DEVICE GroupRange group() const {
    GroupRange r;
    if (min <= max) r.min = min, r.max = max;
    return r;
  }
};

/// The element of largest magnitude, the first one on ties.
template <>
struct Range<RangeKind::kExtremum> {
  float value = 0.0f;

  template <class T>
  QAT_HOST_DEVICE static Range of(const Bytes16& v) {
    const float low = Vector<T>::smallest(v), high = Vector<T>::largest(v);
    if (high > -low) return {high};
    if (high < -low) return {low};
    Range r;  // both signs, or NaN
    for (int i = 0; i < Vector<T>::kSize; ++i) r.observe(Vector<T>::get(v, i));
    if (!(high == -low)) r.value = high + low;
    return r;
  }
  QAT_HOST_DEVICE bool finite() const { return cuda::magnitude(value) < kInfinity; }
  QAT_HOST_DEVICE void observe(float x) {
    if (cuda::magnitude(x) > cuda::magnitude(value)) value = x;
  }
  QAT_HOST_DEVICE void merge(const Range& next) { observe(next.value); }
  template <class Context>
  QAT_HOST_DEVICE void merge_lane(const Context& c, unsigned mask) {
    const float other = c.shuffle_xor(value, mask);
    const bool wins = (c.lane() & mask) != 0 ? cuda::magnitude(other) >= cuda::magnitude(value)
                                             : cuda::magnitude(other) > cuda::magnitude(value);
    if (wins) value = other;
  }
  template <class Context>
  QAT_HOST_DEVICE Range shuffle_xor(const Context& c, unsigned mask) const {
    return {c.shuffle_xor(value, mask)};
  }
  /// True where, of equal magnitudes, the order of elements decides.
  QAT_HOST_DEVICE static bool tie(const Range& a, const Range& b) {
    return cuda::magnitude(a.value) == cuda::magnitude(b.value);
  }
  QAT_HOST_DEVICE GroupRange group() const {
    GroupRange r;
    r.extremum = value;
    return r;
  }
};

}  // namespace qat::inline v0::cuda
