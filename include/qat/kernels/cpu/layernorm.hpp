// LayerNorm over rows, forward and backward, on raw pointers.
#pragma once

#include "qat/kernels/cpu/elementwise.hpp"
#include "qat/kernels/cpu/row_sums.hpp"

#define QAT_TARGET_INCLUDE "qat/kernels/cpu/layernorm-inl.hpp"
#include "qat/simd/foreach_target-inl.hpp"

namespace qat::inline v0::kernels {

/// y[r, c] = (x[r, c] - mean[r]) * inv_std[r] * weight[c] + bias[c],  inv_std[r] = 1 / sqrt(mean_c (x - mean)^2 + eps)
/// x, y (rows, cols), may be the same; mean, inv_std (rows) are what backward needs and may be null.
template <class Lazy = void>
void layernorm(const CpuBackend& backend, const float* x, const float* weight, const float* bias, float eps,
               index_t rows, index_t cols, float* y, float* mean, float* inv_std) {
  constexpr index_t kRows = 64;
  backend.parallel_for((rows + kRows - 1) / kRows, [&](index_t chunk) {
    const index_t begin = chunk * kRows, count = rows - begin < kRows ? rows - begin : kRows;
    QAT_DISPATCH(kernels, layernorm_rows(x + begin * cols, weight, bias, eps, count, cols, y + begin * cols,
                                         mean == nullptr ? nullptr : mean + begin,
                                         inv_std == nullptr ? nullptr : inv_std + begin));
  });
}
QAT_INSTANCE(void layernorm<void>(const CpuBackend&, const float*, const float*, const float*, float, index_t, index_t,
                                  float*, float*, float*));

/// With n = (x - mean) * inv_std and g = dy * weight:  dx = inv_std * (g - mean_c(g) - n * mean_c(g * n)),
/// dparameters = (sum_r dy * n, sum_r dy), the gradients of weight and bias behind each other (2 cols). dx and
/// dparameters may be null; each is added to what is there when its flag says so.
template <class Lazy = void>
void layernorm_backward(const CpuBackend& backend, const float* x, const float* weight, const float* mean,
                        const float* inv_std, const float* dy, index_t rows, index_t cols, float* dx,
                        bool accumulate_dx, float* dparameters, bool accumulate_dparameters) {
  const auto add_rows = [&](index_t begin, index_t count, float* sums) {
    QAT_DISPATCH(kernels,
                 layernorm_backward_rows(x + begin * cols, weight, mean + begin, inv_std + begin, dy + begin * cols,
                                         count, cols, dx == nullptr ? nullptr : dx + begin * cols, accumulate_dx, sums,
                                         sums == nullptr ? nullptr : sums + cols));
  };
  detail::sum_over_row_chunks(backend, rows, 2 * cols, dparameters, accumulate_dparameters, add_rows);
}
QAT_INSTANCE(void layernorm_backward<void>(const CpuBackend&, const float*, const float*, const float*, const float*,
                                           const float*, index_t, index_t, float*, bool, float*, bool));

}  // namespace qat::inline v0::kernels
