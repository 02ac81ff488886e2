// The one comparator. Everything that compares computed numbers in tests, golden runs and benchmarks goes through it.
//
//   CHECK(compare_bits(expected, actual));               // every bit, signed zeros included; any NaN equals any NaN
//   CHECK(compare_ulp(expected, actual, 1));             // at most 1 representable number apart
//   CHECK(compare_within(expected, actual, Tolerance{0x1p-24, terms, magnitude}));  // a bound derived from the sizes
//
// What fails always: different shapes, nothing to compare, NaN against a number, infinity against anything but the same
// infinity, a bound that is itself NaN, infinite or negative, and (compare_within) data of which less than half is
// finite. Conditions are written as "fail unless", so a NaN that reaches one fails. No standard floating-point
// classification is used: bits decide, so the answer is the same under -ffast-math.
#pragma once

#include <bit>
#include <cstdint>
#include <cstdio>
#include <initializer_list>
#include <ostream>
#include <string>
#include <type_traits>
#include <vector>

#include "qat/base/config.hpp"

namespace qat::test {

/// Numbers to compare with their shape; borrows the data. Containers with data() and size() convert, as one dimension.
template <class T>
struct Values {
  const T* data = nullptr;
  std::vector<index_t> shape;

  Values(const T* pointer, std::vector<index_t> extents) : data(pointer), shape(std::move(extents)) {}
  template <class C>
  requires requires(const C& c) {
    { c.data() } -> std::convertible_to<const T*>;
    c.size();
  }
  Values(const C& c) : data(c.data()), shape{static_cast<index_t>(c.size())} {}  // NOLINT: implicit by design
  index_t size() const {
    index_t n = shape.empty() ? 0 : 1;
    for (const index_t extent : shape) n *= extent;
    return n;
  }
};

/// Which NaNs are the same: all (payload and sign depend on the processor), or those with the same bits.
enum class NanRule { kAnyEqualsAny, kSameBits };

/// Bound on |expected - actual|: terms * relative_eps * magnitude, from the sizes of the computation.
/// relative_eps: unit roundoff (0x1p-24 for fp32); terms: roundings that can add up (length of a sum); magnitude: sum
/// of the absolute values that were rounded.
struct Tolerance {
  double relative_eps;
  double terms;
  double magnitude;
  double bound() const { return relative_eps * terms * magnitude; }
};

/// What a comparison found.
struct Comparison {
  bool passed = false;
  index_t compared = 0;   ///< elements
  index_t finite = 0;     ///< elements finite on the expected side
  index_t different = 0;  ///< elements whose bits differ (NaN by the rule)
  index_t failed = 0;     ///< elements beyond what was asked
  index_t first = -1;     ///< index of the first failed element
  double worst =
      0;  ///< compare_ulp: largest distance; compare_within: largest |difference| / bound of a passing element
  std::string report;  ///< one line: what was compared and, on failure, where, both values as %a and in bits, counts

