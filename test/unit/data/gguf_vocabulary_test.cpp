// A tokenizer that goes through GGUF gives the ids that it gave before; a foreign file gives those of its tokenizer.
#include "qat/data/gguf_vocabulary.hpp"

#include <doctest/doctest.h>

#include "qat/data/load_tokenizer.hpp"
#include "support/files.hpp"
#include "support/token_golden.hpp"

using namespace qat;
using qat::test::TempDir;

namespace {

/// The tokenizer written to a GGUF file without tensors and read again.
std::unique_ptr<Tokenizer> through_gguf(const Vocabulary& vocabulary, const std::string& path) {
  GgufMetadata metadata;
  metadata.add("general.architecture", "llama");
  add_vocabulary(metadata, vocabulary);
  write_gguf(path, metadata, {});
  return load_tokenizer(path);
}

void check_same(const Tokenizer& left, const Tokenizer& right, const std::string& text) {
  CHECK(left.encode(text, true) == right.encode(text, true));
  const auto ids = left.encode(text, false);
  CHECK(right.encode(text, false) == ids);
  CHECK(right.decode(ids) == left.decode(ids));
}

}  // namespace

TEST_CASE("llama.cpp's vocabulary of stories260K gives the ids of its other tokenizer files") {
  const auto path = test::shared_data("stories260K-gguf/stories260K-F32.gguf"),
             bin = test::shared_data("stories260K/tok512.bin"), text = test::shared_data("tinystories/v2-valid.txt"),
             golden = test::shared_data("golden/tokenizers/stories260K-hf.json");
  if (!path || !bin || !text || !golden) return;
  const auto gguf = load_tokenizer(path->string());
  const Llama2cTokenizer tok512(bin->string());
  CHECK(gguf->kind() == std::string("gguf"));
  check_same(tok512, *gguf, test::read_file(*text));
  CHECK(test::check_token_golden(*gguf, golden->string()) == 200);

  // And the other way: what is written of tok512.bin is what the file holds.
  const Vocabulary ours = tok512.vocabulary(), theirs = read_vocabulary(Gguf::open(path->string()));
  CHECK(ours.model == theirs.model);
  CHECK(ours.pre == theirs.pre);
  CHECK(ours.tokens == theirs.tokens);
  CHECK(ours.scores == theirs.scores);
  CHECK(ours.types == theirs.types);
  CHECK(std::tuple(ours.bos, ours.eos, ours.unknown, ours.add_bos, ours.add_eos, ours.add_space_prefix) ==
        std::tuple(theirs.bos, theirs.eos, theirs.unknown, theirs.add_bos, theirs.add_eos, theirs.add_space_prefix));
}

TEST_CASE("real tokenizers give the recorded ids after a way through GGUF") {
  const auto golden = test::shared_data("golden/tokenizers");
  if (!golden) return;
  const TempDir dir;
  const auto root = golden->parent_path().parent_path();
  for (const auto& [file, ids] : {std::pair{"stories260K-hf/tokenizer.json", "stories260K-hf.json"},
                                  std::pair{"tokenizers/phi3-llama-bpe.tokenizer.json", "phi3-llama-bpe.json"}}) {
    const auto gguf = through_gguf(load_tokenizer((root / file).string())->vocabulary(), dir / "t.gguf");
    CHECK(test::check_token_golden(*gguf, (*golden / ids).string()) == 200);
  }
  const auto gpt2 = BpeTokenizer::from_gpt2_files((root / "tokenizers/gpt2.vocab.json").string(),
                                                  (root / "tokenizers/gpt2.merges.txt").string());
  Vocabulary vocabulary = gpt2.vocabulary();
  CHECK(vocabulary.pre == "gpt-2");
  for (TokenType& type : vocabulary.types) type = TokenType::kNormal;  // <|endoftext|> is plain text there
  CHECK(test::check_token_golden(*through_gguf(vocabulary, dir / "gpt2.gguf"), (*golden / "gpt2.json").string()) ==
        200);
}

