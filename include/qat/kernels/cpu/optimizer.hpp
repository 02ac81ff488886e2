// Updates of one parameter array by AdamW and SGD, and its moving average, on raw pointers.
#pragma once

#include "qat/kernels/adamw_factors.hpp"
#include "qat/kernels/cpu/elementwise.hpp"

#define QAT_TARGET_INCLUDE "qat/kernels/cpu/optimizer-inl.hpp"
#include "qat/simd/foreach_target-inl.hpp"

namespace qat::inline v0::kernels {

/// m += (g - m) * (1 - beta1);  v = v * beta2 + (1 - beta2) * g^2;
/// p = p * decay - step_size * m / (sqrt(v) / sqrt_correction + eps).        Source: torch.optim.AdamW, single tensor
inline void adamw(const CpuBackend& backend, float* p, const float* g, float* m, float* v, index_t n,
                  const AdamWFactors& factors) {
  detail::for_each_range(backend, n, [&](index_t i, index_t count) {
    QAT_DISPATCH(kernels, adamw_range(p + i, g + i, m + i, v + i, count, factors));
  });
}

/// g += weight_decay * p;  buffer = g at the first step, else momentum * buffer + (1 - dampening) * g;
/// p -= lr * (nesterov ? g + momentum * buffer : buffer).  buffer is null without momentum.   Source: torch.optim.SGD
inline void sgd(const CpuBackend& backend, float* p, const float* g, float* buffer, index_t n, float lr, float momentum,
                float one_minus_dampening, float weight_decay, bool nesterov, bool first_step) {
  detail::for_each_range(backend, n, [&](index_t i, index_t count) {
    QAT_DISPATCH(kernels, sgd_range(p + i, g + i, buffer == nullptr ? nullptr : buffer + i, count, lr, momentum,
                                    one_minus_dampening, weight_decay, nesterov, first_step));
  });
}

/// average += (x - average) * weight; x itself where weight is 1.
inline void update_average(const CpuBackend& backend, const float* x, float* average, index_t n, float weight) {
  detail::for_each_range(backend, n, [&](index_t i, index_t count) {
    QAT_DISPATCH(kernels, update_average_range(x + i, average + i, count, weight));
  });
}

}  // namespace qat::inline v0::kernels
