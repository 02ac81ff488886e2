// Matrix product in fp32, the slow and obvious form: what every fast one must equal.
#pragma once

#include "qat/base/config.hpp"

namespace qat::inline v0::kernels::reference {

QAT_EXACT_BEGIN

/// C[m,n] (+)= sum_k A(m,k) * B(n,k) + bias[n]: one chain of fused multiply-adds over ascending k from 0, then + C if
/// `accumulate`, then + bias if given. Operands have load(row, k0, count, out).
template <class OperandA, class OperandB>
void gemm(index_t M, index_t N, index_t K, const OperandA& a, const OperandB& b, float* C, index_t ldc,
          bool accumulate = false, const float* bias = nullptr) {
  for (index_t m = 0; m < M; ++m) {
    for (index_t n = 0; n < N; ++n) {
      float sum = 0.0f;
      for (index_t k = 0; k < K; ++k) {
        float x, y;
        a.load(m, k, 1, &x);
        b.load(n, k, 1, &y);
        sum = __builtin_fmaf(x, y, sum);
      }
      if (accumulate) sum += C[m * ldc + n];
      if (bias != nullptr) sum += bias[n];
      C[m * ldc + n] = sum;
    }
  }
}

QAT_EXACT_END

}  // namespace qat::inline v0::kernels::reference
