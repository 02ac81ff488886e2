// Errors carry one line that names what was found; building it never overflows.
#include "qat/base/check.hpp"

#include <doctest/doctest.h>

#include <string>
#include <string_view>

TEST_CASE("a failed check throws qat::Error with its code and the concatenated line") {
  const auto fail = [](int k) { QAT_CHECK(k == 3, kShapeMismatch, "gemm: K is ", k, " in A but ", 3u, " in B"); };
  CHECK_NOTHROW(fail(3));
  try {
    fail(-4);
    FAIL("no exception");
  } catch (const qat::Error& error) {
    CHECK(error.code() == qat::ErrorCode::kShapeMismatch);
    CHECK(std::string(error.what()) == "gemm: K is -4 in A but 3 in B");
  }
}

TEST_CASE("concat formats every kind of part") {
  CHECK(std::string(
            qat::concat("a", 'b', true, false, 1.5f, -0.25, std::string("s"), std::string_view("view")).c_str()) ==
        "abtruefalse1.5-0.25sview");
  CHECK(std::string(qat::concat(-9223372036854775807LL - 1, " ", 18446744073709551615ULL).c_str()) ==
        "-9223372036854775808 18446744073709551615");
  CHECK(std::string(qat::concat(static_cast<signed char>(-5), " ", static_cast<unsigned char>(5)).c_str()) == "-5 5");
}

TEST_CASE("text beyond the capacity is cut, not written") {
  qat::FixedString<4> text("abc");
  text.append("defgh");
  CHECK(std::string(text.c_str()) == "abcd");
  CHECK(text.size() == 4);
  CHECK(text == qat::FixedString<4>("abcd"));
  CHECK_FALSE(text == qat::FixedString<4>("abce"));
  CHECK(qat::concat(std::string(5000, 'x')).size() == 1000);
  CHECK(qat::FixedString<8>().empty());
}
