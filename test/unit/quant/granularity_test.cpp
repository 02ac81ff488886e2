// Granularity: every element lies in exactly one tile, ragged edges included.
#include "qat/quant/granularity.hpp"

#include <doctest/doctest.h>

#include <string_view>

using namespace qat;

namespace {
/// Tiles cover rows x columns, each element once.
void check_cover(const Granularity& g, index_t rows, index_t columns, index_t tiles) {
  CAPTURE(static_cast<int>(g.kind));
  CAPTURE(rows);
  CAPTURE(columns);
  const GroupLayout l = group_layout(g, rows, columns);
  CHECK(l.count() == tiles);
  CHECK((l.tile_row_count - 1) * l.tile_rows < rows);
  CHECK(l.tile_row_count * l.tile_rows >= rows);
  CHECK((l.tiles_per_row - 1) * l.tile_columns < columns);
  CHECK(l.tiles_per_row * l.tile_columns >= columns);
  const GroupLayout c = l.contiguous();
  if (l.has_contiguous_tiles()) CHECK(c.rows * c.columns == rows * columns);
}
}  // namespace

TEST_CASE("tiles of every granularity cover the tensor, the last may be smaller") {
  check_cover(PerTensor::granularity, 3, 7, 1);
  check_cover(PerAxis<0>::granularity, 3, 7, 3);
  check_cover(PerAxis<1>::granularity, 3, 7, 7);
  check_cover(PerToken::granularity, 3, 7, 3);
  check_cover(PerGroup<4>::granularity, 3, 8, 6);
  check_cover(PerGroup<4>::granularity, 3, 7, 6);
  check_cover(PerGroup<7>::granularity, 3, 7, 3);
  check_cover(PerBlock<2, 4>::granularity, 3, 9, 6);
}

TEST_CASE("which tiles are runs of memory") {
  CHECK(group_layout(PerTensor::granularity, 3, 7).has_contiguous_tiles());
  CHECK(group_layout(PerGroup<4>::granularity, 3, 7).has_contiguous_tiles());
  CHECK_FALSE(group_layout(PerAxis<1>::granularity, 3, 7).has_contiguous_tiles());
  CHECK_FALSE(group_layout(PerBlock<2, 4>::granularity, 4, 8).has_contiguous_tiles());
  const GroupLayout tensor = group_layout(PerTensor::granularity, 3, 7).contiguous();
  CHECK(tensor.tile_columns == 21);
  CHECK(tensor.count() == 1);
}

TEST_CASE("an empty tensor has no tiles; a group that does not fit is refused") {
  CHECK(group_layout(PerTensor::granularity, 0, 7).count() == 0);
  CHECK(group_layout(PerGroup<4>::granularity, 3, 0).count() == 0);
  Granularity g{GranularityKind::kPerGroup, 0, 0};
  CHECK_THROWS_AS(group_layout(g, 3, 7), Error);
  g.group_size = 8;
  CHECK_THROWS_AS(group_layout(g, 3, 7), Error);
  CHECK_THROWS_AS(group_layout(PerGroup<kDynamicGroupSize>::granularity, 3, 7), Error);
  g = {GranularityKind::kPerBlock, 0, 0, 0, 4};
  CHECK_THROWS_AS(group_layout(g, 3, 7), Error);
  try {
    group_layout({GranularityKind::kPerGroup, 0, 8}, 3, 7);
  } catch (const Error& error) {
    CHECK(std::string_view(error.what()) == "group_size is 8, accepted are 1 to the row length 7");
  }
}

TEST_CASE("layouts work at compile time") {
  constexpr GroupLayout l = group_layout(PerGroup<32>::granularity, 2, 80);
  static_assert(l.tiles_per_row == 3 && l.count() == 6);
  CHECK(l.tile_rows == 1);
}
