// tokenizer.json: ids equal to the `tokenizers` package for every supported style, and a refusal for everything else.
#include "qat/data/bpe_tokenizer.hpp"

#include <doctest/doctest.h>

#include "support/files.hpp"
#include "support/token_golden.hpp"

using namespace qat;
using qat::test::TempDir;

TEST_CASE("every style gives the recorded ids and texts (committed goldens)") {
  const TempDir dir;
  const Json golden = read_json((test::golden_dir() / "tokenizers/styles.json").string());
  CHECK(golden.at("styles").size() == 8);
  for (const auto& entry : golden.at("styles").items()) {
    const std::string& name = entry.key();  // a structured binding cannot be captured by clang 14
    const auto& style = entry.value();
    INFO(name);
    write_file(dir / "tokenizer.json", style.at("tokenizer").dump());
    write_file(dir / "items.json", style.dump());
    const BpeTokenizer tokenizer(dir / "tokenizer.json");
    CHECK(test::check_token_golden(tokenizer, dir / "items.json") >= 50);
  }
}

TEST_CASE("both spellings of merges give the same tokenizer") {
  const TempDir dir;
  const Json golden = read_json((test::golden_dir() / "tokenizers/styles.json").string());
  Json file = golden.at("styles").at("gpt2").at("tokenizer");
  write_file(dir / "pairs.json", file.dump());
  for (Json& merge : file["model"]["merges"]) {
    REQUIRE(merge.is_array());
    merge = merge[0].get<std::string>() + " " + merge[1].get<std::string>();
  }
  write_file(dir / "strings.json", file.dump());
  const BpeTokenizer pairs(dir / "pairs.json"), strings(dir / "strings.json");
  for (const Json& item : golden["styles"]["gpt2"]["items"]) {
    const auto text = item["text"].get<std::string>();
    CHECK(pairs.encode(text, false) == strings.encode(text, false));
  }
}

TEST_CASE("real tokenizers give the recorded ids and texts") {
  for (const auto& [file, golden] :
       {std::pair{"stories260K-hf/tokenizer.json", "golden/tokenizers/stories260K-hf.json"},
        std::pair{"tokenizers/phi3-llama-bpe.tokenizer.json", "golden/tokenizers/phi3-llama-bpe.json"}}) {
    const auto path = test::shared_data(file), items = test::shared_data(golden);
    if (!path || !items) continue;
    const BpeTokenizer tokenizer(path->string());
    CHECK(test::check_token_golden(tokenizer, items->string()) == 200);
    CHECK(tokenizer.bos_id() == 1);
    CHECK(tokenizer.eos_id() == 2);
  }
}

TEST_CASE("gpt2 from its two files gives the recorded ids and texts, and llama.cpp's strings") {
  const auto vocab = test::shared_data("tokenizers/gpt2.vocab.json"),
             merges = test::shared_data("tokenizers/gpt2.merges.txt");
  const auto golden = test::shared_data("golden/tokenizers/gpt2.json"),
             input = test::shared_data("tokenizers/llamacpp-tests.inp");
  if (!vocab || !merges || !golden || !input) return;
  const BpeTokenizer gpt2 = BpeTokenizer::from_gpt2_files(vocab->string(), merges->string());
  CHECK(gpt2.vocab_size() == 50257);
  CHECK(gpt2.bos_id() == 50256);
  CHECK(test::check_token_golden(gpt2, golden->string()) == 200);
  CHECK(test::check_llamacpp_tests(gpt2, input->string(), (input->parent_path() / "gpt2.out").string()) == 47);
  const BpeTokenizer phi3((input->parent_path() / "phi3-llama-bpe.tokenizer.json").string());
  CHECK(test::check_llamacpp_tests(phi3, input->string(), (input->parent_path() / "phi3-spm.out").string()) == 47);
  const std::string bytes = "\xff\x80 not UTF-8 \xe2\x96";
  CHECK(gpt2.decode(gpt2.encode(bytes, false)) == bytes);
  CHECK(phi3.decode(phi3.encode(bytes, true)) == bytes);
}

TEST_CASE("token bytes add up to the text") {
  const TempDir dir;
  const Json golden = read_json((test::golden_dir() / "tokenizers/styles.json").string());
  for (const char* style : {"gpt2", "llama3", "llama-normalizer"}) {
    write_file(dir / "tokenizer.json", golden["styles"][style]["tokenizer"].dump());
    const BpeTokenizer tokenizer(dir / "tokenizer.json");
    std::string text;
    for (const std::int32_t id : tokenizer.encode("Once upon a caf\xC3\xA9, \xF0\x9F\x98\x80!", true))
      text += tokenizer.token_bytes(id);
    CHECK(text.substr(text[0] == ' ') == "Once upon a caf\xC3\xA9, \xF0\x9F\x98\x80!");
  }
}

