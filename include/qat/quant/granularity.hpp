// Granularity: which elements share one scale and zero point.
#pragma once

#include "qat/base/check.hpp"

namespace qat::inline v0 {

enum class GranularityKind : std::uint8_t { kPerTensor, kPerAxis, kPerToken, kPerGroup, kPerBlock };

/// Run-time form. Tensors are seen as (rows, columns), row-major, columns = the last dimension.
struct Granularity {
  GranularityKind kind = GranularityKind::kPerTensor;
  int axis = 0;            ///< kPerAxis: 0 = one scale a row (output channel), 1 = one scale a column
  index_t group_size = 0;  ///< kPerGroup: consecutive elements of a row; the last group of a row may be shorter
  index_t block_rows = 0;  ///< kPerBlock: tiles of block_rows x block_columns; edge tiles may be smaller
  index_t block_columns = 0;
  friend constexpr bool operator==(const Granularity&, const Granularity&) = default;
};

/// A group size known only at run time.
inline constexpr index_t kDynamicGroupSize = -1;

/// One scale for the whole tensor.
struct PerTensor {
  static constexpr Granularity granularity{GranularityKind::kPerTensor};
};
/// One scale per index of axis A: PerAxis<0> is one per output channel (row).
template <int A>
struct PerAxis {
  static_assert(A == 0 || A == 1, "PerAxis: axis must be 0 (rows) or 1 (columns)");
  static constexpr Granularity granularity{GranularityKind::kPerAxis, A};
};
/// One scale per token: every row over the last dimension, chosen anew in each forward.
struct PerToken {
  static constexpr Granularity granularity{GranularityKind::kPerToken};
};
/// One scale per G consecutive elements of a row; PerGroup<kDynamicGroupSize> takes the size from the run-time spec.
template <index_t G>
struct PerGroup {
  static_assert(G > 0 || G == kDynamicGroupSize, "PerGroup: group size must be positive, or kDynamicGroupSize");
  static constexpr Granularity granularity{GranularityKind::kPerGroup, 0, G};
};
/// One scale per tile of R x C.
template <index_t R, index_t C>
struct PerBlock {
  static_assert(R > 0 && C > 0, "PerBlock: both extents must be positive");
  static constexpr Granularity granularity{GranularityKind::kPerBlock, 0, 0, R, C};
};

/// How a (rows, columns) tensor falls into tiles that share a scale. Tile (i, j) covers rows [i*tile_rows, ...) and
/// columns [j*tile_columns, ...), cut at the edges; its scale is element i*tiles_per_row + j.
struct GroupLayout {
  index_t rows, columns;            ///< extents of the tensor
  index_t tile_rows, tile_columns;  ///< extents of a full tile
  index_t tile_row_count, tiles_per_row;
  QAT_HOST_DEVICE constexpr index_t count() const { return tile_row_count * tiles_per_row; }
  /// Every tile is a run of consecutive memory inside one row of `contiguous()`.
  constexpr bool has_contiguous_tiles() const {
    return tile_rows == 1 || (tile_columns == columns && tile_row_count == 1);
  }
  /// The same tiles as rows of runs: a per-tensor tile becomes one row of rows*columns elements.
  constexpr GroupLayout contiguous() const {
    if (tile_rows == 1) return *this;
    return {1, rows * columns, 1, rows * columns, 1, 1};
  }
};

/// Throws if the granularity does not fit: group size 0 or larger than columns.
constexpr GroupLayout group_layout(const Granularity& granularity, index_t rows, index_t columns) {
  index_t tile_rows = 1, tile_columns = columns;
  switch (granularity.kind) {
    case GranularityKind::kPerTensor:
      tile_rows = rows;
      break;
    case GranularityKind::kPerToken:
      break;
    case GranularityKind::kPerAxis:
      if (granularity.axis == 1) {
        tile_rows = rows;
        tile_columns = 1;
      }
      break;
    case GranularityKind::kPerGroup:
      tile_columns = granularity.group_size;
      QAT_CHECK(tile_columns > 0 && (tile_columns <= columns || columns == 0), kInvalidArgument, "group_size is ",
                tile_columns, ", accepted are 1 to the row length ", columns);
      break;
    case GranularityKind::kPerBlock:
      tile_rows = granularity.block_rows;
      tile_columns = granularity.block_columns;
      QAT_CHECK(tile_rows > 0 && tile_columns > 0, kInvalidArgument, "block is ", tile_rows, "x", tile_columns,
                ", both extents must be positive");
      break;
  }
  if (rows == 0 || columns == 0) return {rows, columns, 1, 1, 0, 0};
  return {rows,
          columns,
          tile_rows,
          tile_columns,
          (rows + tile_rows - 1) / tile_rows,
          (columns + tile_columns - 1) / tile_columns};
}

}  // namespace qat::inline v0