TEST_CASE("committed styles: the same ids after a way through GGUF, or a refusal that says why") {
  const TempDir dir;
  const Json golden = read_json((test::golden_dir() / "tokenizers/styles.json").string());
  int same = 0, refused = 0;
  for (const auto& entry : golden.at("styles").items()) {
    INFO(entry.key());
    write_file(dir / "tokenizer.json", entry.value().at("tokenizer").dump());
    const BpeTokenizer tokenizer(dir / "tokenizer.json");
    Vocabulary vocabulary;
    const std::string why = test::error_of([&] { vocabulary = tokenizer.vocabulary(); });
    if (why != "(no error)") {
      CHECK(test::contains(why, "no form in GGUF that gives the same ids"));
      ++refused;
      continue;
    }
    ++same;
    const auto gguf = through_gguf(vocabulary, dir / "t.gguf");
    for (const Json& item : entry.value().at("items")) {
      const auto text = item.at("text").get<std::string>();
      if (text.find('<') != text.npos) continue;  // added tokens that take spaces along
      INFO(printable(text));
      check_same(tokenizer, *gguf, text);
    }
  }
  MESSAGE(same << " styles, " << refused << " refused");
  CHECK(same >= 3);
}

TEST_CASE("a tokenizer of bytes goes through GGUF") {
  const TempDir dir;
  const ByteTokenizer bytes;
  check_same(bytes, *through_gguf(bytes.vocabulary(), dir / "t.gguf"), "caf\xC3\xA9 <s \xFF\n two  spaces");
}

TEST_CASE("tokens that end a turn or a message are named as llama.cpp names them") {
  Vocabulary vocabulary = ByteTokenizer().vocabulary();
  vocabulary.tokens[200] = "<|eom_id|>";
  set_end_tokens(vocabulary, std::vector<std::int32_t>{200, vocabulary.eos, 201, 202, 999});
  CHECK((vocabulary.eom == 200 && vocabulary.eot == 201));
  const TempDir dir;
  GgufMetadata metadata;
  add_vocabulary(metadata, vocabulary);
  write_gguf(dir / "t.gguf", metadata, {});
  const Vocabulary read = read_vocabulary(Gguf::open(dir / "t.gguf"));
  CHECK((read.eom == 200 && read.eot == 201));
}

TEST_CASE("a vocabulary that does not hold together is refused by key") {
  const TempDir dir;
  const std::string path = dir / "t.gguf";
  const auto error_with = [&](const auto& change) {
    Vocabulary vocabulary = ByteTokenizer().vocabulary();
    change(vocabulary);
    return test::error_of([&] { through_gguf(vocabulary, path); });
  };
  CHECK(error_with([](Vocabulary&) {}) == "(no error)");
  const auto expect = [&](const auto& change, const char* what) {
    const std::string message = error_with(change);
    INFO(message);
    CHECK(test::contains(message, "t.gguf"));
    CHECK(test::contains(message, what));
  };
  expect([](Vocabulary& v) { v.model = "bert"; }, "'bert'; accepted: llama, gpt2");
  expect([](Vocabulary& v) { v.scores.pop_back(); }, "'tokenizer.ggml.scores' has 255 elements; accepted: 256");
  expect([](Vocabulary& v) { v.scores[3] = std::nanf(""); }, "NaN");
  expect([](Vocabulary& v) { v.types.push_back(TokenType::kByte); }, "'tokenizer.ggml.token_type' has 257");
  expect([](Vocabulary& v) { v.types[1] = static_cast<TokenType>(7); }, "the type 7; accepted: 0 to 6");
  expect([](Vocabulary& v) { v.bos = 256; }, "'tokenizer.ggml.bos_token_id' is 256; accepted: 0 to 255");
  expect([](Vocabulary& v) { v.tokens[5] = v.tokens[4]; }, "has ids 4 and 5");
  expect([](Vocabulary& v) { v.tokens[5] = "x", v.unknown = -1; }, "neither token <0x00> nor an unknown token");
  expect([](Vocabulary& v) { v.model = "gpt2", v.merges = {"a b"}; }, "'pre' is 'default'; accepted: gpt-2");
  expect([](Vocabulary& v) { v.model = "gpt2", v.pre = "gpt-2", v.merges = {"a b"}; }, "'a' is not in the vocab");
  GgufMetadata unmerged;
  unmerged.add("tokenizer.ggml.model", "gpt2");
  unmerged.add("tokenizer.ggml.tokens", std::vector<std::string>{"a"});
  write_gguf(path, unmerged, {});
  CHECK(
      test::contains(test::error_of([&] { read_vocabulary(Gguf::open(path)); }), "'tokenizer.ggml.merges' is missing"));
}
