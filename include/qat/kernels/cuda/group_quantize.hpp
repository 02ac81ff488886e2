// Quantization of groups by the threads of a warp: the range of a group by shuffles, its parameters in every lane, and
// its elements with the device's own instructions. The bits of quant/affine.hpp, for half-to-even rounding and
// mappings with an integer zero point (quantizes_in_lanes).
#pragma once

#include "qat/kernels/cuda/lanes.hpp"
#include "qat/quant/affine.hpp"

namespace qat::inline v0::cuda {

/// True for the schemes of LaneQuantizer; the others run affine.hpp as it stands.
constexpr bool quantizes_in_lanes(const QuantSpec& spec) {
  return spec.mapping != MappingKind::kFloatZeroPoint && spec.rounding == RoundingKind::kHalfToEven;
}

/// The finite elements of a group as one thread sees them, in ascending order.
struct LaneRange {
  float low = bit_cast<float>(0x7F800000u), high = bit_cast<float>(0xFF800000u);  ///< infinite: none seen
  float extremum = 0.0f;                                                          ///< kept for SignedExtremum only

  QAT_HOST_DEVICE void observe(float x, MappingKind mapping) {
    if (mapping == MappingKind::kSignedExtremum) {
      if (is_finite(x) && magnitude(x) > magnitude(extremum)) extremum = x;
      return;
    }
    low = is_finite(x) ? smaller(low, x) : low;
    high = is_finite(x) ? larger(high, x) : high;
  }
  /// Followed by `next`.
  QAT_HOST_DEVICE void merge(const LaneRange& next) {
    low = smaller(low, next.low);
    high = larger(high, next.high);
    if (magnitude(next.extremum) > magnitude(extremum)) extremum = next.extremum;
  }
  /// What choose_qparams reads.
  QAT_HOST_DEVICE GroupRange range() const {
    GroupRange r;
    r.min = low > high ? 0.0f : low;
    r.max = low > high ? 0.0f : high;
    r.extremum = extremum;
    return r;
  }
};

/// The range of `lanes` neighbouring lanes (a power of two up to 32), their elements in the order of the lanes; every
/// lane gets it. All lanes of the warp call.
template <class Context>
QAT_HOST_DEVICE LaneRange merge_lanes(const Context& c, LaneRange own, unsigned lanes, MappingKind mapping) {
  if (mapping == MappingKind::kSignedExtremum) {
    for (unsigned mask = 1; mask < lanes; mask *= 2) {
      const float other = c.shuffle_xor(own.extremum, mask);
      const bool first = (c.lane() & mask) != 0;  // the partner's elements come first, and win ties
      if (first ? magnitude(other) >= magnitude(own.extremum) : magnitude(other) > magnitude(own.extremum))
        own.extremum = other;
    }
    return own;
  }
  for (unsigned mask = 1; mask < lanes; mask *= 2) {
    own.low = smaller(own.low, c.shuffle_xor(own.low, mask));
    own.high = larger(own.high, c.shuffle_xor(own.high, mask));
  }
  return own;
}

/// choose_qparams for elements of T, and make_qparams. The common schemes are told apart once, so that each is compiled
/// without the choices that the definition makes at every step.
template <class T>
QAT_HOST_DEVICE QParams choose_in_lane(const GroupRange& range, const AffineScheme& scheme) {
  AffineScheme a = scheme;
  a.input = kFloatTypeOf<T>;
  if (a.spec.scale_type != ScaleType::kFloat32) return choose_qparams(range, a);
  a.spec.scale_type = ScaleType::kFloat32;
  a.scale = a.product = FloatType::kFloat32;
  if (a.spec.mapping == MappingKind::kSymmetric) {
    a.spec.mapping = MappingKind::kSymmetric;
    return choose_qparams(range, a);
  }
  if (a.spec.mapping == MappingKind::kAsymmetric) {
    a.spec.mapping = MappingKind::kAsymmetric;
    return choose_qparams(range, a);
  }
  return choose_qparams(range, a);
}
QAT_HOST_DEVICE inline QParams make_in_lane(float scale, float zero_point, const AffineScheme& a) {
  if (a.scale == FloatType::kFloat32) return {scale, zero_point, 1.0f / scale};
  return make_qparams(scale, zero_point, a);
}

/// fake_quantize, its mask and its gradients under the parameters of one group. T: the elements' type, float or
/// bfloat16.
template <class T>
struct LaneQuantizer {
  float scale = 1.0f, zero_point = 0.0f, inverse = 1.0f, qmin = 0.0f, qmax = 0.0f;
  bool rounds_product = false;  ///< the grid of products is T's: bfloat16 with scales of bfloat16

  QAT_HOST_DEVICE LaneQuantizer(const QParams& p, const AffineScheme& a)
      : scale(p.scale),
        zero_point(p.zero_point),
        inverse(p.inverse_scale),
        qmin(a.qmin),
        qmax(a.qmax),
        rounds_product(sizeof(T) == 2 && a.product != FloatType::kFloat32) {}

