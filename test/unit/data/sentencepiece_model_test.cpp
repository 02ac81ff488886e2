// The fields read from a serialized model, and bytes that are none.
#include "qat/data/sentencepiece_model.hpp"

#include <doctest/doctest.h>

#include <string>

#include "support/data.hpp"
#include "support/files.hpp"

using namespace qat;

TEST_CASE("fields of a model, in any order and with others between") {
  using namespace std::string_literals;
  // A piece "a" with a score; trainer_spec with model_type 2; normalizer_spec without dummy prefix and squeezing.
  const std::string piece = "\x0A\x08\x0A\x01\x61\x15\x00\x00\x00\x00"s, trainer = "\x12\x05\x18\x02\x20\x80\x04"s,
                    normalizer = "\x1A\x07\x0A\x01i\x18\x00\x20\x00"s;
  for (const std::string& bytes : {piece + trainer + normalizer, normalizer + piece + trainer}) {
    const SentencePieceModel model = read_sentencepiece_model(bytes, "m");
    CHECK(model.bpe);
    CHECK(model.plain_pieces);
    CHECK_FALSE(model.has_rules);
    CHECK_FALSE(model.dummy_prefix);
    CHECK_FALSE(model.remove_extra_whitespaces);
    CHECK(model.escape_whitespaces);
  }
  CHECK_FALSE(read_sentencepiece_model("\x0A\x05\x0A\x01\x61\x18\x04"s, "m").plain_pieces);  // user defined
  CHECK(read_sentencepiece_model("\x1A\x03\x12\x01x"s, "m").has_rules);
}

TEST_CASE("bytes that end inside a field, or hold no field, are no model: their place is named") {
  using namespace std::string_literals;
  for (const std::string& bytes : {"\x0A\x05\x61"s, "\x0A"s, "\x0F"s, "\x12\x02\x18\x80"s, std::string(11, '\xFF'),
                                   "\x0A\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01"s})
    QAT_CHECK_ERROR(read_sentencepiece_model(bytes, "m.model"), "m.model", "at byte 0", "0 whole pieces");
  QAT_CHECK_ERROR(read_sentencepiece_model("\x0A\x03\x0A\x01\x61\x0A\x05"s, "m"), "at byte 5", "1 whole pieces");
}

TEST_CASE("a real model is of the common kind") {
  const auto path = test::shared_data("stories260K/tok512.model");
  if (!path) return;
  const SentencePieceModel model = read_sentencepiece_model(test::read_file(*path), "m");
  CHECK(model.bpe);
  CHECK(model.plain_pieces);
  CHECK(model.dummy_prefix);
  CHECK(model.remove_extra_whitespaces);
}
