// Nodes are trivially copyable, know their extents, and gather what is not contiguous.
#include "qat/expr/nodes.hpp"

#include <doctest/doctest.h>

#include <numeric>
#include <vector>

#include "qat/expr/operators.hpp"

using qat::index_t;

TEST_CASE("a node is as trivially copyable as the views it holds") {
  float data[6] = {};
  const auto v = qat::view(data, 2, 3);
  const auto e = where(v < 1.0f, abs(v) + 2.0f, v * v);
  static_assert(std::is_trivially_copyable_v<decltype(e)>);
  static_assert(qat::Expression<std::remove_const_t<decltype(e)>>);
  CHECK(e.dim(0) == 2);
  CHECK(e.dim(1) == 3);
}

TEST_CASE("a strided, reversed or repeated operand is gathered; a contiguous one is read in place") {
  std::vector<float> data(40);
  std::iota(data.begin(), data.end(), 0.0f);
  const auto v = qat::view(std::as_const(data).data(), 4, 10);
  qat::expr::Position at;
  at.row[0] = 2;
  at.column = 1;
  const qat::expr::ViewNode<float, 2> plain(v), transposed(v.transpose()), column(v.slice(1, 3, 1));
  {
    qat::expr::ViewNode<float, 2>::Scratch<false> scratch;
    CHECK(plain.bind<false>(at, 5, scratch).data == v.data + 21);
    const auto cursor = transposed.bind<false>(at, 3, scratch);
    for (index_t j = 0; j < 3; ++j) CHECK(cursor.load(j) == v(1 + j, 2));
  }
  qat::expr::ViewNode<float, 2>::Scratch<false> scratch;
  const auto cursor = column.bind<false>(at, 7, scratch);
  for (index_t j = 0; j < 7; ++j) CHECK(cursor.load(j) == v(2, 3));
  CHECK(plain.unit());
  CHECK(!transposed.unit());
  CHECK(!column.unit());
}
