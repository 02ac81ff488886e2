// Words of a text for each step, and several together. Ids: bpe_tokenizer_test.
#include "qat/data/pre_tokenizer.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "support/files.hpp"

using namespace qat;

namespace {

using Words = std::vector<std::string>;

Words words(const char* steps, std::string_view text, bool first = true) {
  const Json json = Json::parse(std::string(R"({"pre_tokenizer":)") + steps + "}");
  Words out;
  PreTokenizer(JsonFields(json, "t.json")).for_each_word(text, first, [&](std::string_view word) {
    out.emplace_back(word);
  });
  return out;
}

}  // namespace

TEST_CASE("steps cut text, one after the other") {
  CHECK(words("null", "a b") == Words{"a b"});
  CHECK(words("null", "").empty());
  CHECK(words(R"({"type":"ByteLevel","add_prefix_space":false})", "a b12") == Words{"a", " b", "12"});
  CHECK(words(R"({"type":"ByteLevel"})", "a b") == Words{" a", " b"});
  CHECK(words(R"({"type":"Digits","individual_digits":true})", "ab12 3") == Words{"ab", "1", "2", " ", "3"});
  CHECK(words(R"({"type":"Digits"})", "12\xC2\xB2x") == Words{"12\xC2\xB2", "x"});
  CHECK(words(R"({"type":"Sequence","pretokenizers":[{"type":"Digits","individual_digits":true},
                 {"type":"ByteLevel","add_prefix_space":false}]})",
              "a 12") == Words{"a", " ", "1", "2"});
  const char* metaspace = R"({"type":"Metaspace","replacement":"_","prepend_scheme":"first"})";
  CHECK(words(metaspace, "a b") == Words{"_a", "_b"});
  CHECK(words(metaspace, "a b", false) == Words{"a", "_b"});
}

TEST_CASE("steps that cannot be done are refused") {
  QAT_CHECK_ERROR(words(R"({"type":"Metaspace","replacement":""})", "a"), "t.json", "'replacement' is empty");
  QAT_CHECK_ERROR(words(R"({"type":"Sequence","pretokenizers":[{"type":"ByteLevel"},{"type":"Digits"}]})", "a"),
                  "'Digits'", "ByteLevel last");
  QAT_CHECK_ERROR(words(R"({"type":"Punctuation"})", "a"), "'Punctuation'", "Digits");
}
