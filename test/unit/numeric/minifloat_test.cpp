// The codec of all small floats, on formats nobody uses: any split of exponent and mantissa obeys the same laws.
#include "qat/numeric/minifloat.hpp"

#include "unit/numeric/minifloat_oracle.hpp"

using qat::numeric::Minifloat;
using qat::numeric::MinifloatFormat;
using qat::numeric::Overflow;
using qat::test::check_small_float;
using qat::test::OverflowRule;

TEST_CASE("any split of exponent and mantissa rounds to the nearest value, ties to even") {
  check_small_float<Minifloat<MinifloatFormat<3, 4, Overflow::kInfinity>, std::uint8_t>>(
      {3, 4, OverflowRule::kInfinity});
  check_small_float<Minifloat<MinifloatFormat<6, 5, Overflow::kSaturate>, std::uint16_t>>(
      {6, 5, OverflowRule::kSaturate});
  check_small_float<Minifloat<MinifloatFormat<2, 2, Overflow::kSaturateNoNan>, std::uint8_t>>(
      {2, 2, OverflowRule::kSaturateNoNan});
}

TEST_CASE("conversion works at compile time and keeps signed zeros apart") {
  using F = Minifloat<MinifloatFormat<4, 3, Overflow::kSaturate>, std::uint8_t>;
  static_assert(static_cast<float>(F(1.0f)) == 1.0f);
  static_assert(F(0.0f).bits == 0 && F(-0.0f).bits == 0x80);
  static_assert(!(F(0.0f) == F(-0.0f)), "equality is of bits");
  CHECK(sizeof(F) == 1);
}
