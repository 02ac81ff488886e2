// Numbers that carry a bound on their rounding error: the oracle from which the golden program derives its tolerances.
//
// A computation written with these gives, for every result, a double-precision value and a bound on how far any fp32
// (or bf16) evaluation of the same formula can be from it, whatever the order of its sums. Two such evaluations differ
// by at most twice the bound. The bounds are first order in the unit roundoff with room for equivalent formulas: each
// elementary operation counts as kRoundings roundings.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "qat/base/check.hpp"
#include "qat/quant/formats.hpp"

namespace qat::golden {

inline constexpr double kRoundings = 4;

/// value +- error.
struct Bounded {
  double value = 0;
  double error = 0;
  double low() const { return value - error; }
  double high() const { return value + error; }
};

/// The middle and half width of [low, high].
inline Bounded interval(double low, double high) { return {(low + high) / 2, (high - low) / 2}; }

/// Arithmetic on Bounded with the unit roundoff of one type.
struct Rounding {
  double unit;

  Bounded rounded(Bounded x) const { return {x.value, x.error + kRoundings * unit * std::fabs(x.value)}; }
  Bounded add(Bounded a, Bounded b) const { return rounded({a.value + b.value, a.error + b.error}); }
  Bounded subtract(Bounded a, Bounded b) const { return rounded({a.value - b.value, a.error + b.error}); }
  Bounded multiply(Bounded a, Bounded b) const {
    return rounded(
        {a.value * b.value, std::fabs(a.value) * b.error + std::fabs(b.value) * a.error + a.error * b.error});
  }
  /// The divisor must not contain 0.
  Bounded divide(Bounded a, Bounded b) const {
    QAT_CHECK(b.low() > 0 || b.high() < 0, kInvalidArgument, "Bounded: division by [", b.low(), ", ", b.high(), "]");
    const double smallest = std::fmin(std::fabs(b.low()), std::fabs(b.high()));
    return rounded({a.value / b.value, (a.error + std::fabs(a.value / b.value) * b.error) / smallest});
  }
  Bounded square_root(Bounded a) const {
    return rounded(interval(std::sqrt(std::fmax(a.low(), 0.0)), std::sqrt(std::fmax(a.high(), 0.0))));
  }
};

/// A sum in any order.
struct BoundedSum {
  Bounded total;
  double magnitude = 0;
  index_t terms = 0;
  void add(Bounded x) {
    total.value += x.value;
    total.error += x.error;
    magnitude += std::fabs(x.value);
    ++terms;
  }
  /// With its own roundings: (terms + 1) unit roundoffs of the absolute sum.
  Bounded result(double unit) const {
    return {total.value, total.error + (terms > 1 ? static_cast<double>(terms + 1) * unit * magnitude : 0.0)};
  }
};

/// Unit roundoff of a float type.
inline double unit_roundoff(FloatType type) {
  return type == FloatType::kFloat32 ? 0x1p-24 : type == FloatType::kBfloat16 ? 0x1p-8 : 0x1p-11;
}

}  // namespace qat::golden
