// Operators and functions of expressions do to each element what they say.
#include "qat/expr/operators.hpp"

#include <doctest/doctest.h>

#include <vector>

#include "qat/expr/assign.hpp"
#include "support/random_values.hpp"
#include "support/two_threads.hpp"

using qat::index_t;
using qat::test::random_tensor;
using qat::test::two_threads;

TEST_CASE("functions of expressions") {
  const auto a = random_tensor({50}, 9), b = random_tensor({50}, 10);
  qat::Tensor<float> y({50});
  const auto va = a.view<1>(), vb = b.view<1>();
  const auto check_each = [&](const auto& expression, auto scalar) {
    assign(two_threads(), y.view<1>(), expression);
    for (index_t i = 0; i < 50; ++i) REQUIRE(y[i] == scalar(a[i], b[i]));
  };
  check_each((qat::min)(va, vb), [](float p, float q) { return p < q ? p : q; });
  check_each((qat::max)(va, 0), [](float p, float) { return p > 0 ? p : 0; });
  check_each(abs(va), [](float p, float) { return p < 0 ? -p : p; });
  check_each(-va / vb, [](float p, float q) { return -p / q; });
  check_each(clamp(va, -1, 1.5), [](float p, float) { return p < -1 ? -1 : p > 1.5f ? 1.5f : p; });
  check_each(where(va < vb, va, 0.0f), [](float p, float q) { return p < q ? p : 0.0f; });
  check_each(where(va >= 1.0f, 1, where(va > 0.0f, va, vb)), [](float p, float q) {
    return p >= 1 ? 1 : p > 0 ? p : q;
  });
  check_each(where(va <= vb, 2.0f, vb), [](float p, float q) { return p <= q ? 2.0f : q; });
  check_each(qat::cast<float>(qat::cast<int>(va)),
             [](float p, float) { return static_cast<float>(static_cast<int>(p)); });
  check_each(transform(va, vb, [](float p, float q) { return p > 0 ? q : -q; }),
             [](float p, float q) { return p > 0 ? q : -q; });
  check_each(transform(va, [](float p) { return p + 1; }), [](float p, float) { return p + 1; });
  check_each(transform(va, vb, 2, [](float p, float q, float two) { return p == q ? two : q; }),
             [](float p, float q) { return p == q ? 2 : q; });
  check_each(qat::generate([](index_t i) { return static_cast<float>(i); }, 50) * 0.0f + va,
             [](float p, float) { return p; });
}

TEST_CASE("functions are found through nodes without using namespace, and nest") {
  const auto a = random_tensor({2, 3}, 1);
  qat::Tensor<float> y({2, 3});
  const auto v = a.view<2>();
  const auto product = v * 2.0f;  // an expression in a variable holds views, not temporaries
  const auto e = abs(product) + clamp(product, 0, 1) * where(product < 0, product, -product);
  assign(two_threads(), y.view<2>(), e);
  for (index_t i = 0; i < 6; ++i) {
    const float p = a[i] * 2.0f;
    const float factor = p < 0 ? p : -p, clamped = p < 0 ? 0.0f : p > 1 ? 1.0f : p;
    volatile float term = clamped * factor;
    CHECK(y[i] == (p < 0 ? -p : p) + term);
  }
}
