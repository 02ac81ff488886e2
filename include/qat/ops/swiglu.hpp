// The gated activation of Llama's feed-forward block.
#pragma once

#include "qat/kernels/cpu/elementwise.hpp"
#include "qat/ops/grad_mode.hpp"

namespace qat::inline v0::ops {

/// y = silu(gate) * up,  silu(g) = g * sigmoid(g).   gate, up, y (N); y may be gate or up.
/// Source: Shazeer 2020, "GLU variants improve Transformer"
inline void swiglu(const CpuBackend& backend, View<const float, 1> gate, View<const float, 1> up, View<float, 1> y) {
  detail::check_vector("swiglu", "gate", gate, y.shape[0]);
  detail::check_vector("swiglu", "up", up, y.shape[0]);
  detail::check_vector("swiglu", "y", y, y.shape[0]);
  kernels::swiglu(backend, gate.data, up.data, y.shape[0], y.data);
}

/// dup (+)= dy * silu(gate),  dgate (+)= dy * up * (s + silu(gate) * (1 - s)),  s = sigmoid(gate).
/// Saved: gate and up. dgate and dup may be the storage of gate and up, which are then lost.
inline void swiglu_backward(const CpuBackend& backend, View<const float, 1> gate, View<const float, 1> up,
                            View<const float, 1> dy, View<float, 1> dgate, GradMode dgate_mode, View<float, 1> dup,
                            GradMode dup_mode) {
  const index_t n = dy.shape[0];
  detail::check_vector("swiglu_backward", "gate", gate, n);
  detail::check_vector("swiglu_backward", "up", up, n);
  detail::check_vector("swiglu_backward", "dy", dy, n);
  if (dgate_mode != GradMode::kSkip) detail::check_vector("swiglu_backward", "dgate", dgate, n);
  if (dup_mode != GradMode::kSkip) detail::check_vector("swiglu_backward", "dup", dup, n);
  kernels::swiglu_backward(backend, gate.data, up.data, dy.data, n,
                           dgate_mode == GradMode::kSkip ? nullptr : dgate.data, dgate_mode == GradMode::kAccumulate,
                           dup_mode == GradMode::kSkip ? nullptr : dup.data, dup_mode == GradMode::kAccumulate);
}

}  // namespace qat::inline v0::ops
