// RMSNorm over rows, forward and backward, on raw pointers.
#pragma once

#include "qat/kernels/cpu/row_sums.hpp"
#include "qat/simd/math.hpp"

#define QAT_TARGET_INCLUDE "qat/kernels/cpu/rmsnorm-inl.hpp"
#include "qat/simd/foreach_target-inl.hpp"

namespace qat::inline v0::kernels {

/// y[r, c] = x[r, c] * inv_rms[r] * weight[c],  inv_rms[r] = 1 / sqrt(mean_c x[r, c]^2 + eps)
/// x, y (rows, cols), may be the same; inv_rms (rows) is what backward needs and may be null.
template <class Lazy = void>
void rmsnorm(const CpuBackend& backend, const float* x, const float* weight, float eps, index_t rows, index_t cols,
             float* y, float* inv_rms) {
  constexpr index_t kRows = 64;
  backend.parallel_for((rows + kRows - 1) / kRows, [&](index_t chunk) {
    const index_t begin = chunk * kRows, count = rows - begin < kRows ? rows - begin : kRows;
    QAT_DISPATCH(kernels, rmsnorm_rows(x + begin * cols, weight, eps, count, cols, y + begin * cols,
                                       inv_rms == nullptr ? nullptr : inv_rms + begin));
  });
}
QAT_INSTANCE(void rmsnorm<void>(const CpuBackend&, const float*, const float*, float, index_t, index_t, float*,
                                float*));

/// With n = x * inv_rms and g = dy * weight:  dx = inv_rms * (g - n * mean_c(g * n)),  dweight = sum_r dy * n.
/// dx and dweight may be null; each is added to what is there when its flag says so. dweight is summed over chunks of
/// rows whose number depends on rows alone, in ascending order.
template <class Lazy = void>
void rmsnorm_backward(const CpuBackend& backend, const float* x, const float* weight, const float* inv_rms,
                      const float* dy, index_t rows, index_t cols, float* dx, bool accumulate_dx, float* dweight,
                      bool accumulate_dweight) {
  detail::sum_over_row_chunks(
      backend, rows, cols, dweight, accumulate_dweight, [&](index_t begin, index_t count, float* sums) {
        QAT_DISPATCH(kernels,
                     rmsnorm_backward_rows(x + begin * cols, weight, inv_rms + begin, dy + begin * cols, count, cols,
                                           dx == nullptr ? nullptr : dx + begin * cols, accumulate_dx, sums));
      });
}
QAT_INSTANCE(void rmsnorm_backward<void>(const CpuBackend&, const float*, const float*, const float*, const float*,
                                         index_t, index_t, float*, bool, float*, bool));

}  // namespace qat::inline v0::kernels
