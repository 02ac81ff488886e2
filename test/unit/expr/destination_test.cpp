// Destinations: packed codes are written completely and beside nothing else, by any number of threads.
#include "qat/expr/destination.hpp"

#include <doctest/doctest.h>

#include <vector>

#include "qat/backend/cpu.hpp"
#include "qat/base/random.hpp"
#include "qat/expr/assign.hpp"

using qat::index_t;

static_assert(qat::Destination<qat::expr::ViewDestination<float, 3>>);
static_assert(qat::Destination<qat::expr::PackedDestination<qat::UInt3, 2>>);

TEST_CASE("codes are assigned to packed views by any number of threads") {
  for (const index_t columns : {index_t{7}, index_t{64}, index_t{20001}}) {
    const index_t rows = 40;
    std::vector<std::uint8_t> bytes(static_cast<std::size_t>(qat::packed_bytes(rows * columns, 3)));
    const auto v = qat::packed_view<qat::Int3>(bytes.data(), rows, columns);
    const qat::CpuBackend backend(3);
    assign(backend, v,
           qat::generate([](index_t i, index_t j) { return qat::Int3(static_cast<int>(i * 5 + j)); }, rows, columns));
    for (index_t i = 0; i < rows; ++i)
      for (index_t j = 0; j < columns; ++j) REQUIRE(v(i, j) == qat::Int3(static_cast<int>(i * 5 + j)));
    const auto sub = v.slice(1, 1, columns - 1);
    assign(backend, sub, qat::generate([](index_t, index_t) { return qat::Int3(1); }, rows, columns - 1));
    CHECK(v(1, 0) == qat::Int3(5));
    CHECK(v(rows - 1, columns - 1) == qat::Int3(1));
  }
}

TEST_CASE("threads divide packed memory at whole bytes only") {
  std::uint8_t bytes[16] = {};
  const auto v = qat::packed_view<qat::Int3>(bytes, 4, 8);
  CHECK(qat::expr::destination(v).granule() == 8);
  CHECK(qat::expr::destination(v.slice(1, 1, 4)).granule() == qat::expr::kUnlimited);
  CHECK(qat::expr::destination(v.slice(0, 1, 2)).granule() == 8);
  CHECK(qat::expr::destination(v.row(0).slice(0, 1, 4)).granule() == qat::expr::kUnlimited);
}
