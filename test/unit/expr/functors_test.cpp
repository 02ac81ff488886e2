// The scalar form of an elementwise function is its definition.
#include "qat/expr/functors.hpp"

#include <doctest/doctest.h>

#include <bit>
#include <initializer_list>

#include "qat/backend/float_mode.hpp"
#include "qat/base/random.hpp"
#include "qat/numeric/rounding.hpp"

// Functors are inlined, so the function around them must be exact, as the regions of assign() are.
QAT_EXACT_BEGIN

namespace {
bool rounds_as_defined(float x) {
  return std::bit_cast<std::uint32_t>(qat::expr::Round{}(x)) == std::bit_cast<std::uint32_t>(qat::HalfToEven::round(x));
}
}  // namespace

TEST_CASE("Round has the bits of HalfToEven::round") {
  const qat::ScopedFloatMode mode;
  qat::CounterRandom random(7);
  for (int i = 0; i < 1000000; ++i) REQUIRE(rounds_as_defined(std::bit_cast<float>(random.next_u32())));
  for (int i = -2000; i < 2000; ++i) REQUIRE(rounds_as_defined(static_cast<float>(i) * 0.25f));
  for (const float x : {-0.0f, 8388607.5f, 8388608.0f, 16777216.0f, -8388607.5f, 0x1p-149f})
    CHECK(rounds_as_defined(x));
}

TEST_CASE("min, max and clamp at NaN and signed zero") {
  [[maybe_unused]] const float nan = std::bit_cast<float>(0x7FC00000u);
  [[maybe_unused]] const auto is_nan = [](float x) {
    return (std::bit_cast<std::uint32_t>(x) & 0x7FFFFFFFu) > 0x7F800000u;
  };
#if !(defined(__clang__) && defined(__FAST_MATH__))
  CHECK(is_nan(qat::expr::Min{}(nan, 1.0f)));
  CHECK(qat::expr::Max{}(1.0f, nan) == 1.0f);
  CHECK(is_nan(qat::expr::Clamp{}(nan, -1.0f, 1.0f)));
#endif
  CHECK(qat::expr::Clamp{}(5, -1, 1) == 1);
  CHECK(std::bit_cast<std::uint32_t>(qat::expr::Abs{}(-0.0f)) == 0u);
  CHECK(qat::expr::Where{}(true, 1, 2) == 1);
  CHECK(qat::expr::Cast<int>{}(2.75f) == 2);
}

QAT_EXACT_END
