// bfloat16 against nearest-value search and against the bit trick everybody knows.
#include "qat/numeric/bfloat16.hpp"

#include "unit/numeric/minifloat_oracle.hpp"

using qat::bfloat16;

TEST_CASE("bfloat16 rounds to nearest even, overflows to infinity, keeps NaN") {
  qat::test::check_small_float<bfloat16>({8, 7, qat::test::OverflowRule::kInfinity});
}

TEST_CASE("bfloat16 is the upper half of fp32 rounded half to even") {
  const qat::CounterRandom random(7);
  qat::index_t wrong = 0;
  for (std::uint64_t i = 0; i < 300000; ++i) {
    const std::uint32_t bits = random.at(i);
    if ((bits & 0x7FFFFFFFu) > 0x7F800000u) continue;
    const std::uint32_t expected = (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
    wrong += bfloat16(std::bit_cast<float>(bits)).bits != expected;
  }
  CHECK(wrong == 0);
}
