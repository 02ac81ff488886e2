// Rotary positions of one token's heads, on raw pointers.
#pragma once

#include "qat/kernels/cpu/elementwise.hpp"

#define QAT_TARGET_INCLUDE "qat/kernels/cpu/rope-inl.hpp"
#include "qat/simd/foreach_target-inl.hpp"

namespace qat::inline v0::kernels {

/// What one token's rotation reads: `half` angles, and the sign of the turn.
struct RopeAngles {
  const float* cosine;
  const float* sine;
  index_t half;
  float direction;   ///< 1 forward, -1 back
  bool interleaved;  ///< pairs are neighbours; else element k goes with k + half
};

/// Turns the heads of one token by its angles; heads are x_stride and y_stride floats apart, y may be x.
inline void rope_token(const RopeAngles& angles, const float* x, index_t x_stride, index_t heads, float* y,
                       index_t y_stride) {
  QAT_DISPATCH(kernels, rope_token(x, x_stride, heads, angles.half, angles.cosine, angles.sine, angles.direction,
                                   angles.interleaved, y, y_stride));
}

}  // namespace qat::inline v0::kernels
