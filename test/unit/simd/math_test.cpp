// simd/math.hpp: the elementary functions against libm in double, on every target.
#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "qat/simd/math.hpp"
#include "support/data.hpp"

namespace {
using qat::index_t;
// The functions of simd/ are for -inl files; this one applies them to arrays.
#define QAT_TARGET_INCLUDE "unit/simd/math_probe-inl.hpp"
#include "qat/simd/foreach_target-inl.hpp"

/// Representable numbers between two finite floats of the same sign, or across zero.
std::int64_t ulp_distance(float a, float b) {
  const auto order = [](float x) {
    const auto bits = std::bit_cast<std::int32_t>(x);
    return std::int64_t{bits < 0 ? std::int32_t{-2147483647 - 1} - bits : bits};
  };
  return std::llabs(order(a) - order(b));
}
}  // namespace

TEST_CASE("exp is within 1 ULP of the correctly rounded result over the floats, on every target") {
  const std::uint32_t step = qat::test::full_run() ? 1 : 509;  // all floats, or one of 509
  std::vector<float> x(1 << 16), y(1 << 16);
  for (const qat::Target target : qat::supported_targets()) {
    const qat::ScopedTarget forced(target);
    std::int64_t worst = 0;
    std::uint64_t bits = 0;
    while (bits <= 0xFFFFFFFFu) {
      std::size_t n = 0;
      for (; n < x.size() && bits <= 0xFFFFFFFFu; bits += step) {
        const float value = std::bit_cast<float>(static_cast<std::uint32_t>(bits));
        if (std::fabs(value) <= 110.0f) x[n++] = value;
      }
      QAT_DISPATCH(, apply_exp(x.data(), static_cast<index_t>(n), y.data()));
      for (std::size_t i = 0; i < n; ++i) {
        const float wanted = static_cast<float>(std::exp(static_cast<double>(x[i])));
        const std::int64_t distance = ulp_distance(y[i], wanted);
        worst = distance > worst ? distance : worst;
      }
    }
    CAPTURE(std::string(name(target)));
    CHECK(worst <= 1);
  }
}

TEST_CASE("exp and sigmoid at the ends: 0, 1, infinity and NaN") {
  const float inf = __builtin_inff();
  const float x[] = {-inf, -1000.0f, -0.0f, 0.0f, 88.7f, 89.0f, inf, __builtin_nanf("")};
  float y[8];
  for (const qat::Target target : qat::supported_targets()) {
    const qat::ScopedTarget forced(target);
    QAT_DISPATCH(, apply_exp(x, 8, y));
    CHECK(y[0] == 0.0f);
    CHECK(y[1] == 0.0f);
    CHECK(y[2] == 1.0f);
    CHECK(y[3] == 1.0f);
    CHECK(y[4] < inf);
    CHECK(y[5] == inf);
    CHECK(y[6] == inf);
    CHECK(y[7] != y[7]);
    QAT_DISPATCH(, apply_sigmoid(x, 8, y));
    CHECK(y[0] == 0.0f);
    CHECK(y[2] == 0.5f);
    CHECK(y[6] == 1.0f);
    CHECK(y[7] != y[7]);
  }
}

TEST_CASE("transpose_tile transposes") {
  for (const qat::Target target : qat::supported_targets()) {
    const qat::ScopedTarget forced(target);
    float tile[256];
    for (int i = 0; i < 256; ++i) tile[i] = static_cast<float>(i);
    const index_t lanes = QAT_DISPATCH(, transpose_in_place(tile));
    for (index_t i = 0; i < lanes; ++i)
      for (index_t j = 0; j < lanes; ++j) CHECK(tile[i * lanes + j] == static_cast<float>(j * lanes + i));
  }
}
