// Softmax cross-entropy over rows of logits, on raw pointers.
#pragma once

#include <cmath>

#include "qat/backend/cpu.hpp"
#include "qat/simd/math.hpp"

#define QAT_TARGET_INCLUDE "qat/kernels/cpu/softmax_cross_entropy-inl.hpp"
#include "qat/simd/foreach_target-inl.hpp"

namespace qat::inline v0::kernels {

/// losses[r] = log sum_c exp(logits[r, c]) - logits[r, targets[r]], 0 where targets[r] is ignore_index.
/// dlogits[r, c] = factor * (softmax(logits[r])[c] - (c == targets[r])), 0 in ignored rows; may be null or logits
/// itself.
template <class Lazy = void>
void softmax_cross_entropy(const CpuBackend& backend, const float* logits, const std::int32_t* targets, index_t rows,
                           index_t cols, std::int32_t ignore_index, float factor, float* losses, float* dlogits) {
  constexpr index_t kRows = 16;
  backend.parallel_for((rows + kRows - 1) / kRows, [&](index_t chunk) {
    const index_t end = (chunk + 1) * kRows < rows ? (chunk + 1) * kRows : rows;
    for (index_t r = chunk * kRows; r < end; ++r) {
      const float* x = logits + r * cols;
      float* dx = dlogits == nullptr ? nullptr : dlogits + r * cols;
      if (targets[r] == ignore_index) {
        if (losses != nullptr) losses[r] = 0.0f;
        if (dx != nullptr)
          for (index_t c = 0; c < cols; ++c) dx[c] = 0.0f;
        continue;
      }
      const index_t target = targets[r];
      float largest = 0.0f, denominator = 0.0f;
      QAT_DISPATCH(kernels, softmax_statistics(x, cols, largest, denominator));
      // largest - x[target] is exact where it matters (close values); the logarithm is of a number in [1, cols].
      if (losses != nullptr)
        losses[r] = static_cast<float>(std::log(static_cast<double>(denominator)) +
                                       (static_cast<double>(largest) - static_cast<double>(x[target])));
      if (dx == nullptr) continue;
      QAT_DISPATCH(kernels, softmax_scaled(x, cols, largest, denominator, factor, dx));
      dx[target] -= factor;
    }
  });
}
QAT_INSTANCE(void softmax_cross_entropy<void>(const CpuBackend&, const float*, const std::int32_t*, index_t, index_t,
                                              std::int32_t, float, float*, float*));

}  // namespace qat::inline v0::kernels
