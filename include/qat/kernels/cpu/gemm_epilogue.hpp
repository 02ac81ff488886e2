// What matrix products do to their result: they compute it in blocks, and an epilogue takes each while it is in the
// cache.
#pragma once

#include <numeric>

#include "qat/backend/cpu.hpp"

namespace qat::inline v0::kernels {

/// What is done to each finished block of C while it is in the cache; run is null: nothing.
struct GemmEpilogue {
  void (*run)(const void* self, index_t row, index_t rows, index_t column, index_t columns) = nullptr;
  const void* self = nullptr;
  index_t granule = 1;  ///< blocks must begin at multiples of so many columns; run comes last where they do not
};

namespace detail {

/// C (rows, columns) in blocks of block_columns columns. Chunks of blocks depend on sizes alone.
struct GemmBlocks {
  index_t rows, columns;
  index_t row_blocks, column_blocks, block_columns;
  bool down_columns = false;  // which block follows: the one below, else the one beside
  index_t together = 1;       // blocks of a chunk

  index_t count() const { return row_blocks * column_blocks; }
  index_t row_block(index_t i) const { return down_columns ? i % row_blocks : i / column_blocks; }
  index_t column_block(index_t i) const { return down_columns ? i / row_blocks : i % column_blocks; }
};

/// Blocks of a chunk of about 2^19 multiply-adds.
inline index_t blocks_by_work(index_t work_of_one) { return 1 + (index_t{1} << 19) / work_of_one; }

/// block(row_block, column_block) for all blocks of C, then the epilogue: on what a chunk has of the same rows if its
/// columns may be cut there, else after all of them. Row block i begins at first_row(i).
template <class FirstRow, class Block>
void for_each_block(const CpuBackend& backend, const GemmBlocks& c, const FirstRow& first_row,
                    const GemmEpilogue& epilogue, const Block& block) {
  // A chunk takes so many blocks side by side that each run of them begins where the epilogue may.
  constexpr index_t kMostColumns = 256;
  const bool whole_rows = c.column_blocks == 1;
  index_t unit = 1;
  bool fused = epilogue.run != nullptr && (whole_rows || c.block_columns % epilogue.granule == 0);
  if (epilogue.run != nullptr && !fused && !c.down_columns && epilogue.granule <= kMostColumns) {
    const index_t columns = std::lcm(c.block_columns, epilogue.granule);
    fused = columns <= kMostColumns;
    if (fused) unit = columns / c.block_columns;
  }
  const auto finish = [&](index_t row, index_t end, index_t column, index_t width) {
    const index_t left = c.columns - column;
    epilogue.run(epilogue.self, row, end - row, column, left < width ? left : width);
  };
  // `unit` blocks side by side, or what is left of a row of blocks, count as one.
  GemmBlocks units = c;
  units.column_blocks = (c.column_blocks + unit - 1) / unit;
  units.together = (c.together + unit - 1) / unit;
  backend.parallel_for((units.count() + units.together - 1) / units.together, [&](index_t chunk) {
    const index_t begin = chunk * units.together, past = begin + units.together;
    const index_t end = past < units.count() ? past : units.count();
    for (index_t i = begin; i < end;) {
      const index_t row_block = units.row_block(i), first = units.column_block(i) * unit;
      index_t column = first;
      do {
        const index_t next = column + unit < c.column_blocks ? column + unit : c.column_blocks;
        for (; column < next; ++column) block(row_block, column);
        ++i;
      } while (!c.down_columns && i < end && units.row_block(i) == row_block);
      if (fused)
        finish(first_row(row_block), first_row(row_block + 1), first * c.block_columns,
               (column - first) * c.block_columns);
    }
  });
  if (epilogue.run == nullptr || fused) return;
  constexpr index_t kRows = 16;
  backend.parallel_for((c.rows + kRows - 1) / kRows, [&](index_t chunk) {
    const index_t row = chunk * kRows;
    finish(row, row + kRows < c.rows ? row + kRows : c.rows, 0, c.columns);
  });
}

}  // namespace detail
}  // namespace qat::inline v0::kernels
