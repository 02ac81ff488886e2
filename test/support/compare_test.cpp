// The comparator, before anything it compares: each wrong input a lenient comparator lets through must fail.
#include "support/compare.hpp"

#include <doctest/doctest.h>

#include <limits>

#include "qat/numeric/bfloat16.hpp"

using qat::test::compare_bits;
using qat::test::compare_ulp;
using qat::test::compare_within;
using qat::test::Comparison;
using qat::test::NanRule;
using qat::test::Tolerance;
using qat::test::Values;

namespace {
using Floats = std::vector<float>;
const float kNan = std::numeric_limits<float>::quiet_NaN();
const float kInf = std::numeric_limits<float>::infinity();
const Tolerance kLoose{1e-3, 10, 10};  // 0.1: wide enough that only the rules can fail it

void check_all_fail(const Floats& expected, const Floats& actual) {
  CHECK_FALSE(compare_bits(expected, actual).passed);
  CHECK_FALSE(compare_ulp(expected, actual, 4).passed);
  CHECK_FALSE(compare_within(expected, actual, kLoose).passed);
}
}  // namespace

TEST_CASE("equal numbers pass every comparison and are bit exact") {
  const Floats x = {1.0f, -2.5f, 0.0f, -0.0f, 1e-42f, 3e38f};
  CHECK(compare_bits(x, x));
  CHECK(compare_ulp(x, x, 0));
  CHECK(compare_within(x, x, Tolerance{0, 0, 0}));
  CHECK(compare_within(x, x, kLoose).bit_exact());
}

TEST_CASE("NaN where a number is expected fails, and so does the reverse") {
  check_all_fail({1, 2, 3}, {1, kNan, 3});
  check_all_fail({1, kNan, 3}, {1, 2, 3});
  check_all_fail({1, 2, 3}, {kNan, kNan, kNan});
}

TEST_CASE("any NaN equals any NaN by rule only") {
  const float negative = std::bit_cast<float>(0xFFC00001u);
  CHECK(compare_bits(Floats{1, kNan}, Floats{1, negative}));
  CHECK_FALSE(compare_bits(Floats{1, kNan}, Floats{1, negative}, NanRule::kSameBits).passed);
  CHECK(compare_bits(Floats{1, kNan}, Floats{1, kNan}, NanRule::kSameBits));
}

TEST_CASE("infinity equals only the same infinity") {
  check_all_fail({1, kInf}, {1, -kInf});
  check_all_fail({1, kInf}, {1, 3.4e38f});
  check_all_fail({1, 2}, {1, kInf});
  check_all_fail({1, 2}, {1, -kInf});
  check_all_fail({1, kInf}, {1, kNan});
  check_all_fail({1, kNan}, {1, kInf});
  CHECK(compare_bits(Floats{1, kInf, -kInf}, Floats{1, kInf, -kInf}));
  CHECK_FALSE(compare_ulp(Floats{1, std::numeric_limits<float>::max()}, Floats{1, kInf}, 1).passed);
}

TEST_CASE("a sign flip fails, also of zero under bit equality") {
  check_all_fail({-5, 1}, {5, 1});
  check_all_fail({-5, 1}, {-500, 1});
  CHECK_FALSE(compare_bits(Floats{0.0f}, Floats{-0.0f}).passed);
  CHECK(compare_ulp(Floats{0.0f}, Floats{-0.0f}, 1));
  CHECK_FALSE(compare_ulp(Floats{0.0f}, Floats{-0.0f}, 0).passed);
}

TEST_CASE("all zeros in place of data fail") { check_all_fail({1, -2, 3, -4}, {0, 0, 0, 0}); }

TEST_CASE("nothing to compare is a failure") {
  check_all_fail({}, {});
  const float x = 1;
  CHECK_FALSE(compare_bits(Values<float>(&x, {}), Values<float>(&x, {})).passed);
  CHECK_FALSE(compare_bits(Values<float>(&x, {0, 5}), Values<float>(&x, {0, 5})).passed);
}

TEST_CASE("different shapes fail, also with equal elements") {
  check_all_fail({1, 2, 3}, {1, 2});
  check_all_fail({1, 2}, {1, 2, 3});
  const Floats x(6, 1.0f);
  CHECK_FALSE(compare_bits(Values<float>(x.data(), {2, 3}), Values<float>(x.data(), {3, 2})).passed);
  CHECK_FALSE(compare_within(Values<float>(x.data(), {2, 3}), Values<float>(x.data(), {6}), kLoose).passed);
}

TEST_CASE("transposed data fail") {
  const Floats a = {1, 2, 3, 4, 5, 6, 7, 8, 9}, transposed = {1, 4, 7, 2, 5, 8, 3, 6, 9};
  const Comparison c = compare_bits(Values<float>(a.data(), {3, 3}), Values<float>(transposed.data(), {3, 3}));
  CHECK_FALSE(c.passed);
  CHECK(c.first == 1);
  CHECK(c.failed == 6);
  check_all_fail(a, transposed);
}

