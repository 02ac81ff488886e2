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

inline void packed_gemm(const CpuBackend& backend, index_t M, const GemmOperand& x, const PackedGemmKernels& kernels,
                        const PackedGemmCall& call, const GemmEpilogue& epilogue) {
  const index_t N = call.weight->rows(), K = call.weight->columns();
  const index_t tiles = (M + kernels.tile_rows - 1) / kernels.tile_rows;
  const auto first_row = [&](index_t tile) { return M * tile / tiles; };
  const auto packed_rows = [](index_t rows) { return rows == 1 ? 1 : (rows + 1) / 2 * 2; };
  GemmWorkspace& space = GemmWorkspace::of_this_thread();
  float* packed = space.rows.reserve((M + tiles) * K);
  float* to = packed;
  for (index_t tile = 0; tile < tiles; ++tile) {
    const index_t rows = first_row(tile + 1) - first_row(tile), width = packed_rows(rows);
    for (index_t r = 0; r < width; ++r) {
      const index_t row = first_row(tile) + r, k_stride = x.load == nullptr ? x.matrix.k_stride : 1;
      const float* from = x.matrix.data + row * x.matrix.row_stride;
      if (x.load != nullptr && r < rows) {
        float* loaded = space.a.reserve(K);
        x.load(x.self, row, 0, K, loaded);
        from = loaded;
      }
      for (index_t k = 0; k < K; ++k) to[k * width + r] = r < rows ? from[k * k_stride] : 0.0f;
    }
    to += width * K;
  }
  for_each_block(
      backend, {M, N, 1, (N + kPackedGemmColumns - 1) / kPackedGemmColumns, kPackedGemmColumns},
      [&](index_t block) { return block * M; }, epilogue,
      [&](index_t, index_t chunk) {
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
/// @param x     (M, weight.columns()): MatrixOperand, or what gemm() takes
/// @param bias  weight.rows() values added last, or null
/// @param epilogue  done last, to each block of C
/// @throws qat::Error (kShapeMismatch) if M is negative
template <class Operand = MatrixOperand, class Lazy = void>
void packed_gemm(const CpuBackend& backend, index_t M, const Operand& x, const PackedWeight& weight, float* C,
                 index_t ldc, const float* bias = nullptr, const GemmEpilogue& epilogue = {}) {
  const index_t K = weight.columns();
  const int bits = weight.spec().bits;
  const PackedGemmKernels& kernels = detail::packed_gemm_kernels<Lazy>();
  const bool one_plane = (bits & (bits - 1)) == 0, whole_quads = K % 4 == 0 && weight.groups().tile_columns % 4 == 0;
  if (M < 1 || M > detail::kPackedGemmRows || kernels.tile_rows == 0 || !one_plane || !whole_quads ||
      weight.has_float_zero_point() || backend.matmul_precision() != MatmulPrecision::kFloat32) {
    gemm(backend, M, weight.rows(), K, x, PackedOperand(weight), C, ldc, false, bias, epilogue);
    return;
  }
  detail::packed_gemm(backend, M, detail::erase(x), kernels, {&weight, C, ldc, bias, cpu_tuning().prefetch_bytes},
                      epilogue);
}

}  // namespace qat::inline v0::kernels
