// llama2.c's tokenizer: ids that llama.cpp and Hugging Face give, and every way a file can be wrong.
#include "qat/data/llama2c_tokenizer.hpp"

#include <doctest/doctest.h>

#include "support/files.hpp"
#include "support/token_golden.hpp"

using namespace qat;
using qat::test::TempDir;

namespace {

void append(std::string& file, const void* data, std::size_t size) {
  file.append(static_cast<const char*>(data), size);
}

/// A tokenizer file with 259 fixed tokens, then `pieces` with their scores.
std::string tokenizer_file(const std::vector<std::pair<std::string, float>>& pieces, std::uint32_t max_length = 8) {
  std::vector<std::pair<std::string, float>> all = {{"<unk>", 0.0f}, {"\n<s>\n", 0.0f}, {"\n</s>\n", 0.0f}};
  for (int byte = 0; byte < 256; ++byte) {
    char name[8];
    std::snprintf(name, sizeof name, "<0x%02X>", static_cast<unsigned>(byte));
    all.push_back({name, 0.0f});
  }
  all.insert(all.end(), pieces.begin(), pieces.end());
  std::string file;
  append(file, &max_length, 4);
  for (const auto& [piece, score] : all) {
    const auto length = static_cast<std::uint32_t>(piece.size());
    append(file, &score, 4);
    append(file, &length, 4);
    file += piece;
  }
  return file;
}

}  // namespace

TEST_CASE("the pair of highest score merges first, the leftmost of equals") {
  const TempDir dir;
  test::write_bytes(dir / "t.bin",
                    tokenizer_file({{" ", -9}, {"a", -9}, {"b", -9}, {"ab", -2}, {"ba", -1}, {"aa", -3}, {" a", -5}}));
  const Llama2cTokenizer t(dir / "t.bin");
  CHECK(t.vocab_size() == 266);
  CHECK(t.encode("", false).empty());
  CHECK(t.encode("", true) == std::vector<std::int32_t>{1});
  CHECK(t.encode("aba", false) == std::vector<std::int32_t>{265, 263});       // " a", "ba"
  CHECK(t.encode("aaa", false) == std::vector<std::int32_t>{259, 264, 260});  // " ", "aa", "a"
  CHECK(t.encode("z\xC3\xA9", true) == std::vector<std::int32_t>{1, 259, 3 + 'z', 3 + 0xC3, 3 + 0xA9});
  CHECK(t.decode(t.encode("ab \xff z", true)) == "ab \xff z");
  CHECK(t.decode(t.encode(" ab", false)) == " ab");
  CHECK(t.token_bytes(1).empty());
  CHECK(t.token_bytes(3 + 'z') == "z");
}

TEST_CASE("tok512.bin gives llama.cpp's ids on every string of the golden set") {
  const auto tokenizer = test::shared_data("stories260K/tok512.bin"),
             golden = test::shared_data("golden/tokenizers/stories260K-hf.json");
  if (!tokenizer || !golden) return;
  const Llama2cTokenizer t(tokenizer->string());
  // The file compared with spells control tokens in text, and takes U+2581 for a space; this format does neither.
  const int compared = test::check_token_golden(t, golden->string(), [](const std::string& text) {
    for (const char* special : {"<s>", "</s>", "<unk>", "\xE2\x96\x81"})
      if (test::contains(text, special)) return false;
    return true;
  });
  CHECK(compared > 150);
}

TEST_CASE("each defect of a file is named") {
  const TempDir dir;
  const std::string good = tokenizer_file({{"a", 1.0f}});
  const auto error_with = [&](const std::string& bytes) {
    test::write_bytes(dir / "t.bin", bytes);
    const std::string message = test::error_of([&] { Llama2cTokenizer t(dir / "t.bin"); });
    CHECK((message == "(no error)" || test::contains(message, "t.bin")));
    return message;
  };
  CHECK(error_with(good) == "(no error)");
  CHECK(
      test::contains(error_with(""), "at byte 0: the max_token_length needs 4 bytes, the file has 0 more: truncated"));
  CHECK(test::contains(error_with(good.substr(0, good.size() - 1)), "of token 259 needs"));
  CHECK(error_with(good.substr(0, good.size() - 9)) == "(no error)");  // the format has no count: one token fewer
  CHECK(test::contains(error_with(good.substr(0, 101)), "of token 7 needs"));
  CHECK(test::contains(error_with(good.substr(0, 4 + 8 + 5)), "at byte 17: the file ends after 1 tokens"));
  CHECK(test::contains(error_with(good + "x"), "the score of token 260 needs 4 bytes, the file has 1 more"));
  CHECK(test::contains(error_with(tokenizer_file({}, 0)), "max_token_length is 0"));
  CHECK(test::contains(error_with(tokenizer_file({}, 5)), "token 2 has 6 bytes"));
  CHECK(test::contains(error_with(tokenizer_file({{"a", std::strtof("nan", nullptr)}})), "NaN"));
  std::string swapped = good;
  swapped[swapped.find("<0x41>") + 4] = '2';
  CHECK(test::contains(error_with(swapped), "token 68 is '<0x42>'"));
}
