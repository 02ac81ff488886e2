// Floats in rows: pieces are whole rows in order, whatever the shape.
#include "qat/io/float_rows.hpp"

#include <doctest/doctest.h>

#include <vector>

using namespace qat;

TEST_CASE("pieces of rows make the tensor, for vectors, wide rows and more rows than a piece") {
  for (const Shape& shape : {Shape{5}, Shape{3, 4}, Shape{300, 1000}, Shape{3, 70000}}) {
    Tensor<float> values(shape);
    for (index_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
    const FloatRows rows = borrowed(values);
    CHECK(rows.rows() * rows.columns() == values.size());
    const Tensor<float> again = rows.tensor();
    CHECK(again.shape() == shape);
    CHECK(std::memcmp(again.data(), values.data(), static_cast<std::size_t>(values.size_bytes())) == 0);
    index_t seen = 0;
    bool same = true;
    rows.for_each([&](const float* piece, index_t n) {
      CHECK(n % rows.columns() == 0);
      for (index_t i = 0; i < n; ++i) same = same && piece[i] == values[seen + i];
      seen += n;
    });
    CHECK(same);
    CHECK(seen == values.size());
  }
  CHECK_FALSE(FloatRows{});
}

TEST_CASE("rows that keep their owner read from it after everybody else has let it go") {
  auto values = std::make_shared<Tensor<float>>(Shape{2, 2});
  values->fill(3.0f);
  const FloatRows rows = kept(borrowed(*values), values);
  values.reset();
  CHECK(rows.tensor()[3] == 3.0f);
}
