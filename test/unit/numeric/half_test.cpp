// half against nearest-value search, and the conversions of IEEE binary16 that are easy to get wrong.
#include "qat/numeric/half.hpp"

#include "unit/numeric/minifloat_oracle.hpp"

using qat::half;

TEST_CASE("half rounds to nearest even, overflows to infinity, keeps NaN and subnormals") {
  qat::test::check_small_float<half>({5, 10, qat::test::OverflowRule::kInfinity});
}

TEST_CASE("the edges of half") {
  static_assert(half(65504.0f).bits == 0x7BFF && half(65519.996f).bits == 0x7BFF && half(65520.0f).bits == 0x7C00);
  static_assert(half(0x1p-24f).bits == 1 && half(0x1p-25f).bits == 0 && half(0x1.000002p-25f).bits == 1);
  static_assert(half(0x1.ff8p-15f).bits == 0x3FF && half(0x1.ffbffep-15f).bits == 0x3FF &&
                half(0x1.ffcp-15f).bits == 0x400);
  static_assert(static_cast<float>(half::from_bits(0x8000)) == 0.0f && half(-0.0f).bits == 0x8000);
  CHECK(static_cast<float>(half::from_bits(0x3C01)) == 1.0f + 0x1p-10f);
}
