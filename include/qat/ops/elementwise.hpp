// Sums and multiples of whole tensors.
#pragma once

#include "qat/kernels/cpu/elementwise.hpp"
#include "qat/kernels/cpu/scale.hpp"
#include "qat/ops/grad_mode.hpp"

namespace qat::inline v0::ops {

/// y = a + b; y may be either. The gradient of both is dy.
inline void add(const CpuBackend& backend, View<const float, 1> a, View<const float, 1> b, View<float, 1> y) {
  detail::check_vector("add", "a", a, y.shape[0]);
  detail::check_vector("add", "b", b, y.shape[0]);
  detail::check_vector("add", "y", y, y.shape[0]);
  kernels::add(backend, a.data, b.data, y.shape[0], y.data);
}

/// y = x * factor; y may be x. The gradient is dy * factor.
inline void scale(const CpuBackend& backend, View<const float, 1> x, float factor, View<float, 1> y) {
  detail::check_vector("scale", "x", x, y.shape[0]);
  detail::check_vector("scale", "y", y, y.shape[0]);
  kernels::scale(backend, x.data, factor, y.data, y.shape[0]);
}

}  // namespace qat::inline v0::ops
