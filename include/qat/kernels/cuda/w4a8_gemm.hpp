// Products with int4 weights and int8 activations on tensor cores: the bits of the processor's integer product.
#pragma once

#include "qat/kernels/cuda/prepack_int4.hpp"

namespace qat::inline v0::cuda {

/// Operands of w4a8_gemm. T (of y): float, bfloat16; S (of scales): float, bfloat16.
template <class T, class S>
struct W4A8Args {
  index_t tokens = 0;                             ///< M, rows of x and y
  Int4Tiles tiles;                                ///< weights: N = rows, K = columns
  const std::int8_t* x = nullptr;                 ///< codes (M, K)
  index_t x_stride = 0;                           ///< elements from row to row; 0: K
  const float* x_scales = nullptr;                ///< (M)
  const std::int32_t* x_zero_points = nullptr;    ///< (M), in [-128, 127]; null: 0
  TiledInt4<const std::uint8_t, const S> weight;  ///< as prepack_int4 made it
  const float* bias = nullptr;                    ///< (N); null: none
  T* y = nullptr;                                 ///< (M, N)
  index_t y_stride = 0;                           ///< elements from row to row; 0: N
};

/// Which kernel of the table in w4a8_gemm.cuh. 0: chosen from the shape. No choice changes a bit.
struct W4A8Config {
  int tile_tokens = 0;  ///< 8, 16, 64, 128
  int tile_rows = 0;    ///< 32, 64, 128
};

/// y[m, n] = (sum over groups g of scale[n, g] * P(m, n, g)) * x_scales[m] + bias[n] with P = sum over k of g of
/// (x[m, k] - x_zero_points[m]) * (u[n, k] - zero[n, g]): P is exact, the groups are added in ascending order with one
/// fused multiply-add each. These are the bits of kernels::reference::qgemm for the same codes, in every run and for
/// every kernel; a bfloat16 y is that rounded. So K is never split between blocks.
/// Groups: multiples of 32 columns, or one per row. Any M, N, K; x and y anywhere, but rows that start at multiples of
/// 16 bytes are faster.
/// @throws qat::Error naming what does not fit: extents, group size, alignment
template <class T, class S>
void w4a8_gemm(const CudaBackend&, const W4A8Args<T, S>&, const W4A8Config& = {});

}  // namespace qat::inline v0::cuda
