// Products with int4 weights and bfloat16 activations on tensor cores: y = x wT + bias.
#pragma once

#include "qat/kernels/cuda/prepack_int4.hpp"

namespace qat::inline v0::cuda {

/// Operands of w4a16_gemm. T (of y): float, bfloat16; S (of scales): float, bfloat16.
template <class T, class S>
struct W4A16Args {
  index_t tokens = 0;                             ///< M, rows of x and y
  Int4Tiles tiles;                                ///< weights: N = rows, K = columns
  const bfloat16* x = nullptr;                    ///< (M, K)
  index_t x_stride = 0;                           ///< elements from row to row; 0: K
  TiledInt4<const std::uint8_t, const S> weight;  ///< as prepack_int4 made it
  const float* bias = nullptr;                    ///< (N); null: none
  T* y = nullptr;                                 ///< (M, N)
  index_t y_stride = 0;                           ///< elements from row to row; 0: N
  /// W4A16Plan::counters zeros, which every call leaves zero; calls that may run at once need their own. Null: the call
  /// clears some in the workspace, which costs another launch.
  unsigned* counters = nullptr;
};

/// How a product is cut up. 0 (kAuto): as the table in w4a16_gemm.cuh, which lists
/// the kernels, says for the shape. No choice moves the result
/// beyond the order in which fp32 sums are added; each gives the same bits in every run.
struct W4A16Config {
  enum class Form : std::uint8_t {
    kAuto,
    kStream,  ///< a block walks the whole K of 16, 32 or 64 rows of the weight, loads straight into registers: M <= 8
    kTiles,   ///< blocks walk an even share of all (tile, slice of K) through a pipeline in shared memory
  };
  Form form = Form::kAuto;
  int tile_tokens = 0;  ///< kTiles: 8, 16, 32, 64, 128. kStream: 16, with 32 rows; else 8 at most
  int tile_rows = 0;    ///< kTiles: 128, 256 (up to 32 tokens). kStream: 16, 32, 64
  int warps = 0;        ///< kTiles: 4, 8, 16
  int stages = 0;       ///< kTiles: of the pipeline
  int blocks = 0;       ///< kTiles: blocks of the launch; 0: as many as run at once
  int warp_tokens = 0;  ///< kTiles: tokens of a warp: 32 or 64 in tiles of 64 and 128 tokens x 128 rows
  bool every_tile =
      false;  ///< kTiles: look for a new scale every 64 columns, also where a slice of K has one: to compare
};

/// What a call will do and needs.
struct W4A16Plan {
  W4A16Config config;               ///< without zeros
  std::size_t workspace_bytes = 0;  ///< of CudaBackend; less than these is an error
  index_t counters = 0;             ///< of W4A16Args
};

/// More tokens than this are faster as dequantize_int4 and a bfloat16 product: on an H200 at 8192 x 8192, group 128,
/// 74 us against 87 us at 128 tokens, 149 against 98 at 256.
inline constexpr index_t kW4A16Crossover = 160;

/// @throws qat::Error (kUnsupported) if no kernel has the configuration; the message lists those there are
template <class T, class S>
W4A16Plan plan_w4a16_gemm(const W4A16Args<T, S>&, const W4A16Config& = {});

/// y[m, n] = sum over groups g of scale[n, g] * P(m, n, g), + bias[n], P = sum over k of g of x[m, k] * (u[n, k] -
/// zero[n, g]). The codes are exact in bfloat16 and scales multiply fp32 sums, so nothing is rounded but fp32 additions
/// and the result: the product of dequantized weights that are not rounded to bfloat16. Each P is the tensor core's sum
/// (fp32, its order and rounding are the hardware's); P are added with one fused multiply-add each, in ascending order,
/// by the block that walks them, and shares of different blocks in ascending order of k. So y has the same bits in
/// every run, and its error is at most about 2^-22 * K * sum |x * w|. Groups: multiples of 32 columns, or one per row.
/// Any M, N, K; x and y anywhere, but rows that start at multiples of 16 bytes are faster.
/// @throws qat::Error naming what does not fit: extents, group size, alignment, workspace
template <class T, class S>
void w4a16_gemm(const CudaBackend&, const W4A16Args<T, S>&, const W4A16Config& = {});

}  // namespace qat::inline v0::cuda
