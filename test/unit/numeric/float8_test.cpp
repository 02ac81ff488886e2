// e4m3, e5m2 and e8m0 against nearest-value search: which saturate, which overflow, what is NaN.
#include "qat/numeric/float8.hpp"

#include "unit/numeric/minifloat_oracle.hpp"

using qat::float8_e4m3;
using qat::float8_e5m2;
using qat::float8_e8m0;

TEST_CASE("e4m3 rounds to nearest even and saturates at 448, infinity included") {
  qat::test::check_small_float<float8_e4m3>({4, 3, qat::test::OverflowRule::kSaturate});
  static_assert(static_cast<float>(float8_e4m3(1e30f)) == 448.0f && float8_e4m3(449.0f).bits == 0x7E);
  static_assert(static_cast<float>(float8_e4m3(-std::bit_cast<float>(0x7F800000u))) == -448.0f);
}

TEST_CASE("e5m2 rounds to nearest even and overflows to infinity from 61440 on") {
  qat::test::check_small_float<float8_e5m2>({5, 2, qat::test::OverflowRule::kInfinity});
  static_assert(float8_e5m2(61439.996f).bits == 0x7B && float8_e5m2(61440.0f).bits == 0x7C);
}

TEST_CASE("e8m0 is a power of two, half up in the mantissa, without sign and zero") {
  for (unsigned code = 0; code < 255; ++code) {
    const float value = static_cast<float>(float8_e8m0::from_bits(code));
    CHECK(static_cast<double>(value) == std::ldexp(1.0, static_cast<int>(code) - 127));
    CHECK(float8_e8m0(value).bits == code);
    CHECK(float8_e8m0(-value).bits == code);
    if (code == 0) continue;
    CHECK(float8_e8m0(std::nextafterf(value * 1.5f, 0.0f)).bits == code);
    CHECK(float8_e8m0(value * 1.5f).bits == code + 1);
  }
  CHECK(std::isnan(static_cast<float>(float8_e8m0::from_bits(255))));
  CHECK(float8_e8m0(0.0f).bits == 0);
  CHECK(float8_e8m0(3.4e38f).bits == 255);
  CHECK(float8_e8m0(std::numeric_limits<float>::infinity()).bits == 255);
  CHECK(float8_e8m0(std::numeric_limits<float>::quiet_NaN()).bits == 255);
}
