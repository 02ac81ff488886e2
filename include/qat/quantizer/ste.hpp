// Straight-through estimators as policies: which elements pass their gradient through the rounding.
#pragma once

#include "qat/quant/affine.hpp"

namespace qat::inline v0 {

/// The gradient of fake_quantize. Surrogate: round() has derivative 1, scale and zero point are constants, elements
/// outside the mask get 0. Source: Bengio et al. 2013 (straight-through); Jacob et al. 2018 (clipped); torchao's fake
/// quantizers.
template <SteMask Mask>
struct ClippedStraightThrough {
  static constexpr SteMask mask = Mask;
};

/// Clipped, codes qmin and qmax included: the published estimator, the default.
using STEBackward = ClippedStraightThrough<SteMask::kInclusive>;
/// Clipped, strictly inside: what torch.clamp's derivative gives since PyTorch 2.15; the extreme codes get no gradient.
using StrictSTEBackward = ClippedStraightThrough<SteMask::kStrict>;
/// Every element passes its gradient unchanged.
using PassThroughSTEBackward = ClippedStraightThrough<SteMask::kPassThrough>;

template <class T>
concept BackwardPolicy = requires {
  { T::mask } -> std::convertible_to<SteMask>;
};

}  // namespace qat::inline v0
