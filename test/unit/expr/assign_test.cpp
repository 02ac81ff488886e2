// assign(): every rank, stride and broadcast against loops written out, one pass, no allocation, same bits everywhere.
#include "qat/expr/assign.hpp"

#include <doctest/doctest.h>

#include <cstdlib>
#include <new>
#include <string>

#include "counting.hpp"
#include "support/compare.hpp"
#include "support/random_values.hpp"
#include "support/two_threads.hpp"

namespace {

using qat::index_t;
using qat::test::random_tensor;
using qat::test::two_threads;

/// a + b * c, a rounded before and the sum after the product: whatever the compiler may contract or reorder.
float multiply_add(float a, float b, float c) {
  volatile float left = a, product = b * c;
  return left + product;
}

}  // namespace

TEST_CASE("ranks 1 to 4, contiguous and transposed, equal the loop") {
  const auto a = random_tensor({3, 4, 5, 6}, 1), b = random_tensor({3, 4, 5, 6}, 2), c = random_tensor({3, 4, 5, 6}, 3);
  std::vector<float> expected;
  for (index_t i = 0; i < a.size(); ++i) expected.push_back(multiply_add(a[i], b[i], c[i]));
  qat::Tensor<float> y({3, 4, 5, 6});
  assign(two_threads(), y.view<4>(), a.view<4>() + b.view<4>() * c.view<4>());
  CHECK(qat::test::compare_bits(expected, y));
  y.fill(0);
  assign(two_threads(), y.flat(), a.flat() + b.flat() * c.flat());
  CHECK(qat::test::compare_bits(expected, y));
  y.fill(0);
  assign(two_threads(), y.matrix(), a.matrix() + b.matrix() * c.matrix());
  CHECK(qat::test::compare_bits(expected, y));
  for (int d0 = 0; d0 < 4; ++d0) {
    for (int d1 = 0; d1 < d0; ++d1) {
      y.fill(0);
      const auto t = [&](const auto& v) { return v.transpose(d0, d1); };
      assign(two_threads(), t(y.view<4>()), t(a.view<4>()) + t(b.view<4>()) * t(c.view<4>()));
      REQUIRE(qat::test::compare_bits(expected, y));
    }
  }
}

TEST_CASE("rows, columns and numbers are repeated, in every position") {
  constexpr index_t R = 7, C = 301;  // longer than one gather
  const auto a = random_tensor({R, C}, 4), row = random_tensor({C}, 5), column = random_tensor({R}, 6);
  qat::Tensor<float> y({R, C}), z({R, C});
  std::vector<float> expected;
  for (index_t i = 0; i < R; ++i)
    for (index_t j = 0; j < C; ++j) expected.push_back(multiply_add(row[j] - 2.0f, a[i * C + j], column[i]));
  assign(two_threads(), y.view<2>(), (as_row(row.view<1>()) - 2) + a.view<2>() * as_column(column.view<1>()));
  CHECK(qat::test::compare_bits(expected, y));
  // A strided destination inside a larger one; its surroundings stay.
  qat::Tensor<float> frame({R, C + 3});
  frame.fill(-1.0f);
  assign(two_threads(), frame.view<2>().slice(1, 2, C),
         (as_row(row.view<1>()) - 2) + a.view<2>() * as_column(column.view<1>()));
  assign(two_threads(), z.view<2>(), frame.view<2>().slice(1, 2, C));
  CHECK(qat::test::compare_bits(expected, z));
  for (index_t i = 0; i < R; ++i)
    for (const index_t j : {index_t{0}, index_t{1}, C + 2}) REQUIRE(frame.view<2>()(i, j) == -1.0f);
  assign(two_threads(), y.view<2>(), 3.5f);
  CHECK(y[R * C - 1] == 3.5f);
  assign(two_threads(), y.view<2>(), as_column(column.view<1>()) * 1.0f);
  CHECK(y[5 * C + 300] == column[5]);
}

TEST_CASE("extents of 1 with any stride, and empty destinations") {
  qat::Tensor<float> y({4, 1, 3, 1}), a = random_tensor({4, 1, 3, 1}, 7);
  auto odd = a.view<4>();
  odd.stride[1] = 12345;
  odd.stride[3] = -77;
  assign(two_threads(), y.view<4>(), odd * 2.0f);
  for (index_t i = 0; i < 12; ++i) CHECK(y[i] == a[i] * 2.0f);
  qat::Tensor<float> none({0, 5}), nothing({5, 0});
  assign(two_threads(), none.view<2>(), none.view<2>() + 1.0f);
  assign(two_threads(), nothing.view<2>(), nothing.view<2>() + 1.0f);
  qat::Tensor<float> reversed = random_tensor({9}, 8);
  const qat::Tensor<float> before = reversed.clone();
  qat::View<const float, 1> backwards = before.view<1>();
  backwards.data += 8;
  backwards.stride[0] = -1;
  assign(two_threads(), reversed.view<1>(), backwards + 0.0f);
  for (index_t i = 0; i < 9; ++i) CHECK(reversed[i] == before[8 - i]);
}

TEST_CASE("an operand may be the destination itself") {
  auto y = random_tensor({40, 33}, 11);
  const auto before = y.clone();
  assign(two_threads(), y.view<2>(), y.view<2>() * y.view<2>() - y.view<2>());
  for (index_t i = 0; i < y.size(); ++i) REQUIRE(y[i] == multiply_add(-before[i], before[i], before[i]));
}

TEST_CASE("extents that do not fit are refused before anything is written") {
  auto y = random_tensor({4, 5}, 12);
  const auto before = y.clone();
  const auto wrong = random_tensor({4, 6}, 13);
  try {
    assign(two_threads(), y.view<2>(), y.view<2>() + wrong.view<2>());
    FAIL("expected an error");
  } catch (const qat::Error& error) {
    CHECK(error.code() == qat::ErrorCode::kShapeMismatch);
    CHECK(std::string(error.what()).find("dimension 1 of an operand has 6 elements, the destination has 5") !=
          std::string::npos);
  }
  CHECK(qat::test::compare_bits(before, y));
}

TEST_CASE("each operand element is loaded once and each destination element is stored once") {
  for (const index_t columns : {index_t{5}, index_t{333}, index_t{40000}}) {
    const index_t rows = 9;
    qat::test::CountedMatrix a(rows, columns), b(rows, columns);
    std::vector<float> out(static_cast<std::size_t>(rows * columns));
    std::vector<std::atomic<int>> stores(out.size());
    const qat::test::CountedDestination y{out.data(), stores.data(), {rows, columns}};
    assign(two_threads(), y, a.counted() * 2.0f + b.counted());
    CHECK(a.each_loaded(1));
    CHECK(b.each_loaded(1));
    for (const auto& count : stores) REQUIRE(count.load() == 1);
  }
}

TEST_CASE("every target and any number of threads give the same bits") {
  const auto a = random_tensor({67, 1031}, 14), b = random_tensor({67, 1031}, 15), row = random_tensor({1031}, 16);
  qat::Tensor<float> first;
  for (const qat::Target target : qat::supported_targets()) {
    for (const int threads : {1, 2, 3}) {
      const qat::ScopedTarget forced(target);
      const qat::CpuBackend backend(threads);
      qat::Tensor<float> y({67, 1031});
      assign(backend, y.view<2>(),
             clamp(a.view<2>() * b.view<2>() + as_row(row.view<1>()), -9, 9) / (abs(b.view<2>()) + 0.1f));
      if (first.empty()) first = y.clone();
      REQUIRE(qat::test::compare_bits(first, y));
    }
  }
}
