// Root-mean-square normalization of rows.
#pragma once

#include "qat/kernels/cpu/rmsnorm.hpp"
#include "qat/ops/grad_mode.hpp"
#include "qat/tensor/tensor.hpp"

namespace qat::inline v0::ops {

/// What rmsnorm_backward needs besides x and weight.
struct RmsNormSaved {
  Tensor<float> inv_rms;  // (N)
};

/// y = x / sqrt(mean(x^2) + eps) * weight
///
/// Shapes:   x, y (N, C), weight (C)
/// Saved:    inv_rms, if saved is not null
/// Source:   Zhang and Sennrich 2019; x * rsqrt(...) first, then weight, as Hugging Face's LlamaRMSNorm
inline void rmsnorm(const CpuBackend& backend, View<const float, 2> x, View<const float, 1> weight, float eps,
                    View<float, 2> y, RmsNormSaved* saved = nullptr) {
  const index_t rows = x.shape[0], cols = x.shape[1];
  detail::check_rows("rmsnorm", "x", x, rows, cols);
  detail::check_rows("rmsnorm", "y", y, rows, cols);
  detail::check_vector("rmsnorm", "weight", weight, cols);
  if (saved != nullptr) saved->inv_rms = Tensor<float>::uninitialized({rows});
  kernels::rmsnorm(backend, x.data, weight.data, eps, rows, cols, y.data,
                   saved == nullptr ? nullptr : saved->inv_rms.data());
}

/// dx (+)= inv_rms * (dy * weight - n * mean(dy * weight * n)),  dweight (+)= sum over rows of dy * n,  n = x * inv_rms
inline void rmsnorm_backward(const CpuBackend& backend, View<const float, 2> x, View<const float, 1> weight,
                             const RmsNormSaved& saved, View<const float, 2> dy, View<float, 2> dx, GradMode dx_mode,
                             View<float, 1> dweight, GradMode dweight_mode) {
  const index_t rows = x.shape[0], cols = x.shape[1];
  detail::check_rows("rmsnorm_backward", "x", x, rows, cols);
  detail::check_rows("rmsnorm_backward", "dy", dy, rows, cols);
  detail::check_vector("rmsnorm_backward", "weight", weight, cols);
  QAT_CHECK(saved.inv_rms.size() == rows, kShapeMismatch, "rmsnorm_backward: saved.inv_rms has ", saved.inv_rms.size(),
            " rows, x has ", rows);
  if (dx_mode != GradMode::kSkip) detail::check_rows("rmsnorm_backward", "dx", dx, rows, cols);
  if (dweight_mode != GradMode::kSkip) detail::check_vector("rmsnorm_backward", "dweight", dweight, cols);
  kernels::rmsnorm_backward(backend, x.data, weight.data, saved.inv_rms.data(), dy.data, rows, cols,
                            dx_mode == GradMode::kSkip ? nullptr : dx.data, dx_mode == GradMode::kAccumulate,
                            dweight_mode == GradMode::kSkip ? nullptr : dweight.data,
                            dweight_mode == GradMode::kAccumulate);
}

}  // namespace qat::inline v0::ops
