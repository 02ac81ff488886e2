// How the launchers of products with int4 weights check their arguments and cut up their work.
#pragma once

#include "qat/kernels/cuda/int4_tiles.cuh"

namespace qat::inline v0::cuda::detail {

inline constexpr std::size_t kSharedLimit = 227 * 1024;  ///< of a block, on H100 and later; 163 KB on A100

/// Args: W4A16Args or W4A8Args.
template <class Args>
void check_int4_product(const char* operation, const Args& a) {
  const Int4Tiles& t = a.tiles;
  check_tiles(operation, t, a.weight.codes, a.weight.scales, a.weight.zero_points);
  QAT_CHECK(a.tokens >= 0 && a.tokens <= (index_t{1} << 30), kInvalidArgument, operation, ": ", a.tokens,
            " tokens, accepted are 0 to 2^30");
  QAT_CHECK(t.group % 32 == 0 || t.group >= t.columns, kUnsupported, operation, ": groups of ", t.group,
            " columns, accepted are multiples of 32 and one group per row (", t.columns, ")");
  QAT_CHECK(a.x_stride == 0 || a.x_stride >= t.columns, kInvalidArgument, operation, ": x_stride is ", a.x_stride,
            ", must be 0 or at least K = ", t.columns);
  QAT_CHECK(a.y_stride == 0 || a.y_stride >= t.rows, kInvalidArgument, operation, ": y_stride is ", a.y_stride,
            ", must be 0 or at least N = ", t.rows);
}

template <class Args>
Int4Operands int4_operands(const Args& a) {
  const Int4Tiles& t = a.tiles;
  const index_t x_stride = a.x_stride != 0 ? a.x_stride : t.columns, y_stride = a.y_stride != 0 ? a.y_stride : t.rows;
  Int4Operands w{GroupOf(t)};
  w.x = a.x;
  w.x_stride = x_stride;
  w.x_aligned = is_aligned(a.x, 16) && x_stride * static_cast<index_t>(sizeof *a.x) % 16 == 0;
  w.codes = a.weight.codes;
  w.scales = reinterpret_cast<const std::uint8_t*>(a.weight.scales);
  w.scale_bytes = static_cast<int>(sizeof *a.weight.scales);
  w.zero_points = a.weight.zero_points;
  w.bias = a.bias;
  w.y = a.y;
  w.y_stride = y_stride;
  w.y_is_float = sizeof *a.y == 4;
  w.y_aligned = is_aligned(a.y, 16) && y_stride * static_cast<index_t>(sizeof *a.y) % 16 == 0;
  w.tokens = static_cast<int>(a.tokens);
  w.rows = static_cast<int>(t.rows);
  w.columns = static_cast<int>(t.columns);
  w.row_tiles = static_cast<int>(t.row_tiles());
  w.column_tiles = static_cast<int>(t.column_tiles());
  w.groups = static_cast<int>(t.groups());
  return w;
}

/// The launch of a pipelined kernel. wanted_blocks: 0: as many as run at once; kWholeTiles: one per tile of y, so that
/// no tile is split.
inline constexpr int kWholeTiles = -1;
template <class Shape, class Form>
struct Int4TilesLaunch {
  Int4TilesKernel<Shape, Form> kernel;
  unsigned tiles = 0, blocks = 0;
  std::size_t partial_bytes = 0;

  Int4TilesLaunch(const char* operation, const Int4Operands& w, int wanted_blocks, bool every_tile = false)
      : kernel{w, {}, 0, 0, every_tile, nullptr, nullptr} {
    const unsigned group = w.group.group, columns = Shape::kColumns;
    kernel.stage_groups = w.groups == 1 || group % columns == 0 ? 1u
                          : columns % group == 0                ? columns / group
                                                                : columns / group + 2;
    kernel.token_tiles = static_cast<unsigned>((w.tokens + Shape::kTileTokens - 1) / Shape::kTileTokens);
    const index_t row_blocks = (w.rows + Shape::kTileRows - 1) / Shape::kTileRows;
    const index_t slices = (w.columns + Shape::kColumns - 1) / Shape::kColumns,
                  units = row_blocks * kernel.token_tiles * slices;
    QAT_CHECK(units < (index_t{1} << 31), kUnsupported, operation, ": ", w.tokens, " x ", w.rows, " x ", w.columns,
              " is too large for one call; pass fewer tokens");
    QAT_CHECK(kernel.shared_bytes() <= kSharedLimit, kUnsupported, operation, ": groups of ", group, " need ",
              kernel.shared_bytes(), " bytes of shared memory, accepted are ", kSharedLimit);
    tiles = static_cast<unsigned>(row_blocks * kernel.token_tiles);
    const std::size_t fit = (kSharedLimit + 1024) / (kernel.shared_bytes() + 1024);  // 1 KB a block is the system's
    const index_t most = wanted_blocks == kWholeTiles                         ? index_t{tiles}
                         : wanted_blocks > 0                                  ? wanted_blocks
                         : fit >= static_cast<std::size_t>(Shape::kMinBlocks) ? resident_blocks(Shape::kMinBlocks)
                                                                              : resident_blocks(1);
    blocks = static_cast<unsigned>(most < units ? most : units);
    kernel.shares = {static_cast<unsigned>(slices), static_cast<unsigned>(units) / blocks,
                     static_cast<unsigned>(units) % blocks};
    const bool whole =
        static_cast<unsigned>(units) % blocks == 0 && kernel.shares.per_block % kernel.shares.slices == 0;
    partial_bytes = whole ? 0 : std::size_t{2} * blocks * kernel.tile_bytes();
  }
  bool is_split() const { return partial_bytes != 0; }
};

}  // namespace qat::inline v0::cuda::detail
