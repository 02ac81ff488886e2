// The 4- and 6-bit floats: the whole table of e2m1, nearest-value search for all three.
#include "qat/numeric/float4.hpp"

#include "unit/numeric/minifloat_oracle.hpp"

TEST_CASE("e2m1, e2m3 and e3m2 round to nearest even and saturate, infinity and NaN included") {
  qat::test::check_small_float<qat::float4_e2m1>({2, 1, qat::test::OverflowRule::kSaturateNoNan});
  qat::test::check_small_float<qat::float6_e2m3>({2, 3, qat::test::OverflowRule::kSaturateNoNan});
  qat::test::check_small_float<qat::float6_e3m2>({3, 2, qat::test::OverflowRule::kSaturateNoNan});
}

TEST_CASE("e2m1 is 0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives") {
  const float values[8] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
  for (unsigned code = 0; code < 8; ++code) {
    CHECK(static_cast<float>(qat::float4_e2m1::from_bits(code)) == values[code]);
    CHECK(static_cast<float>(qat::float4_e2m1::from_bits(code | 8)) == -values[code]);
  }
  CHECK(static_cast<float>(qat::float6_e2m3(100.0f)) == 7.5f);
  CHECK(static_cast<float>(qat::float6_e3m2(100.0f)) == 28.0f);
}
