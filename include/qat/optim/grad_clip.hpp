// Clipping of gradients by their global norm.
#pragma once

#include <cmath>

#include "qat/kernels/cpu/optimizer.hpp"
#include "qat/kernels/cpu/scale.hpp"
#include "qat/optim/parameter.hpp"

namespace qat::inline v0 {

/// sqrt(sum of squares of all gradients), in double; parameters without gradient count as zero. The order of the sum
/// depends on sizes alone.
inline double grad_norm(const CpuBackend& backend, const std::vector<Parameter*>& parameters) {
  volatile double norm = 0.0;  // volatile: so that no arithmetic leaves the scope of the mode
  const ScopedFloatMode mode;
  for (const Parameter* parameter : parameters)
    norm = norm + kernels::sum_of_squares(backend, parameter->grad.data(), parameter->grad.size());
  norm = std::sqrt(norm);
  return norm;
}

/// Scales all gradients by max_norm / (norm + 1e-6) if that is below 1; returns the norm before.
/// Source: torch.nn.utils.clip_grad_norm_. A norm that is not finite is returned and the gradients are left alone.
inline double clip_grad_norm(const CpuBackend& backend, const std::vector<Parameter*>& parameters, double max_norm) {
  QAT_CHECK(max_norm > 0, kInvalidArgument, "clip_grad_norm: max_norm is ", max_norm, ", must be positive");
  const double norm = grad_norm(backend, parameters);
  const ScopedFloatMode mode;
  const volatile double divisor = norm;
  const volatile float rounded = static_cast<float>(max_norm / (divisor + 1e-6));
  const float factor = rounded;
  if (!(factor < 1.0f) || !(std::isfinite)(norm)) return norm;
  for (Parameter* parameter : parameters)
    kernels::scale(backend, parameter->grad.data(), factor, parameter->grad.data(), parameter->grad.size());
  return norm;
}

}  // namespace qat::inline v0
