// Layer normalization of rows.
#pragma once

#include "qat/kernels/cpu/layernorm.hpp"
#include "qat/ops/grad_mode.hpp"
#include "qat/tensor/tensor.hpp"

namespace qat::inline v0::ops {

/// What layernorm_backward needs besides x and weight.
struct LayerNormSaved {
  Tensor<float> mean, inv_std;  // (N) each
};

/// y = (x - mean(x)) / sqrt(mean((x - mean(x))^2) + eps) * weight + bias
///
/// Shapes:   x, y (N, C), weight, bias (C)
/// Saved:    mean and inv_std, if saved is not null
/// Source:   Ba, Kiros and Hinton 2016
inline void layernorm(const CpuBackend& backend, View<const float, 2> x, View<const float, 1> weight,
                      View<const float, 1> bias, float eps, View<float, 2> y, LayerNormSaved* saved = nullptr) {
  const index_t rows = x.shape[0], cols = x.shape[1];
  detail::check_rows("layernorm", "x", x, rows, cols);
  detail::check_rows("layernorm", "y", y, rows, cols);
  detail::check_vector("layernorm", "weight", weight, cols);
  detail::check_vector("layernorm", "bias", bias, cols);
  if (saved != nullptr) {
    saved->mean = Tensor<float>::uninitialized({rows});
    saved->inv_std = Tensor<float>::uninitialized({rows});
  }
  kernels::layernorm(backend, x.data, weight.data, bias.data, eps, rows, cols, y.data,
                     saved == nullptr ? nullptr : saved->mean.data(),
                     saved == nullptr ? nullptr : saved->inv_std.data());
}

/// With n = (x - mean) * inv_std and g = dy * weight:  dx (+)= inv_std * (g - mean(g) - n * mean(g * n)),
/// dweight (+)= sum over rows of dy * n,  dbias (+)= sum over rows of dy
inline void layernorm_backward(const CpuBackend& backend, View<const float, 2> x, View<const float, 1> weight,
                               const LayerNormSaved& saved, View<const float, 2> dy, View<float, 2> dx,
                               GradMode dx_mode, View<float, 1> dweight, GradMode dweight_mode, View<float, 1> dbias,
                               GradMode dbias_mode) {
  const index_t rows = x.shape[0], cols = x.shape[1];
  detail::check_rows("layernorm_backward", "x", x, rows, cols);
  detail::check_rows("layernorm_backward", "dy", dy, rows, cols);
  detail::check_vector("layernorm_backward", "weight", weight, cols);
  QAT_CHECK(saved.mean.size() == rows && saved.inv_std.size() == rows, kShapeMismatch, "layernorm_backward: saved has ",
            saved.inv_std.size(), " rows, x has ", rows);
  if (dx_mode != GradMode::kSkip) detail::check_rows("layernorm_backward", "dx", dx, rows, cols);
  const bool any = dweight_mode != GradMode::kSkip || dbias_mode != GradMode::kSkip;
  Tensor<float> sums = any ? Tensor<float>::uninitialized({2, cols}) : Tensor<float>();
  kernels::layernorm_backward(backend, x.data, weight.data, saved.mean.data(), saved.inv_std.data(), dy.data, rows,
                              cols, dx_mode == GradMode::kSkip ? nullptr : dx.data, dx_mode == GradMode::kAccumulate,
                              any ? sums.data() : nullptr, false);
  const auto hand_over = [&](const char* name, const float* from, View<float, 1> to, GradMode mode) {
    if (mode == GradMode::kSkip) return;
    detail::check_vector("layernorm_backward", name, to, cols);
    for (index_t c = 0; c < cols; ++c) to[c] = mode == GradMode::kAccumulate ? to[c] + from[c] : from[c];
  };
  hand_over("dweight", sums.data(), dweight, dweight_mode);
  hand_over("dbias", sums.data() + (any ? cols : 0), dbias, dbias_mode);
}

}  // namespace qat::inline v0::ops
