// Rounding policies against the C library, on patterns all over fp32, on every tie below 2^12, and stochastic
// rounding's law.
#include "qat/numeric/rounding.hpp"

#include <doctest/doctest.h>

#include <cfenv>
#include <cmath>
#include <initializer_list>

#include "qat/base/random.hpp"

namespace {

bool same_bits(float a, float b) {
  if (std::isnan(a) && std::isnan(b)) return true;
  return std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b);
}

struct Mismatches {
  qat::index_t even = 0, away = 0, zero = 0;
  void check(float x) {
    even += !same_bits(qat::HalfToEven::round(x), std::nearbyintf(x));
    away += !same_bits(qat::HalfAwayFromZero::round(x), std::roundf(x));
    zero += !same_bits(qat::TowardZero::round(x), std::truncf(x));
  }
  void check_none() const {
    CHECK(even == 0);
    CHECK(away == 0);
    CHECK(zero == 0);
  }
};

}  // namespace

TEST_CASE("half to even, half away and toward zero agree with nearbyint, round and trunc all over fp32") {
  REQUIRE(std::fegetround() == FE_TONEAREST);
  Mismatches m;
  for (std::uint64_t bits = 0; bits < (1ull << 32); bits += 4093)
    m.check(std::bit_cast<float>(static_cast<std::uint32_t>(bits)));
  const qat::CounterRandom random(11);
  for (std::uint64_t i = 0; i < 200000; ++i) {  // most of fp32 has no fraction: exponents from 2^-3 to 2^24
    const std::uint32_t r = random.at(i);
    m.check(std::bit_cast<float>((r & 0x807FFFFFu) | ((124 + (r >> 23) % 28) << 23)));
  }
  m.check_none();
}

TEST_CASE("every tie below 2^12 and its neighbours, and signed zeros") {
  Mismatches m;
  for (int n = -4096; n <= 4096; ++n) {
    const float tie = static_cast<float>(n) + 0.5f;
    for (const float x : {static_cast<float>(n), tie, std::nextafterf(tie, -1e9f), std::nextafterf(tie, 1e9f)})
      m.check(x);
  }
  for (const float x :
       {0.0f, -0.0f, 0.49999997f, -0.49999997f, 0.5f, -0.5f, 8388607.5f, -8388607.5f, 8388608.0f, 1e-45f})
    m.check(x);
  m.check_none();
  CHECK(std::signbit(qat::HalfToEven::round(-0.3f)));
}

TEST_CASE("rounding works at compile time") {
  static_assert(qat::HalfToEven::round(2.5f) == 2.0f && qat::HalfToEven::round(3.5f) == 4.0f);
  static_assert(qat::HalfAwayFromZero::round(-2.5f) == -3.0f && qat::TowardZero::round(-2.9f) == -2.0f);
  static_assert(qat::Stochastic::round(2.25f, 0x3FFFFFFFu) == 3.0f &&
                qat::Stochastic::round(2.25f, 0x40000000u) == 2.0f);
  CHECK(qat::Stochastic::kStochastic);
}

TEST_CASE("stochastic rounding goes away from zero for exactly the fraction of all random words") {
  // fraction * 2^32 words round away: the last that does and the first that does not, for fractions that fp32 holds.
  const qat::CounterRandom random(5);
  for (std::uint64_t i = 0; i < 20000; ++i) {
    const std::uint32_t r = random.at(i);
    const float x = std::bit_cast<float>((r & 0x807FFFFFu) | ((127 - 9 + (r >> 23) % 31) << 23));  // 2^-9 to 2^22
    const float down = std::truncf(x), up = down + std::copysign(1.0f, x);
    const double words = std::fabs(static_cast<double>(x) - static_cast<double>(down)) * 4294967296.0;
    REQUIRE(words == std::floor(words));
    const std::uint64_t count = static_cast<std::uint64_t>(words);
    if (count > 0) REQUIRE(qat::Stochastic::round(x, static_cast<std::uint32_t>(count - 1)) == up);
    REQUIRE(qat::Stochastic::round(x, static_cast<std::uint32_t>(count)) == down);
  }
}

TEST_CASE("stochastic rounding leaves integers alone and never rounds what is below 2^-32 away") {
  for (const float x : {0.0f, -0.0f, 1.0f, -7.0f, 8388608.0f, 1e30f, 0x1p-33f, -1e-45f}) {
    CAPTURE(x);
    CHECK(same_bits(qat::Stochastic::round(x, 0), std::truncf(x)));
    CHECK(same_bits(qat::Stochastic::round(x, 0xFFFFFFFFu), std::truncf(x)));
  }
}

TEST_CASE("the mean of stochastic rounding is the number, within five standard errors") {
  for (const float x : {0.1f, 0.5f, -0.75f, 3.3f, -127.9f, 0.001f}) {
    const qat::CounterRandom random(123, std::bit_cast<std::uint32_t>(x));
    constexpr int kDraws = 100000;
    double sum = 0;
    for (int i = 0; i < kDraws; ++i)
      sum += static_cast<double>(qat::Stochastic::round(x, random.at(static_cast<std::uint64_t>(i))));
    const double f = std::fabs(static_cast<double>(x) - std::trunc(static_cast<double>(x)));
    CHECK(std::fabs(sum / kDraws - static_cast<double>(x)) <= 5 * std::sqrt(f * (1 - f) / kDraws));
  }
}
