// Words of byte-level tokenizers: the matches of each expression tile the text.
#include "qat/data/text_split.hpp"

#include <doctest/doctest.h>

#include "qat/base/random.hpp"

using namespace qat;
using qat::detail::SplitPattern;

namespace {

std::string split(std::string_view text, SplitPattern pattern) {
  const detail::PatternSplitter splitter(text, pattern);
  std::string out;
  for (std::size_t start = 0; start < text.size();) {
    const std::size_t end = splitter.match(start);
    REQUIRE(end > start);
    REQUIRE(end <= text.size());
    out += (start > 0 ? "|" : "") + std::string(text.substr(start, end - start));
    start = end;
  }
  return out;
}

}  // namespace

TEST_CASE("each expression cuts as the regular expression does") {
  CHECK(split("I'll go,  don't!", SplitPattern::kGpt2) == "I|'ll| go|,| | don|'t|!");
  CHECK(split("I'LL", SplitPattern::kGpt2) == "I|'|LL");
  CHECK(split("I'LL go", SplitPattern::kLlama3) == "I|'LL| go");
  CHECK(split("12345", SplitPattern::kGpt2) == "12345");
  CHECK(split("12345", SplitPattern::kLlama3) == "123|45");
  CHECK(split("123", SplitPattern::kQwen2) == "1|2|3");
  CHECK(split("a  \n\n  b", SplitPattern::kGpt2) == "a|  \n\n | b");
  CHECK(split("a  \n\n  b", SplitPattern::kLlama3) == "a|  \n\n| | b");
  CHECK(split("x!!\r\ny", SplitPattern::kLlama3) == "x|!!\r\n|y");
  CHECK(split("(abc)", SplitPattern::kLlama3) == "(abc|)");
  CHECK(split("end  ", SplitPattern::kGpt2) == "end|  ");
}

TEST_CASE("matches tile any bytes") {
  CounterRandom random(11);
  const std::string alphabet = " '\n\r\t.aZs7\xC3\xA9\xE2\x80\x83\xF0\x9F\x98\x80\xFF";
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    for (std::uint32_t n = random.next_below(20); n > 0; --n)
      text += alphabet[random.next_below(static_cast<std::uint32_t>(alphabet.size()))];
    for (const auto pattern : {SplitPattern::kGpt2, SplitPattern::kLlama3, SplitPattern::kQwen2}) split(text, pattern);
  }
}

TEST_CASE("the printable alphabet maps 256 bytes one to one and back") {
  std::string all, printable;
  for (int byte = 0; byte < 256; ++byte) {
    all += static_cast<char>(byte);
    append_utf8(printable, detail::byte_level_alphabet()[static_cast<std::size_t>(byte)]);
  }
  CHECK(detail::byte_level_to_bytes(printable) == all);
  CHECK(detail::byte_level_alphabet()[' '] == 0x120);
  CHECK(detail::byte_level_alphabet()[0] == 0x100);
  CHECK_FALSE(detail::byte_level_to_bytes("a b").has_value());
}

TEST_CASE("replacing covers every occurrence and leaves the rest") {
  CHECK(detail::replace_all("aXbXX", "X", "__") == "a__b____");
  CHECK(detail::replace_all("abc", "", "x") == "abc");
  CHECK(detail::replace_all("", "a", "b").empty());
}
