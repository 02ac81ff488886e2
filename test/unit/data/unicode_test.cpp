// Unicode: UTF-8 both ways for every code point, the categories at known points, strip as Python's.
#include "qat/data/unicode.hpp"

#include <doctest/doctest.h>

using namespace qat;

TEST_CASE("every code point survives UTF-8") {
  for (std::uint32_t point = 0; point <= 0x10FFFF; ++point) {
    if (point >= 0xD800 && point <= 0xDFFF) continue;
    std::string text;
    append_utf8(text, point);
    const CodePoint back = decode_utf8(text, 0);
    REQUIRE(back.value == point);
    REQUIRE(back.length == text.size());
  }
}

TEST_CASE("what is not UTF-8 is one invalid byte") {
  for (const std::string text : {"\x80", "\xC3", "\xC0\x80", "\xE2\x96", "\xE0\x80\x80", "\xED\xA0\x80",
                                 "\xF4\x90\x80\x80", "\xF0\x80\x80\x80", "\xFF", "\xC3(", "\xE2(\x81"}) {
    CHECK(decode_utf8(text, 0).value == 0xFFFFFFFFu);
    CHECK(decode_utf8(text, 0).length == 1);
  }
}

TEST_CASE("categories agree with Unicode 14: counts and samples") {
  long letters = 0, numbers = 0, both = 0;
  for (std::uint32_t point = 0; point <= 0x10FFFF; ++point) {
    letters += is_letter(point);
    numbers += is_number(point);
    both += is_letter(point) && is_number(point);
  }
  CHECK(letters == 131756);  // python3.11: sum(unicodedata.category(chr(c))[0] == "L" for c in range(0x110000))
  CHECK(numbers == 1791);
  CHECK(both == 0);
  for (const std::uint32_t point : {0x41u, 0x7Au, 0xAAu, 0xE9u, 0x3B1u, 0x4E2Du, 0xAC00u, 0x1D573u})
    CHECK(is_letter(point));
  for (const std::uint32_t point : {0x30u, 0xB2u, 0xBDu, 0x0660u, 0x2460u, 0x3007u}) CHECK(is_number(point));
  for (const std::uint32_t point : {0x20u, 0x5Fu, 0x40u, 0x5Bu, 0x300u, 0x2581u, 0x1F600u, 0x378u, 0xFFFFFFFFu}) {
    CHECK_FALSE(is_letter(point));
    CHECK_FALSE(is_number(point));
  }
}

TEST_CASE("strip removes white space at both ends only") {
  CHECK(strip(" \t\r\n\v\f a b \n") == "a b");
  CHECK(strip("\xC2\xA0\xE3\x80\x80x\xE2\x80\x89\xC2\x85\x1c") == "x");
  CHECK(strip("\xE2\x80\x8Bx\xE2\x80\x8B") == "\xE2\x80\x8Bx\xE2\x80\x8B");  // U+200B is no white space
  CHECK(strip(" \n ").empty());
  CHECK(strip("").empty());
  CHECK(strip("\x80 a \x80\x80\x80\x80\x80") == "\x80 a \x80\x80\x80\x80\x80");
}
