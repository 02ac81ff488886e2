// Finding the tokenizer: by name, by directory, beside a model; and what is said when there is none.
#include "qat/data/load_tokenizer.hpp"

#include <doctest/doctest.h>

#include "support/data.hpp"
#include "support/files.hpp"

using namespace qat;
using qat::test::TempDir;

TEST_CASE("each kind is recognized by its name") {
  CHECK(std::string(load_tokenizer("bytes")->kind()) == "bytes");
  const TempDir dir;
  write_file(dir / "tokenizer.json", R"({"model":{"vocab":{"a":0},"merges":[]}})");
  CHECK(std::string(load_tokenizer(dir / "tokenizer.json")->kind()) == "tokenizer.json");
  CHECK(std::string(load_tokenizer(dir.path())->kind()) == "tokenizer.json");
  std::filesystem::remove(dir / "tokenizer.json");
  write_file(dir / "vocab.json", R"({"a":0,"b":1,"ab":2})");
  write_file(dir / "merges.txt", "#version: 0.2\na b\n");
  CHECK(load_tokenizer(dir.path())->encode("abab", false) == std::vector<std::int32_t>{2, 2});
}

TEST_CASE("where no tokenizer is, the message says what would be one") {
  const TempDir dir;
  QAT_CHECK_ERROR(load_tokenizer(dir.path()), "has no tokenizer", "tokenizer.json", ".model");
  QAT_CHECK_ERROR(load_tokenizer(dir / "none.json"), "none.json", "does not exist", "accepted");
  write_file(dir / "t.xyz", "");
  QAT_CHECK_ERROR(load_tokenizer(dir / "t.xyz"), "t.xyz", "accepted");
  QAT_CHECK_ERROR(load_model_tokenizer(dir / "m.bin", 512), "m.bin", "tok512.bin", "tokenizer.json");
}

TEST_CASE("the shared models find their tokenizers") {
  const auto data = test::shared_data("stories260K");
  if (!data) return;
  CHECK(std::string(load_model_tokenizer((*data / "stories260K.bin").string(), 512)->kind()) == "llama2.c");
  const auto hf = test::shared_data("stories260K-hf");
  if (!hf) return;
  CHECK(load_model_tokenizer(hf->string(), 512)->vocab_size() == 512);
#if defined(QAT_WITH_SENTENCEPIECE)
  CHECK(std::string(load_tokenizer((*data / "tok512.model").string())->kind()) == "sentencepiece");
#else
  QAT_CHECK_ERROR(load_tokenizer((*data / "tok512.model").string()), "without sentencepiece");
#endif
}
