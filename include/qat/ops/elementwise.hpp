// Sums, SiLU and SwiGLU of whole tensors, forward and backward.
#pragma once

#include "qat/kernels/cpu/elementwise.hpp"
#include "qat/ops/grad_mode.hpp"

namespace qat::inline v0::ops {

/// y = a + b; y may be either. The gradient of both is dy.
inline void add(const CpuBackend& backend, View<const float, 1> a, View<const float, 1> b, View<float, 1> y) {
  detail::check_vector("add", "a", a, y.shape[0]);
  detail::check_vector("add", "b", b, y.shape[0]);
  detail::check_vector("add", "y", y, y.shape[0]);
  kernels::add(backend, a.data, b.data, y.shape[0], y.data);
}

/// y = x * sigmoid(x); y may be x.
inline void silu(const CpuBackend& backend, View<const float, 1> x, View<float, 1> y) {
  detail::check_vector("silu", "x", x, y.shape[0]);
  detail::check_vector("silu", "y", y, y.shape[0]);
  kernels::silu(backend, x.data, x.shape[0], y.data);
}
/// dx (+)= dy * (s + x * s * (1 - s)), s = sigmoid(x)
inline void silu_backward(const CpuBackend& backend, View<const float, 1> x, View<const float, 1> dy, View<float, 1> dx,
                          GradMode mode) {
  if (mode == GradMode::kSkip) return;
  detail::check_vector("silu_backward", "x", x, dx.shape[0]);
  detail::check_vector("silu_backward", "dy", dy, dx.shape[0]);
  detail::check_vector("silu_backward", "dx", dx, dx.shape[0]);
  kernels::silu_backward(backend, x.data, dy.data, x.shape[0], dx.data, mode == GradMode::kAccumulate);
}

}  // namespace qat::inline v0::ops