  explicit operator bool() const { return passed; }
  bool bit_exact() const { return passed && different == 0; }
};
inline std::ostream& operator<<(std::ostream& out, const Comparison& c) { return out << c.report; }

namespace detail {

template <class T>
using BitsOf = std::conditional_t<
    sizeof(T) == 8, std::uint64_t,
    std::conditional_t<sizeof(T) == 4, std::uint32_t, std::conditional_t<sizeof(T) == 2, std::uint16_t, std::uint8_t>>>;

template <class T>
std::uint64_t bits_of(const T& value) {
  static_assert(std::is_trivially_copyable_v<T> &&
                (sizeof(T) == 1 || sizeof(T) == 2 || sizeof(T) == 4 || sizeof(T) == 8));
  return std::bit_cast<BitsOf<T>>(value);
}

/// The value as a double (exact for every type but 64-bit integers).
template <class T>
double as_double(const T& value) {
  if constexpr (std::is_arithmetic_v<T>)
    return static_cast<double>(value);
  else if constexpr (requires { static_cast<float>(value); })
    return static_cast<double>(static_cast<float>(value));
  else
    return static_cast<double>(static_cast<int>(value));
}
inline bool nan_bits(double x) { return (std::bit_cast<std::uint64_t>(x) & ~(1ull << 63)) > 0x7FF0000000000000ull; }
inline bool finite_bits(double x) {
  return (std::bit_cast<std::uint64_t>(x) & 0x7FF0000000000000ull) != 0x7FF0000000000000ull;
}

inline std::string format_shape(const std::vector<index_t>& shape) {
  std::string out = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) out += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return out + "]";
}
template <class T>
std::string format_value(const T& value) {
  char text[96];
  std::snprintf(text, sizeof text, "%a (%.9g, bits %0*llx)", as_double(value), as_double(value),
                static_cast<int>(2 * sizeof(T)), static_cast<unsigned long long>(bits_of(value)));
  return text;
}

/// Fails if the shapes differ or are empty; else counts, and asks `accept(i, expected, actual)` of each element that
/// differs.
template <class T, class Accept>
Comparison compare(const Values<T>& expected, const Values<T>& actual, NanRule nan_rule, const char* how,
                   Accept&& accept) {
  Comparison out;
  out.report = std::string(how) + ": ";
  if (expected.shape != actual.shape) {
    out.report += "expected shape " + format_shape(expected.shape) + ", actual shape " + format_shape(actual.shape);
    return out;
  }
  if (expected.size() <= 0) {
    out.report += "nothing to compare, shape " + format_shape(expected.shape);
    return out;
  }
  for (index_t i = 0; i < expected.size(); ++i) {
    const T &e = expected.data[i], &a = actual.data[i];
    const double ve = as_double(e), va = as_double(a);
    ++out.compared;
    if (finite_bits(ve)) ++out.finite;
    if (bits_of(e) == bits_of(a) || (nan_rule == NanRule::kAnyEqualsAny && nan_bits(ve) && nan_bits(va))) continue;
    ++out.different;
    const bool comparable = finite_bits(ve) && finite_bits(va);
    if (comparable && accept(i, ve, va)) continue;
    ++out.failed;
    if (out.first >= 0) continue;
    out.first = i;
    out.report += "[" + std::to_string(i) + "] of " + format_shape(expected.shape) + ": expected " + format_value(e) +
                  ", actual " + format_value(a) + "; ";
  }
  out.passed = !(out.failed > 0);
  out.report += std::to_string(out.failed) + " failed and " + std::to_string(out.different) + " different of " +
                std::to_string(out.compared);
  return out;
}

/// Position of a float among all floats of its type: neighbours differ by 1, and -0 and +0 by 1 as well.
template <class T>
std::int64_t ordered(const T& value) {
  const std::uint64_t bits = bits_of(value), sign = 1ull << (8 * sizeof(T) - 1);
  const std::int64_t magnitude = static_cast<std::int64_t>(bits & (sign - 1));
  return (bits & sign) != 0 ? -1 - magnitude : magnitude;
}

}  // namespace detail

/// Every bit equal; any NaN equals any NaN unless the rule says otherwise.
template <class T>
Comparison compare_bits(const Values<T>& expected, const Values<T>& actual, NanRule nan_rule = NanRule::kAnyEqualsAny) {
  return detail::compare(expected, actual, nan_rule, "bits", [](index_t, double, double) { return false; });
}

