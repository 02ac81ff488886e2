// Decoders of tokenizer.json, step by step.
#include "qat/data/token_decoder.hpp"

#include <doctest/doctest.h>

#include "support/files.hpp"

using namespace qat;

namespace {

TokenDecoder decoder(const char* text) {
  const Json json = {{"decoder", Json::parse(text)}};
  return TokenDecoder(JsonFields(json, "tokenizer.json"));
}

}  // namespace

TEST_CASE("each step does what its name says") {
  CHECK(decoder("null").decode({"a", "b"}) == "a b");
  CHECK(decoder(R"({"type":"Replace","pattern":{"String":"_"},"content":" "})").decode({"_a", "b_"}) == " ab ");
  CHECK(decoder(R"({"type":"ByteFallback"})").decode({"<0xC3>", "<0xA9>", "<0x0a>", "x"}) == "\xC3\xA9<0x0a>x");
  CHECK(decoder(R"({"type":"ByteLevel"})").decode({"\xC4\xA0", "a", "<\xE2\x96\x81>"}) == " a<\xE2\x96\x81>");
  CHECK(decoder(R"({"type":"Metaspace","prepend_scheme":"first"})").decode({"\xE2\x96\x81", "a\xE2\x96\x81", "b"}) ==
        "a b");
  CHECK(decoder(R"({"type":"Metaspace","prepend_scheme":"never"})").decode({"\xE2\x96\x81", "a"}) == " a");
  const char* strip =
      R"({"type":"Sequence","decoders":[{"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":2}]})";
  CHECK(decoder(strip).decode({" ", " a ", "  "}) == " a ");
  CHECK(TokenDecoder::byte_level().decode({"\xC4\x8A"}) == "\n");
}

TEST_CASE("an unknown step is refused") {
  QAT_CHECK_ERROR(decoder(R"({"type":"CTC"})"), "tokenizer.json", "'CTC'", "ByteFallback");
  QAT_CHECK_ERROR(decoder(R"({"type":"Strip","content":" "})"), "'start'", "missing");
}