TEST_CASE("what cannot be done faithfully is refused by name") {
  const TempDir dir;
  const char* base =
      R"({"added_tokens":[{"id":3,"content":"<s>","special":true}],"normalizer":null,"pre_tokenizer":null,
    "post_processor":null,"decoder":null,"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]}})";
  const auto error_with = [&](const char* pointer, const char* value) {
    Json json = Json::parse(base);
    json[Json::json_pointer(pointer)] = Json::parse(value);
    write_file(dir / "tokenizer.json", json.dump());
    return test::error_of([&] { BpeTokenizer t(dir / "tokenizer.json"); });
  };
  CHECK(error_with("/version", "\"1.0\"") == "(no error)");
  const struct {
    const char *pointer, *value, *found, *accepted;
  } cases[] = {
      {"/model/type", "\"Unigram\"", "'Unigram'", "BPE"},
      {"/model/dropout", "0.1", "'dropout' is 0.1", "0 or null"},
      {"/model/continuing_subword_prefix", "\"##\"", "'##'", "none"},
      {"/model/end_of_word_suffix", "\"</w>\"", "'</w>'", "none"},
      {"/model/unk_token", "\"<unk>\"", "'<unk>'", "not in the vocab"},
      {"/model/vocab", "[]", "'vocab' is []", "an object"},
      {"/model/vocab/c", "1", "both have id 1", "'c'"},
      {"/model/vocab/c", "-1", "id -1", "0 to"},
      {"/model/vocab/c", "99999999999", "id 99999999999", "0 to"},
      {"/model/vocab/c", "\"x\"", "'c'", "an integer"},
      {"/model/merges", "[\"a c\"]", "merge 0", "'c' is not in the vocab"},
      {"/model/merges", "[\"b a\"]", "merge 0", "'ba' is not in the vocab"},
      {"/model/merges", "[\"a b c\"]", "'a b c'", "accepted: \"a b\""},
      {"/model/merges", "[[\"a\"]]", "[\"a\"]", "accepted: \"a b\""},
      {"/model/merges", "3", "'merges' is 3", "an array"},
      {"/normalizer", "{\"type\":\"NFKC\"}", "'NFKC'", "Prepend, Replace"},
      {"/normalizer", "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"x\"},\"content\":\"\"}", "'pattern'", "String"},
      {"/normalizer", "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Lowercase\"}]}", "'Lowercase'",
       "Prepend, Replace"},
      {"/pre_tokenizer", "{\"type\":\"Whitespace\"}", "'Whitespace'", "ByteLevel"},
      {"/pre_tokenizer", "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"\\\\w+\"},\"behavior\":\"Isolated\"}", "w+'",
       "Llama 3"},
      {"/pre_tokenizer", "{\"type\":\"Metaspace\",\"prepend_scheme\":\"maybe\"}", "'maybe'", "always, first, never"},
      {"/decoder", "{\"type\":\"WordPiece\"}", "'WordPiece'", "ByteFallback"},
      {"/post_processor", "{\"type\":\"BertProcessing\"}", "'BertProcessing'", "TemplateProcessing"},
      {"/added_tokens/0/id", "1", "both have id 1", "'<s>'"},
      {"/added_tokens/0/content", "\"a\"", "'a' has ids 0 and 3", ""},
      {"/added_tokens/0/content", "\"\"", "without content", ""},
  };
  for (const auto& c : cases) {
    const std::string message = error_with(c.pointer, c.value);
    INFO(c.pointer << " = " << c.value << ": " << message);
    CHECK(test::contains(message, "tokenizer.json"));
    CHECK(test::contains(message, c.found));
    CHECK(test::contains(message, c.accepted));
  }
  for (const char* text : {"", "{", "[]", "{}", "{\"model\":{}}"}) {
    write_file(dir / "tokenizer.json", text);
    QAT_CHECK_ERROR(BpeTokenizer(dir / "tokenizer.json"), "tokenizer.json");
  }
}

TEST_CASE("tokenizer_config.json names BOS and EOS, as a string or an object") {
  const TempDir dir;
  write_file(dir / "tokenizer.json", R"({"model":{"vocab":{"a":0,"<x>":1,"<y>":2},"merges":[]}})");
  CHECK(BpeTokenizer(dir / "tokenizer.json").bos_id() == -1);
  write_file(dir / "tokenizer_config.json", R"({"bos_token":"<x>","eos_token":{"content":"<y>"}})");
  CHECK(BpeTokenizer(dir / "tokenizer.json").bos_id() == 1);
  CHECK(BpeTokenizer(dir / "tokenizer.json").eos_id() == 2);
  write_file(dir / "tokenizer_config.json", R"({"bos_token":"<z>"})");
  QAT_CHECK_ERROR(BpeTokenizer(dir / "tokenizer.json"), "tokenizer_config.json", "'bos_token'", "'<z>'");
}
