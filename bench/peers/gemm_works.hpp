// fp32 products: gemm() at the shapes of training.
#pragma once

#include <algorithm>
#include <cmath>
#include <memory>

#include "buffers.hpp"
#include "qat/kernels/cpu/gemm.hpp"
#include "qat/kernels/reference/gemm.hpp"

namespace qat::bench {

/// Rows of the output that a check computes with the slow reference: the first, the last, and one inside.
inline std::vector<index_t> checked_rows(index_t M) {
  std::vector<index_t> rows = {0, M / 2, M - 1};
  rows.erase(std::unique(rows.begin(), rows.end()), rows.end());
  return rows;
}

/// Empty if both hold the same n values (same bits, or within `tolerance` of the largest), else the first that differs.
inline std::string difference(const float* found, const float* expected, index_t n, float tolerance = 0.0f) {
  float largest = 0.0f;
  for (index_t i = 0; i < n; ++i) largest = std::max(largest, std::fabs(expected[i]));
  for (index_t i = 0; i < n; ++i) {
    const bool right = tolerance == 0.0f ? std::memcmp(found + i, expected + i, sizeof(float)) == 0
                                         : std::fabs(found[i] - expected[i]) <= tolerance * largest;
    if (!right)
      return "element " + std::to_string(i) + " is " + std::to_string(found[i]) + ", must be " +
             std::to_string(expected[i]);
  }
  return {};
}

/// form, m, n, k, threads, rotate (bytes of B).
inline Work gemm_work(const Request& request) {
  struct State : FloatProblem {
    CpuBackend backend;
    explicit State(const Request& r) : FloatProblem(r), backend(static_cast<int>(r.number("threads", 1))) {}
    kernels::MatrixOperand left() const {
      return a_transposed ? kernels::MatrixOperand{a.data(), 1, M} : kernels::MatrixOperand{a.data(), K, 1};
    }
    kernels::MatrixOperand right(long i) const {
      return b_transposed ? kernels::MatrixOperand{weight(i), K, 1} : kernels::MatrixOperand{weight(i), 1, N};
    }
  };
  auto s = std::make_shared<State>(request);
  Work work;
  work.ops = s->ops();
  work.bytes = 4.0 * static_cast<double>(s->N * s->K);
  work.call = [s](long i) { kernels::gemm(s->backend, s->M, s->N, s->K, s->left(), s->right(i), s->c.data(), s->N); };
  work.check = [s]() -> std::string {
    kernels::gemm(s->backend, s->M, s->N, s->K, s->left(), s->right(0), s->c.data(), s->N);
    AlignedBuffer<float> expected(s->N);
    const float tolerance = active_target() == Target::kBaseline ? 1e-5f : 0.0f;  // no fused multiply-add there
    for (const index_t row : checked_rows(s->M)) {
      const kernels::MatrixOperand all = s->left();
      const kernels::MatrixOperand one{all.data + row * all.row_stride, all.row_stride, all.k_stride};
      kernels::reference::gemm(1, s->N, s->K, one, s->right(0), expected.data(), s->N);
      const std::string wrong = difference(s->c.data() + row * s->N, expected.data(), s->N, tolerance);
      if (!wrong.empty()) return "row " + std::to_string(row) + ": " + wrong;
    }
    return {};
  };
  return work;
}

}  // namespace qat::bench
