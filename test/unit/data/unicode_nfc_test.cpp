// Normal form C equals that of Python's unicodedata, and keeps bytes that are not UTF-8.
#include "qat/data/unicode_nfc.hpp"

#include <doctest/doctest.h>

#include "qat/io/json.hpp"
#include "support/data.hpp"

using namespace qat;

TEST_CASE("recorded strings have their recorded normal form, which is its own") {
  const Json golden = read_json((test::golden_dir() / "tokenizers/nfc.json").string());
  CHECK(golden.at("items").size() > 300);
  for (const Json& item : golden.at("items")) {
    const auto text = item.at(0).get<std::string>(), expected = item.at(1).get<std::string>();
    INFO(item.dump());
    CHECK(normalize_nfc(text) == expected);
    CHECK(normalize_nfc(expected) == expected);
  }
}

TEST_CASE("bytes that are not UTF-8 stay where they are") {
  for (const char* text : {"\xFF", "a\xCC", "\xCC\x81\xCC", "e\xFF\xCC\x81", "\xE2\x96"})
    CHECK(normalize_nfc(text) == text);
  CHECK(normalize_nfc("\xFF"
                      "e\xCC\x81") == "\xFF\xC3\xA9");
}
