// Activations of feed-forward blocks, plain and gated: SiLU, GELU, SwiGLU, GeGLU.
#pragma once

#include "qat/kernels/cpu/elementwise.hpp"
#include "qat/ops/grad_mode.hpp"

namespace qat::inline v0::ops {

/// y = activation(gate) * up, or activation(gate) where up is an empty view.   gate, up, y (N); y may be gate or up.
/// Source: Shazeer 2020, "GLU variants improve Transformer"
inline void activation(const CpuBackend& backend, Activation kind, View<const float, 1> gate, View<const float, 1> up,
                       View<float, 1> y) {
  detail::check_vector("activation", "gate", gate, y.shape[0]);
  if (up.data != nullptr) detail::check_vector("activation", "up", up, y.shape[0]);
  detail::check_vector("activation", "y", y, y.shape[0]);
  kernels::activation(backend, kind, gate.data, up.data, y.shape[0], y.data);
}

/// dup (+)= dy * activation(gate),  dgate (+)= dy * up * activation'(gate).
/// SiLU:      s + silu (1 - s) with s = sigmoid(gate)
/// GELU tanh: s + gelu (1 - s) u', s = sigmoid(u), u = 2 sqrt(2 / pi) (gate + 0.044715 gate^3)
/// Saved: gate and up. dgate and dup may be the storage of gate and up, which are then lost.
inline void activation_backward(const CpuBackend& backend, Activation kind, View<const float, 1> gate,
                                View<const float, 1> up, View<const float, 1> dy, View<float, 1> dgate,
                                GradMode dgate_mode, View<float, 1> dup, GradMode dup_mode) {
  const index_t n = dy.shape[0];
  detail::check_vector("activation_backward", "gate", gate, n);
  if (up.data != nullptr) detail::check_vector("activation_backward", "up", up, n);
  detail::check_vector("activation_backward", "dy", dy, n);
  if (dgate_mode != GradMode::kSkip) detail::check_vector("activation_backward", "dgate", dgate, n);
  if (dup_mode != GradMode::kSkip) detail::check_vector("activation_backward", "dup", dup, n);
  kernels::activation_backward(backend, kind, gate.data, up.data, dy.data, n,
                               dgate_mode == GradMode::kSkip ? nullptr : dgate.data,
                               dgate_mode == GradMode::kAccumulate, dup_mode == GradMode::kSkip ? nullptr : dup.data,
                               dup_mode == GradMode::kAccumulate);
}

/// y = silu(gate) * up,  silu(g) = g * sigmoid(g).
inline void swiglu(const CpuBackend& backend, View<const float, 1> gate, View<const float, 1> up, View<float, 1> y) {
  activation(backend, Activation::kSilu, gate, up, y);
}
inline void swiglu_backward(const CpuBackend& backend, View<const float, 1> gate, View<const float, 1> up,
                            View<const float, 1> dy, View<float, 1> dgate, GradMode dgate_mode, View<float, 1> dup,
                            GradMode dup_mode) {
  activation_backward(backend, Activation::kSilu, gate, up, dy, dgate, dgate_mode, dup, dup_mode);
}
/// y = x * sigmoid(x); y may be x.
inline void silu(const CpuBackend& backend, View<const float, 1> x, View<float, 1> y) {
  activation(backend, Activation::kSilu, x, {}, y);
}
inline void silu_backward(const CpuBackend& backend, View<const float, 1> x, View<const float, 1> dy, View<float, 1> dx,
                          GradMode mode) {
  activation_backward(backend, Activation::kSilu, x, {}, dy, dx, mode, {}, GradMode::kSkip);
}

}  // namespace qat::inline v0::ops
