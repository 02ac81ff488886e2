// Matrix product in fp32: C[m,n] (+)= sum_k A(m,k) * B(n,k), for operands stored in any order or computed while packing.
#pragma once

#include "qat/backend/cpu.hpp"
#include "qat/base/config.hpp"

namespace qat::inline v0::kernels {

/// A strided matrix seen as rows x K: element (row, k) is data[row * row_stride + k * k_stride].
struct MatrixOperand {
  const float* data = nullptr;
  index_t row_stride = 0;
  index_t k_stride = 1;

  void load(index_t row, index_t k0, index_t count, float* out) const {
    for (index_t i = 0; i < count; ++i) out[i] = data[row * row_stride + (k0 + i) * k_stride];
  }
};

template <class OperandA, class OperandB>
void gemm(const CpuBackend& backend, index_t M, index_t N, index_t K, OperandA a, OperandB b, float* C, index_t ldc,
          bool accumulate = false, const float* bias = nullptr) {
  backend.parallel_for(M, [&](index_t m) {
    for (index_t n = 0; n < N; ++n) {
      float sum = 0;
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
  });
}

}  // namespace qat::inline v0::kernels
