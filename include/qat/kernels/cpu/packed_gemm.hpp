// Matrix products of fp32 activations with packed integer weights (W4A32).
#pragma once

#include "qat/kernels/cpu/packed_operand.hpp"
#include "qat/kernels/cpu/tuning.hpp"

namespace qat::inline v0::kernels {

struct PackedGemmCall {
  const PackedWeight* weight;
  float* c;
  index_t ldc;
  const float* bias;
  index_t prefetch_bytes;
};

inline constexpr index_t kPackedGemmColumns = 64;
struct PackedGemmKernels {
  index_t tile_rows = 0;  // 0: no form of its own
  void (*columns)(const PackedGemmCall&, const float* a, index_t row, index_t rows, index_t column) = nullptr;
};

}  // namespace qat::inline v0::kernels

#define QAT_TARGET_INCLUDE "qat/kernels/cpu/packed_gemm-inl.hpp"
#include "qat/simd/foreach_target-inl.hpp"

namespace qat::inline v0::kernels {

namespace detail {

template <class Lazy>
const PackedGemmKernels& packed_gemm_kernels() {
  return QAT_DISPATCH(kernels, kPackedGemmKernels<Lazy>);
}
QAT_INSTANCE(const PackedGemmKernels& packed_gemm_kernels<void>());

/// Rows beyond which weights dequantized to memory once for all of them are faster. Measured on a Zen 5.
inline constexpr index_t kPackedGemmRows = 28;

inline void packed_gemm(const CpuBackend& backend, index_t M, const MatrixOperand& x, const PackedGemmKernels& kernels,
                        const PackedGemmCall& call) {
  const index_t N = call.weight->rows(), K = call.weight->columns();
  const index_t tiles = (M + kernels.tile_rows - 1) / kernels.tile_rows;
  const auto first_row = [&](index_t tile) { return M * tile / tiles; };
  const auto packed_rows = [](index_t rows) { return rows == 1 ? 1 : (rows + 1) / 2 * 2; };
  float* packed = GemmWorkspace::of_this_thread().rows.reserve((M + tiles) * K);
  float* to = packed;
  for (index_t tile = 0; tile < tiles; ++tile) {
    const index_t rows = first_row(tile + 1) - first_row(tile), width = packed_rows(rows);
    for (index_t r = 0; r < width; ++r) {
      const float* from = x.data + (first_row(tile) + r) * x.row_stride;
      for (index_t k = 0; k < K; ++k) to[k * width + r] = r < rows ? from[k * x.k_stride] : 0.0f;
    }
    to += width * K;
  }
  backend.parallel_for((N + kPackedGemmColumns - 1) / kPackedGemmColumns, [&](index_t chunk) {
    const float* a = packed;
    for (index_t tile = 0; tile < tiles; ++tile) {
      const index_t row = first_row(tile), rows = first_row(tile + 1) - row;
      kernels.columns(call, a, row, rows, chunk * kPackedGemmColumns);
      a += packed_rows(rows) * K;
    }
  });
}

}  // namespace detail

/// C[m,n] = sum_k x[m,k] * w[n,k] (+ bias[n]): the bits of gemm() with PackedOperand(weight), faster with few rows.
///
/// @param x     (M, weight.columns())
/// @param bias  weight.rows() values added last, or null
/// @throws qat::Error (kShapeMismatch) if M is negative
template <class Lazy = void>
void packed_gemm(const CpuBackend& backend, index_t M, const MatrixOperand& x, const PackedWeight& weight, float* C,
                 index_t ldc, const float* bias = nullptr) {
  const index_t K = weight.columns();
  const int bits = weight.spec().bits;
  const PackedGemmKernels& kernels = detail::packed_gemm_kernels<Lazy>();
  const bool one_plane = (bits & (bits - 1)) == 0, whole_quads = K % 4 == 0 && weight.groups().tile_columns % 4 == 0;
  if (M < 1 || M > detail::kPackedGemmRows || kernels.tile_rows == 0 || !one_plane || !whole_quads ||
      weight.has_float_zero_point() || backend.matmul_precision() != MatmulPrecision::kFloat32) {
    gemm(backend, M, weight.rows(), K, x, PackedOperand(weight), C, ldc, false, bias);
    return;
  }
  detail::packed_gemm(backend, M, x, kernels, {&weight, C, ldc, bias, cpu_tuning().prefetch_bytes});
}

}  // namespace qat::inline v0::kernels
