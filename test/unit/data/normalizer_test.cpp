// Steps of a normalizer, in their order. Ids: bpe_tokenizer_test.
#include "qat/data/normalizer.hpp"

#include <doctest/doctest.h>

#include "support/files.hpp"

using namespace qat;

namespace {

Normalizer normalizer(const char* steps) {
  const Json json = Json::parse(std::string(R"({"normalizer":)") + steps + "}");
  return Normalizer(JsonFields(json, "t.json"));
}

}  // namespace

TEST_CASE("steps change text in their order, and nothing stays nothing") {
  CHECK(normalizer("null").apply("a b") == "a b");
  const auto both = normalizer(R"({"type":"Sequence","normalizers":[{"type":"Prepend","prepend":" "},
      {"type":"Replace","pattern":{"String":" "},"content":"__"}]})");
  CHECK(both.apply("a b") == "__a__b");
  CHECK(both.apply("").empty());
  CHECK(Normalizer::llama(true).apply("a b") ==
        "\xE2\x96\x81"
        "a\xE2\x96\x81"
        "b");
  CHECK(Normalizer::llama(false).apply(" a") ==
        "\xE2\x96\x81"
        "a");
  CHECK(Normalizer::llama(true).steps().size() == 2);
  CHECK(normalizer(R"({"type":"NFC"})").apply("e\xCC\x81") == "\xC3\xA9");
  QAT_CHECK_ERROR(normalizer(R"({"type":"Lowercase"})"), "t.json", "'Lowercase'", "Prepend, Replace");
}