  template <class Context>
  QAT_HOST_DEVICE float round_product(const Context& c, float x) const {
    if constexpr (sizeof(T) == 2) return rounds_product ? round_to_element<T>(c, x) : x;
    return x;
  }
  /// x in steps; 0 for NaN.
  template <class Context>
  QAT_HOST_DEVICE float steps_of(const Context& c, float x) const {
    return x == x ? round_product(c, c.mul(x, inverse)) : 0.0f;
  }
  template <class Context>
  QAT_HOST_DEVICE float unclamped(const Context& c, float steps) const {
    return round_product(c, c.add(c.rint(steps), zero_point));
  }
  /// q - z
  template <class Context>
  QAT_HOST_DEVICE float offset_of(const Context& c, float x) const {
    const float q = smaller(larger(unclamped(c, steps_of(c, x)), qmin), qmax);
    return x == x ? c.sub(q, zero_point) : 0.0f;
  }
  /// The code of affine.hpp's quantize.
  template <class Context>
  QAT_HOST_DEVICE int quantize(const Context& c, float x) const {
    return static_cast<int>(c.add(offset_of(c, x), zero_point));
  }
  template <class Context>
  QAT_HOST_DEVICE float dequantize(const Context& c, float offset) const {
    return round_to_element<T>(c, round_product(c, c.mul(round_to_element<T>(c, offset), scale)));
  }
  template <class Context>
  QAT_HOST_DEVICE float fake_quantize(const Context& c, float x) const {
    return dequantize(c, offset_of(c, x));
  }
  template <class Context>
  QAT_HOST_DEVICE bool passes_gradient(const Context& c, float x, SteMask mask) const {
    if (mask == SteMask::kPassThrough) return true;
    const float u = unclamped(c, steps_of(c, x)), inset = mask == SteMask::kStrict ? 1.0f : 0.0f;
    return x == x && u >= qmin + inset && u <= qmax - inset;
  }
  /// The gradient of x for dy, where it passes.
  template <class Context>
  QAT_HOST_DEVICE float scale_gradient(const Context& c, float dy) const {
    const float steps = round_to_element<T>(c, round_product(c, c.mul(dy, scale)));
    return round_to_element<T>(c, round_product(c, c.mul(steps, inverse)));
  }
  template <class Context>
  QAT_HOST_DEVICE float backward(const Context& c, float dy, float x, SteMask mask) const {
    if (mask == SteMask::kPassThrough) return dy;
    return passes_gradient(c, x, mask) ? scale_gradient(c, dy) : 0.0f;
  }
  /// backward, and in `term` what the gradient of the scale sums: dy * lsq_derivative(x). For T = float.
  template <class Context>
  QAT_HOST_DEVICE float lsq_backward(const Context& c, float dy, float x, SteMask mask, float& term) const {
    static_assert(sizeof(T) == 4, "lsq_backward: scales are learned for fp32 masters");
    const float steps = steps_of(c, x), u = unclamped(c, steps);
    const float code = c.sub(smaller(larger(u, qmin), qmax), zero_point);
    const float inset = mask == SteMask::kStrict ? 1.0f : 0.0f;
    const bool number = x == x;
    const bool passes = mask == SteMask::kPassThrough || (u >= qmin + inset && u <= qmax - inset);
    term = c.mul(dy, !number ? 0.0f : passes ? c.sub(code, steps) : code);
    if (mask == SteMask::kPassThrough) return dy;
    return passes && number ? scale_gradient(c, dy) : 0.0f;
  }
};

/// The sum over a group of 4 x lanes consecutive elements, 4 to a lane, V such parts one after the other; lanes: 4 to
/// 32. In the order of kernels::reference::lsq_scale_gradient: element i goes to sum i % 16, in ascending order, and
/// the sixteen are added as a tree. Every lane gets it. All lanes of the warp call.
template <int V, class Context>
QAT_HOST_DEVICE float ordered_sum(const Context& c, const float (&term)[V][4], unsigned lanes) {
  const unsigned base = c.lane() & ~(lanes - 1u), residue = c.lane() & 3u;
  float sum[4] = {};
  QAT_CUDA_UNROLL
  for (int v = 0; v < V; ++v)
    for (unsigned k = 0; k < lanes; k += 4) QAT_CUDA_UNROLL
  for (int i = 0; i < 4; ++i) sum[i] = c.add(sum[i], c.shuffle(term[v][i], base + k + residue));
  for (unsigned mask = 2; mask > 0; mask /= 2)
    for (int i = 0; i < 4; ++i) sum[i] = c.add(sum[i], c.shuffle_xor(sum[i], mask));
  return c.add(c.add(sum[0], sum[2]), c.add(sum[1], sum[3]));
}

}  // namespace qat::inline v0::cuda
