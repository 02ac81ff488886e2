// Tiles of bfloat16 in shared memory, and their products on tensor cores. Rows of a tile are turned (chunks of 16 bytes
// XOR the row's number), so that neither cp.async by rows, nor ldmatrix by rows or columns, nor storing accumulators
// has two lanes at different words of one bank.
#pragma once

#include "qat/kernels/cuda/context.hpp"
#include "qat/numeric/bfloat16.hpp"

namespace qat::inline v0::cuda {

/// Rows of kDim elements. A tile's address is a multiple of 256 bytes.
///
/// Lane addresses for ldmatrix are computed once per tile and moved by at(): 16 rows per row_block, 16 columns per k.
template <int kDim>
struct Bf16Tile {
  static_assert(kDim == 32 || kDim == 64 || kDim == 128);
  static constexpr unsigned kRowBytes = 2 * kDim, kChunks = kDim / 8;

  /// Byte of a chunk of 8 elements.
  QAT_HOST_DEVICE static constexpr unsigned offset(unsigned row, unsigned chunk) {
    const unsigned turn = kDim == 32 ? row >> 1 & 3u : row & 7u;
    return row * kRowBytes + (chunk ^ turn) * 16;
  }
  /// For 16 x 16 elements as operand A, or, transposed, as operand B whose k is the tile's row.
  QAT_HOST_DEVICE static constexpr unsigned lane_by_rows(unsigned tile, unsigned lane) {
    return tile + offset(lane & 15u, lane >> 4);
  }
  /// For 16 x 16 elements as two operands B, whose n is the tile's row.
  QAT_HOST_DEVICE static constexpr unsigned lane_by_columns(unsigned tile, unsigned lane) {
    return tile + offset((lane & 7u) + (lane >> 4) * 8, lane >> 3 & 1u);
  }
  QAT_HOST_DEVICE static constexpr unsigned at(unsigned lane_address, unsigned row_block, unsigned k) {
    // Rows are turned within 128 bytes: k = 0 .. 3 need an XOR, the rest is an immediate offset.
    return (lane_address ^ (k % 4 * 32)) + (k / 4 * 128 + row_block * (16 * kRowBytes));
  }
};

/// Starts the copy of kRows rows of head_dim elements (a multiple of 8), `stride` (at most 2^24) apart, to a tile.
/// Zeros from row valid_rows on and in the columns from head_dim on, which are not read.
template <int kDim, int kRows, int kThreads, class Context>
QAT_HOST_DEVICE void copy_rows_async(const Context& c, unsigned tile, const bfloat16* rows, index_t stride,
                                     int valid_rows, int head_dim) {
  using Tile = Bf16Tile<kDim>;
  constexpr int kStep = kThreads / static_cast<int>(Tile::kChunks), kCopies = kRows / kStep;
  static_assert(kStep % 8 == 0 && kRows % kStep == 0, "a thread's rows are turned alike");
  const unsigned row = c.thread() / Tile::kChunks, chunk = c.thread() % Tile::kChunks;
  const unsigned to = tile + Tile::offset(row, chunk);
  const bfloat16* from = rows + (static_cast<int>(row) * static_cast<int>(stride) + static_cast<int>(chunk) * 8);
  const int left = static_cast<int>(chunk * 8) < head_dim ? valid_rows - static_cast<int>(row) : 0;
  QAT_CUDA_UNROLL
  for (int i = 0; i < kCopies; ++i)
    c.cp_async16(to + static_cast<unsigned>(i * kStep) * Tile::kRowBytes, from + i * kStep * stride, i * kStep < left);
}

/// kTiles x 16 rows of a tile as operands A, from row_block on.
template <int kDim, int kTiles, class Context>
QAT_HOST_DEVICE void load_rows(const Context& c, std::uint32_t (&a)[kTiles][kDim / 16][4], unsigned lane_by_rows,
                               unsigned row_block) {
  QAT_CUDA_UNROLL
  for (unsigned t = 0; t < kTiles; ++t) {
    QAT_CUDA_UNROLL
    for (unsigned k = 0; k < kDim / 16; ++k) c.ldmatrix_x4(a[t][k], Bf16Tile<kDim>::at(lane_by_rows, row_block + t, k));
  }
}

/// d[t][2 n], d[t][2 n + 1] += a[t] times the two operands B of r.
template <int kTiles, int kN, class Context>
QAT_HOST_DEVICE void multiply_pair(const Context& c, float (&d)[kTiles][kN][4], const std::uint32_t (&a)[4],
                                   const std::uint32_t (&r)[4], unsigned t, unsigned n) {
  const std::uint32_t first[2] = {r[0], r[1]}, second[2] = {r[2], r[3]};
  c.mma_bf16(d[t][2 * n], a, first);
  c.mma_bf16(d[t][2 * n + 1], a, second);
}

/// d (16 kTiles, 8 kN) += a (16 kTiles, kDim) b^T, where b is the tile's rows from row_block on.
template <int kDim, int kTiles, int kN, class Context>
QAT_HOST_DEVICE void multiply_transposed(const Context& c, float (&d)[kTiles][kN][4],
                                         const std::uint32_t (&a)[kTiles][kDim / 16][4], unsigned lane_by_columns,
                                         unsigned row_block) {
  QAT_CUDA_UNROLL
  for (unsigned k = 0; k < kDim / 16; ++k) {
    QAT_CUDA_UNROLL
    for (unsigned n = 0; n < kN / 2; ++n) {
      std::uint32_t b[4];
      c.ldmatrix_x4(b, Bf16Tile<kDim>::at(lane_by_columns, row_block + n, k));
      QAT_CUDA_UNROLL
      for (unsigned t = 0; t < kTiles; ++t) multiply_pair(c, d, a[t][k], b, t, n);
    }
  }
}

/// d (16 kTiles, kDim) += a (16 kTiles, 16 kBlocks) b, where b is the tile's rows from row_block on.
template <int kDim, int kTiles, int kBlocks, class Context>
QAT_HOST_DEVICE void multiply(const Context& c, float (&d)[kTiles][kDim / 8][4],
                              const std::uint32_t (&a)[kTiles][kBlocks][4], unsigned lane_by_rows, unsigned row_block) {
  QAT_CUDA_UNROLL
  for (unsigned k = 0; k < kBlocks; ++k) {
    QAT_CUDA_UNROLL
    for (unsigned n = 0; n < kDim / 16; ++n) {
      std::uint32_t b[4];
      c.ldmatrix_x4_trans(b, Bf16Tile<kDim>::at(lane_by_rows, row_block + k, n));
      QAT_CUDA_UNROLL
      for (unsigned t = 0; t < kTiles; ++t) multiply_pair(c, d, a[t][k], b, t, n);
    }
  }
}

/// Accumulators (16 kTiles, 16 kBlocks) rounded to bfloat16, as operands A.
template <int kTiles, int kBlocks, class Context>
QAT_HOST_DEVICE void to_operand(const Context& c, std::uint32_t (&a)[kTiles][kBlocks][4],
                                const float (&d)[kTiles][2 * kBlocks][4]) {
  QAT_CUDA_UNROLL
  for (int t = 0; t < kTiles; ++t) {
    QAT_CUDA_UNROLL
    for (int k = 0; k < kBlocks; ++k) {
      QAT_CUDA_UNROLL
      for (int i = 0; i < 4; ++i) {
        const float(&pair)[4] = d[t][2 * k + i / 2];
        a[t][k][i] = c.bf16_pair(pair[i % 2 * 2], pair[i % 2 * 2 + 1]);
      }
    }
  }
}

/// Stores a warp's accumulators (16 kTiles, kDim), each row times its factor and rounded, to rows of global memory: by
/// way of 16 kTiles rows of shared memory at byte_offset, which the warp has for itself, so that stores have 16 bytes.
template <int kDim, int kTiles, class Context>
QAT_HOST_DEVICE void store_rows(const Context& c, std::size_t byte_offset, const float (&d)[kTiles][kDim / 8][4],
                                const float (&factor)[kTiles][2], bfloat16* rows, index_t stride, int valid_rows,
                                int head_dim) {
  using Tile = Bf16Tile<kDim>;
  const auto words = c.template shared<std::uint32_t>(byte_offset);
  const auto chunks = c.template shared<Bytes16>(byte_offset);
  const unsigned row = c.lane() / 4, column = c.lane() % 4;
  QAT_CUDA_UNROLL
  for (unsigned t = 0; t < kTiles; ++t) {
    QAT_CUDA_UNROLL
    for (unsigned n = 0; n < kDim / 8; ++n) {
      QAT_CUDA_UNROLL
      for (unsigned half = 0; half < 2; ++half)
        words.store(Tile::offset(t * 16 + half * 8 + row, n) / 4 + column,
                    c.bf16_pair(d[t][n][2 * half] * factor[t][half], d[t][n][2 * half + 1] * factor[t][half]));
    }
  }
  c.sync_warp();
  QAT_CUDA_UNROLL
  for (unsigned i = 0; i < kTiles * 16 * Tile::kChunks / 32; ++i) {
    const unsigned index = c.lane() + 32 * i, r = index / Tile::kChunks, chunk = index % Tile::kChunks;
    const Bytes16 elements = chunks.load(Tile::offset(r, chunk) / 16);
    if (static_cast<int>(r) < valid_rows && static_cast<int>(chunk * 8) < head_dim)
      c.store(reinterpret_cast<Bytes16*>(rows + r * stride + chunk * 8), elements);
  }
}

}  // namespace qat::inline v0::cuda
