// sentencepiece models give the ids that sentencepiece 0.2 gave.
#if defined(QAT_WITH_SENTENCEPIECE)
#include "qat/data/sentencepiece_tokenizer.hpp"
#endif

#include <doctest/doctest.h>

#include "qat/base/random.hpp"

#include "support/files.hpp"
#include "support/token_golden.hpp"

using namespace qat;

#if defined(QAT_WITH_SENTENCEPIECE)

TEST_CASE("sentencepiece models give the recorded ids and texts") {
  for (const auto& [model, golden] :
       {std::pair{"stories260K/tok512.model", "golden/tokenizers/tok512-model.json"},
        std::pair{"tokenizers/open_llama_3b.tokenizer.model", "golden/tokenizers/open_llama_3b-model.json"}}) {
    const auto path = test::shared_data(model), items = test::shared_data(golden);
    if (!path || !items) continue;
    const SentencePieceTokenizer tokenizer(path->string());
    CHECK(test::check_token_golden(tokenizer, items->string()) == 200);
    CHECK(tokenizer.bos_id() == 1);
    CHECK(tokenizer.encode("a", true).front() == 1);
    CHECK(tokenizer.token_bytes(1).empty());
    CHECK(tokenizer.token_bytes(3 + 10) == "\n");
    QAT_CHECK_ERROR(tokenizer.token_bytes(tokenizer.vocab_size()), "token id is");
  }
}

TEST_CASE("random texts and real ones get the ids that the library gives") {
  const auto path = test::shared_data("stories260K/tok512.model"), text = test::shared_data("tinystories/v2-valid.txt");
  if (!path || !text) return;
  const SentencePieceTokenizer tokenizer(path->string());
  sentencepiece::SentencePieceProcessor library;
  REQUIRE(library.Load(path->string()).ok());
  const auto expected = [&](const std::string& of) { return library.EncodeAsIds(of); };
  const std::string story = test::read_file(*text).substr(0, 20000);
  CHECK(tokenizer.encode(story, false) == expected(story));
  const char* parts[] = {" ",   "  ", "\n", "\xE2\x96\x81", "the", "\xC3\xA9", "\xE2\x80\x9C", "\xFF", "'s",
                         "<s>", "z",  "."};
  CounterRandom random(5);
  for (int round = 0; round < 500; ++round) {
    std::string mixed;
    for (std::uint32_t n = random.next_below(12); n > 0; --n) mixed += parts[random.next_below(std::size(parts))];
    INFO(printable(mixed));
    CHECK(tokenizer.encode(mixed, false) == expected(mixed));
  }
}

TEST_CASE("what is no sentencepiece model is named") {
  const test::TempDir dir;
  for (const char* bytes : {"", "not a model", "\x0a\xff"}) {
    test::write_bytes(dir / "t.model", bytes);
    QAT_CHECK_ERROR(SentencePieceTokenizer(dir / "t.model"), "t.model", "not a sentencepiece model");
  }
  QAT_CHECK_ERROR(SentencePieceTokenizer(dir / "none.model"), "none.model", "cannot open");
}

#else

TEST_CASE("sentencepiece models give the recorded ids and texts") {
  QAT_SKIP("sentencepiece", "built without libsentencepiece-dev");
}

#endif
