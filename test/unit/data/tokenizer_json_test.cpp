// A vocabulary written as tokenizer.json gives the ids that it gives itself.
#include "qat/data/tokenizer_json.hpp"

#include <doctest/doctest.h>

#include "qat/data/load_tokenizer.hpp"
#include "support/data.hpp"
#include "support/files.hpp"

using namespace qat;
using qat::test::TempDir;

namespace {

/// Written and read again, with tokenizer_config.json.
std::unique_ptr<Tokenizer> through_json(const Vocabulary& vocabulary, const TempDir& dir) {
  test::write_bytes(dir / "tokenizer.json", tokenizer_json_text(vocabulary, "v"));
  test::write_bytes(dir / "tokenizer_config.json", tokenizer_config_text(vocabulary));
  return load_tokenizer(dir / "tokenizer.json");
}

void check_same(const Vocabulary& vocabulary, const std::vector<std::string>& texts) {
  const TempDir dir;
  const BpeTokenizer held = BpeTokenizer::from_vocabulary(vocabulary, "v");
  const auto json = through_json(vocabulary, dir);
  CHECK(std::tuple(json->bos_id(), json->eos_id(), json->vocab_size()) ==
        std::tuple(held.bos_id(), held.eos_id(), held.vocab_size()));
  for (const std::string& text : texts) {
    INFO(printable(text));
    const auto ids = held.encode(text, false);
    CHECK(json->encode(text, false) == ids);
    CHECK(json->decode(ids) == held.decode(ids));
  }
}

}  // namespace

TEST_CASE("the committed styles give the same ids as tokenizer.json made of their vocabularies") {
  const Json golden = read_json((test::golden_dir() / "tokenizers/styles.json").string());
  int same = 0;
  for (const auto& entry : golden.at("styles").items()) {
    INFO(entry.key());
    const TempDir dir;
    test::write_bytes(dir / "tokenizer.json", entry.value().at("tokenizer").dump());
    const BpeTokenizer tokenizer(dir / "tokenizer.json");
    Vocabulary vocabulary;
    if (test::error_of([&] { vocabulary = tokenizer.vocabulary(); }) != "(no error)") continue;  // no form in GGUF
    std::vector<std::string> texts;
    for (const Json& item : entry.value().at("items")) texts.push_back(item.at("text").get<std::string>());
    check_same(vocabulary, texts);
    ++same;
  }
  CHECK(same >= 3);
}

TEST_CASE("scores become the list of merges that orders them, with bytes to fall back on and a space before text") {
  Vocabulary vocabulary;
  vocabulary.model = "llama";
  vocabulary.pre = "default";
  vocabulary.tokens = {"<unk>", "<s>", "</s>"};
  vocabulary.types = {TokenType::kUnknown, TokenType::kControl, TokenType::kControl};
  for (int byte = 0; byte < 256; ++byte) {
    vocabulary.tokens.push_back("<0x" + std::string(1, "0123456789ABCDEF"[byte / 16]) + "0123456789ABCDEF"[byte % 16] +
                                ">");
    vocabulary.types.push_back(TokenType::kByte);
  }
  vocabulary.scores.assign(259, 0.0f);
  for (const char* token : {"\xE2\x96\x81t", "he", "\xE2\x96\x81the", "th", "the", "\xE2\x96\x81", "t", "h", "e",
                            "\xC3\xA9", "\xC3\xA9\x65"}) {
    vocabulary.scores.push_back(-static_cast<float>(vocabulary.tokens.size()));
    vocabulary.tokens.push_back(token);
    vocabulary.types.push_back(TokenType::kNormal);
  }
  vocabulary.unknown = 0;
  vocabulary.bos = 1;
  vocabulary.eos = 2;
  for (const bool prefix : {false, true}) {
    vocabulary.add_bos = vocabulary.add_space_prefix = prefix;
    check_same(vocabulary, {"", "the", " the  thethe", "t he\n", "caf\xC3\xA9 the<s>the", "<unk>h"});
  }
}

TEST_CASE("scores that no list of merges stands for are refused by token") {
  Vocabulary vocabulary;
  vocabulary.model = "llama";
  vocabulary.tokens = {"a", "b", "c", "ab", "bc"};
  vocabulary.types.assign(5, TokenType::kNormal);
  vocabulary.scores.assign(5, -1.0f);
  QAT_CHECK_ERROR(tokenizer_json_text(vocabulary, "v.gguf"), "v.gguf", "no form in tokenizer.json", "have one score");
  vocabulary.scores.back() = -2.0f;
  CHECK(test::contains(tokenizer_json_text(vocabulary, "v"), "merges"));
  vocabulary.tokens.back() = "d\xC3\xA9";
  QAT_CHECK_ERROR(tokenizer_json_text(vocabulary, "v.gguf"), "a character of token", "is no token");
}
