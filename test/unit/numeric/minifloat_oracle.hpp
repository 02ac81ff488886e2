// Small floats by another formulation than the library's: codes decode through ldexp, and a number encodes to the
// nearest of all values, found by exact comparison with midpoints.
#pragma once

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "qat/base/random.hpp"
#include "support/compare.hpp"

namespace qat::test {

enum class OverflowRule { kInfinity, kSaturate, kSaturateNoNan };

struct FloatOracle {
  int exponent_bits, mantissa_bits;
  OverflowRule overflow;

  unsigned sign_bit() const { return 1u << (exponent_bits + mantissa_bits); }
  unsigned largest() const {  // code of the largest finite magnitude
    const unsigned all = sign_bit() - 1;
    if (overflow == OverflowRule::kInfinity) return all - (1u << mantissa_bits);
    return overflow == OverflowRule::kSaturate ? all - 1 : all;
  }
  /// Value of a magnitude code, also one step beyond the largest (where rounding to infinity starts).
  double magnitude(unsigned code) const {
    const int e = static_cast<int>(code >> mantissa_bits), bias = (1 << (exponent_bits - 1)) - 1;
    const int m = static_cast<int>(code & ((1u << mantissa_bits) - 1)), implicit = e == 0 ? 0 : 1 << mantissa_bits;
    return std::ldexp(m + implicit, (e == 0 ? 1 : e) - bias - mantissa_bits);
  }
  double decode(unsigned code) const {
    const unsigned m = code & (sign_bit() - 1);
    const double sign = (code & sign_bit()) != 0 ? -1 : 1;
    if (m <= largest()) return std::copysign(magnitude(m), sign);
    const bool infinite = overflow == OverflowRule::kInfinity && m == largest() + 1;
    return infinite ? sign * std::numeric_limits<double>::infinity() : std::numeric_limits<double>::quiet_NaN();
  }
  /// x: not NaN.
  unsigned encode(float x) const {
    const double a = std::fabs(static_cast<double>(x));
    unsigned low = 0,
             high = largest() + 1;  // the smallest code whose upper midpoint is not below a, ties decided after
    while (low < high) {
      const unsigned middle = (low + high) / 2;
      const double midpoint = (magnitude(middle) + magnitude(middle + 1)) / 2;  // exact: a few bits
      if (a < midpoint || (a == midpoint && middle % 2 == 0))
        high = middle;
      else
        low = middle + 1;
    }
    if (overflow != OverflowRule::kInfinity && low > largest()) low = largest();
    return low | (std::signbit(x) ? sign_bit() : 0u);
  }
};

/// Every code, every midpoint with its neighbours in fp32, and random patterns.
template <class Format>
void check_small_float(const FloatOracle& oracle) {
  const unsigned codes = oracle.sign_bit() * 2;
  std::vector<float> inputs = {0.0f, -0.0f, 1e-45f, 0x1p-126f, 3.4e38f, std::numeric_limits<float>::infinity()};
  index_t wrong_decode = 0, wrong_encode = 0, nans = 0;
  for (unsigned code = 0; code < codes; ++code) {
    const float ours = static_cast<float>(Format::from_bits(code));
    const double expected = oracle.decode(code);
    if (std::isnan(expected)) {
      ++nans;
      wrong_decode += !std::isnan(ours);
      continue;
    }
    wrong_decode += !(static_cast<double>(ours) == expected && std::signbit(ours) == std::signbit(expected));
    if (!(std::fabs(ours) <= std::numeric_limits<float>::max())) continue;
    wrong_encode += Format(ours).bits != code;  // every finite code comes back
    const unsigned m = code & (oracle.sign_bit() - 1);
    const double midpoint = (oracle.magnitude(m) + oracle.magnitude(m + 1)) / 2;
    const float middle = static_cast<float>(midpoint);
    for (const float x : {middle, std::nextafterf(middle, 0.0f), std::nextafterf(middle, 3.4e38f)}) inputs.push_back(x);
  }
  const CounterRandom random(20261124, oracle.sign_bit());
  for (std::uint64_t i = 0; i < 200000; ++i) inputs.push_back(std::bit_cast<float>(random.at(i)));
  for (const float x : inputs) {
    if (std::isnan(x)) continue;
    wrong_encode += Format(x).bits != oracle.encode(x);
    wrong_encode += Format(-x).bits != oracle.encode(-x);
  }
  CHECK(wrong_decode == 0);
  CHECK(wrong_encode == 0);
  const unsigned expected_nans =
      codes - 2 * (oracle.largest() + 1) - (oracle.overflow == OverflowRule::kInfinity ? 2 : 0);
  CHECK(nans == static_cast<index_t>(expected_nans));
  for (const float nan :
       {std::bit_cast<float>(0x7FC00000u), std::bit_cast<float>(0x7F800001u), std::bit_cast<float>(0xFFFFFFFFu)}) {
    const Format y(nan);
    if (oracle.overflow == OverflowRule::kSaturateNoNan)
      CHECK((y.bits & (oracle.sign_bit() - 1)) == oracle.largest());
    else
      CHECK(std::isnan(static_cast<float>(y)));
    CHECK(((y.bits & oracle.sign_bit()) != 0) == std::signbit(nan));
  }
}

}  // namespace qat::test
