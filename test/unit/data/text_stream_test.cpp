// Text token by token: the pieces are the text, and each ends with a whole character.
#include "qat/data/text_stream.hpp"

#include <doctest/doctest.h>

#include "qat/data/bpe_tokenizer.hpp"
#include "qat/data/byte_tokenizer.hpp"
#include "qat/data/load_tokenizer.hpp"
#include "support/files.hpp"
#include "support/token_golden.hpp"

using namespace qat;
using qat::test::TempDir;

namespace {

/// Whether the text ends inside a character.
bool ends_inside(const std::string& text) {
  std::size_t i = 0;
  while (i < text.size()) {
    const auto byte = static_cast<unsigned char>(text[i]);
    i += byte < 0xC0 ? 1u : byte < 0xE0 ? 2u : byte < 0xF0 ? 3u : 4u;
  }
  return i > text.size();
}

/// Checks the laws on the ids of one text; the number of pieces.
int check_pieces(const Tokenizer& tokenizer, const std::vector<std::int32_t>& ids) {
  TextStream stream(tokenizer);
  std::string text;
  int pieces = 0;
  for (const std::int32_t id : ids) {
    const std::string piece = stream.push(id);
    pieces += !piece.empty();
    text += piece;
    CHECK_FALSE(ends_inside(text));
  }
  text += stream.finish();
  CHECK(text == tokenizer.decode(ids));
  return pieces;
}

int check_golden_items(const Tokenizer& tokenizer, const Json& items) {
  int pieces = 0;
  for (const Json& item : items) {
    INFO(item.at("text").dump());
    pieces += check_pieces(tokenizer, item.at("ids").get<std::vector<std::int32_t>>());
  }
  return pieces;
}

}  // namespace

TEST_CASE("the pieces of every style of tokenizer.json make the text, and end with whole characters") {
  const TempDir dir;
  const Json golden = read_json((test::golden_dir() / "tokenizers/styles.json").string());
  for (const auto& entry : golden.at("styles").items()) {
    INFO(entry.key());
    write_file(dir / "tokenizer.json", entry.value().at("tokenizer").dump());
    CHECK(check_golden_items(BpeTokenizer(dir / "tokenizer.json"), entry.value().at("items")) > 50);
  }
}

TEST_CASE("the pieces of real tokenizers make the text, and end with whole characters") {
  for (const auto& [name, golden] : {std::pair{"stories260K-hf", "golden/tokenizers/stories260K-hf.json"},
                                     std::pair{"stories260K/tok512.bin", "golden/tokenizers/stories260K-hf.json"},
                                     std::pair{"stories260K/tok512.model", "golden/tokenizers/stories260K-hf.json"}}) {
    const auto path = test::shared_data(name), items = test::shared_data(golden);
    if (!path || !items) continue;
#if !defined(QAT_WITH_SENTENCEPIECE)
    if (path->extension() == ".model") continue;
#endif
    INFO(path->string());
    CHECK(check_golden_items(*load_tokenizer(path->string()), read_json(items->string()).at("items")) > 200);
  }
}

TEST_CASE("a character that is never completed comes at the end, and a long text keeps a short window") {
  const ByteTokenizer bytes;
  TextStream stream(bytes);
  CHECK(stream.push('a') == "a");
  CHECK(stream.push(0xE2) == "");
  CHECK(stream.push(0x82) == "");
  CHECK(stream.push(0xAC) == "\xE2\x82\xAC");
  CHECK(stream.push(0xC3) == "");
  CHECK(stream.push('b') ==
        "\xC3"
        "b");  // no character: bytes stay what they are
  CHECK(stream.push(0xF0) == "");
  CHECK(stream.finish() == "\xF0");
  CHECK(stream.finish().empty());
  CHECK(stream.push('c') == "c");

  struct Counting final : Tokenizer {  // how many ids are decoded at once, at most
    mutable std::size_t most = 0;
    ByteTokenizer bytes;
    std::vector<std::int32_t> encode(std::string_view text, bool bos) const override { return bytes.encode(text, bos); }
    std::string decode(std::span<const std::int32_t> ids, bool keep) const override {
      most = std::max(most, ids.size());
      return bytes.decode(ids, keep);
    }
    std::string token_bytes(std::int32_t id) const override { return bytes.token_bytes(id); }
    std::int32_t vocab_size() const override { return 256; }
    std::int32_t bos_id() const override { return 0; }
    std::int32_t eos_id() const override { return 0; }
    const char* kind() const override { return "counting"; }
  } counting;
  TextStream long_text(counting);
  for (int i = 0; i < 1000; ++i) CHECK(long_text.push('a' + i % 20).size() == 1);
  CHECK(counting.most <= 2);
}
