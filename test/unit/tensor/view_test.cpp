// Views address the elements their shape and strides say, for every rank.
#include "qat/tensor/view.hpp"

#include <doctest/doctest.h>

#include <numeric>
#include <type_traits>
#include <vector>

static_assert(std::is_trivially_copyable_v<qat::View<float, 4>>);
static_assert(std::is_convertible_v<qat::View<float, 2>, qat::View<const float, 2>>);
static_assert(!std::is_convertible_v<qat::View<const float, 2>, qat::View<float, 2>>);

TEST_CASE("a row-major view enumerates memory in order, ranks 1 to 4") {
  std::vector<int> data(2 * 3 * 4 * 5);
  std::iota(data.begin(), data.end(), 0);
  const auto v4 = qat::view(data.data(), 2, 3, 4, 5);
  const auto v3 = qat::view(data.data(), 6, 4, 5);
  const auto v2 = qat::view(data.data(), 24, 5);
  const auto v1 = qat::view(data.data(), 120);
  int expected = 0;
  for (int i = 0; i < 2; ++i)
    for (int j = 0; j < 3; ++j)
      for (int k = 0; k < 4; ++k)
        for (int l = 0; l < 5; ++l, ++expected) {
          REQUIRE(v4(i, j, k, l) == expected);
          REQUIRE(v3(i * 3 + j, k, l) == expected);
          REQUIRE(v2((i * 3 + j) * 4 + k, l) == expected);
          REQUIRE(v1(expected) == expected);
          REQUIRE(v1[expected] == expected);
        }
  CHECK(v4.size() == 120);
  CHECK((v4.is_contiguous() && v3.is_contiguous() && v2.is_contiguous() && v1.is_contiguous()));
}

TEST_CASE("sub-views name the same elements") {
  std::vector<int> data(24);
  std::iota(data.begin(), data.end(), 0);
  const auto v = qat::view(data.data(), 4, 6);
  CHECK(v.row(2)[3] == v(2, 3));
  CHECK(v.transpose()(3, 2) == v(2, 3));
  CHECK(v.slice(0, 1, 2)(1, 4) == v(2, 4));
  CHECK(v.slice(1, 2, 3)(3, 2) == v(3, 4));
  CHECK(!v.slice(1, 2, 3).is_contiguous());
  CHECK(v.slice(0, 1, 2).is_contiguous());
  CHECK(!v.transpose().is_contiguous());
  CHECK(v.slice(0, 4, 0).empty());
  v.row(1)[0] = 99;
  CHECK(data[6] == 99);
  CHECK(qat::strided_view(data.data(), 2, 3, 10)(1, 2) == data[12]);
}

TEST_CASE("sub-views outside the view are refused") {
  float data[6] = {};
  const auto v = qat::view(data, 2, 3);
  CHECK_THROWS_AS(v.slice(0, 1, 2), qat::Error);
  CHECK_THROWS_AS(v.slice(2, 0, 1), qat::Error);
  CHECK_THROWS_AS(v.slice(1, -1, 1), qat::Error);
  CHECK_THROWS_AS(v.row(2), qat::Error);
  CHECK_THROWS_AS(v.transpose(0, 2), qat::Error);
}