/// At most max_ulp representable numbers apart; -0 and +0 are one apart. T: a float type in sign-magnitude form.
template <class T>
Comparison compare_ulp(const Values<T>& expected, const Values<T>& actual, std::int64_t max_ulp) {
  static_assert(!std::is_integral_v<T>, "compare_ulp compares floats");
  std::int64_t worst = 0;
  Comparison out = detail::compare(expected, actual, NanRule::kAnyEqualsAny, "ulp", [&](index_t i, double, double) {
    const std::int64_t a = detail::ordered(expected.data[i]), b = detail::ordered(actual.data[i]);
    // An int64 difference of two doubles of opposite sign can overflow; as unsigned it cannot.
    const std::uint64_t distance = a > b ? static_cast<std::uint64_t>(a) - static_cast<std::uint64_t>(b)
                                         : static_cast<std::uint64_t>(b) - static_cast<std::uint64_t>(a);
    const std::int64_t clipped = distance > INT64_MAX ? INT64_MAX : static_cast<std::int64_t>(distance);
    if (clipped > worst) worst = clipped;
    return clipped <= max_ulp;
  });
  out.worst = static_cast<double>(worst);
  out.report += ", largest distance " + std::to_string(worst) + " ulp, accepted " + std::to_string(max_ulp);
  return out;
}

/// |expected - actual| <= bounds[i], one bound for each element.
template <class T>
Comparison compare_within(const Values<T>& expected, const Values<T>& actual, const std::vector<double>& bounds) {
  double worst = 0, failed_bound = -1;
  bool enough_bounds = static_cast<index_t>(bounds.size()) == expected.size(), valid = enough_bounds;
  for (const double bound : bounds) valid = valid && detail::finite_bits(bound) && bound >= 0;
  Comparison out =
      detail::compare(expected, actual, NanRule::kAnyEqualsAny, "bound", [&](index_t i, double e, double a) {
        if (!valid) return false;
        const double difference = e > a ? e - a : a - e, bound = bounds[static_cast<std::size_t>(i)];
        const bool good = difference <= bound;
        if (good && difference > 0 && difference / bound > worst) worst = difference / bound;
        if (!good && failed_bound < 0) failed_bound = bound;
        return good;
      });
  out.worst = worst;
  char text[96];
  if (failed_bound >= 0) {
    std::snprintf(text, sizeof text, ", bound of the first %.6g", failed_bound);
    out.report += text;
  }
  std::snprintf(text, sizeof text, ", largest difference that passed %.3g of its bound", worst);
  out.report += text;
  if (!valid) {
    out.passed = false;
    out.report +=
        enough_bounds ? "; a bound is negative or not finite" : "; the number of bounds is not that of the elements";
  }
  if (out.compared > 0 && 2 * out.finite < out.compared) {
    out.passed = false;
    out.report +=
        "; only " + std::to_string(out.finite) + " of " + std::to_string(out.compared) + " expected values are finite";
  }
  return out;
}

/// The same bound for every element.
template <class T>
Comparison compare_within(const Values<T>& expected, const Values<T>& actual, const Tolerance& tolerance) {
  const index_t size = expected.size() > 0 ? expected.size() : 0;
  return compare_within(expected, actual, std::vector<double>(static_cast<std::size_t>(size), tolerance.bound()));
}

// Containers: compare_bits(vector, vector) and the like.
template <class A, class B>
requires requires(const A& a, const B& b) { a.data(), b.data(); }
Comparison compare_bits(const A& expected, const B& actual, NanRule nan_rule = NanRule::kAnyEqualsAny) {
  using T = std::remove_cvref_t<decltype(*expected.data())>;
  return compare_bits(Values<T>(expected), Values<T>(actual), nan_rule);
}
template <class A, class B>
requires requires(const A& a, const B& b) { a.data(), b.data(); }
Comparison compare_ulp(const A& expected, const B& actual, std::int64_t max_ulp) {
  using T = std::remove_cvref_t<decltype(*expected.data())>;
  return compare_ulp(Values<T>(expected), Values<T>(actual), max_ulp);
}
template <class A, class B>
requires requires(const A& a, const B& b) { a.data(), b.data(); }
Comparison compare_within(const A& expected, const B& actual, const Tolerance& tolerance) {
  using T = std::remove_cvref_t<decltype(*expected.data())>;
  return compare_within(Values<T>(expected), Values<T>(actual), tolerance);
}

}  // namespace qat::test