TEST_CASE("one ulp off fails bit equality, passes 1 ulp, two do not") {
  const Floats a = {1.0f, -1.0f, 1e-45f}, b = {0x1.000002p0f, -0x1.000002p0f, 0.0f}, c = {0x1.000004p0f, -1.0f, 1e-45f};
  CHECK_FALSE(compare_bits(a, b).passed);
  CHECK(compare_ulp(a, b, 1));
  CHECK(compare_ulp(a, b, 1).worst == 1);
  CHECK_FALSE(compare_ulp(a, b, 0).passed);
  CHECK_FALSE(compare_ulp(a, c, 1).passed);
  CHECK(compare_ulp(Floats{-1e-45f}, Floats{1e-45f}, 3));  // -min, -0, +0, +min
  CHECK_FALSE(compare_ulp(Floats{-1e-45f}, Floats{1e-45f}, 2).passed);
  CHECK_FALSE(compare_ulp(std::vector<double>{-1e308}, std::vector<double>{1e308}, INT64_MAX - 1).passed);
}

TEST_CASE("a derived bound is inclusive, absolute and per element") {
  const Tolerance tolerance{0x1p-24, 16, 1.0};  // 2^-20
  CHECK(tolerance.bound() == 0x1p-20);
  CHECK(compare_within(Floats{1.0f}, Floats{1.0f + 0x1p-20f}, tolerance));
  CHECK_FALSE(compare_within(Floats{1.0f}, Floats{1.0f + 0x1p-20f + 0x1p-23f}, tolerance).passed);
  CHECK_FALSE(compare_within(Floats{1.0f}, Floats{1.0f - 0x1p-19f}, tolerance).passed);
  const Floats e = {1, 1}, a = {1.5f, 1.5f};
  CHECK(compare_within(Values<float>(e), Values<float>(a), std::vector<double>{0.5, 0.5}));
  const Comparison c = compare_within(Values<float>(e), Values<float>(a), std::vector<double>{0.5, 0.25});
  CHECK_FALSE(c.passed);
  CHECK(c.first == 1);
}

TEST_CASE("a bound that is no bound fails") {
  const Floats e = {1, 2}, a = {1, 2.5f};
  for (const double bad : {static_cast<double>(kNan), static_cast<double>(kInf), -1.0}) {
    CHECK_FALSE(compare_within(e, a, Tolerance{bad, 1, 1}).passed);
    CHECK_FALSE(compare_within(e, e, Tolerance{bad, 1, 1}).passed);
  }
  CHECK_FALSE(compare_within(Values<float>(e), Values<float>(e), std::vector<double>{1.0}).passed);
  CHECK_FALSE(compare_within(Values<float>(e), Values<float>(e), std::vector<double>{}).passed);
}

TEST_CASE("a bound says nothing about data that are mostly not finite") {
  const Floats mostly = {kNan, kInf, 1}, half = {kNan, kInf, 1, 2};
  CHECK_FALSE(compare_within(mostly, mostly, kLoose).passed);
  CHECK(compare_within(half, half, kLoose));
}

TEST_CASE("the report names index, shape, values in hex and bits, and counts") {
  const Floats e = {1, 2, 3, 4}, a = {1, 2, 3.5f, 4.5f};
  const Comparison c = compare_bits(Values<float>(e.data(), {2, 2}), Values<float>(a.data(), {2, 2}));
  for (const char* part :
       {"[2] of [2, 2]", "0x1.8p+1", "0x1.cp+1", "40400000", "40600000", "2 failed and 2 different of 4"})
    CHECK_MESSAGE(c.report.find(part) != std::string::npos, part, " in ", c.report);
  CHECK(compare_bits(e, Floats{1}).report.find("expected shape [4], actual shape [1]") != std::string::npos);
}

TEST_CASE("integers, doubles and small floats compare by their own bits") {
  CHECK(compare_bits(std::vector<int>{-1, 2}, std::vector<int>{-1, 2}));
  CHECK_FALSE(compare_bits(std::vector<int>{-1, 2}, std::vector<int>{1, 2}).passed);
  CHECK_FALSE(compare_bits(std::vector<double>{1.0}, std::vector<double>{1.0 + 0x1p-52}).passed);
  using qat::bfloat16;
  CHECK(compare_bits(std::vector<bfloat16>{bfloat16(kNan)}, std::vector<bfloat16>{bfloat16(-kNan)}));
  CHECK_FALSE(compare_bits(std::vector<bfloat16>{bfloat16(0.0f)}, std::vector<bfloat16>{bfloat16(-0.0f)}).passed);
  CHECK(compare_ulp(std::vector<bfloat16>{bfloat16(1.0f)}, std::vector<bfloat16>{bfloat16(1.0f + 0x1p-7f)}, 1));
}
