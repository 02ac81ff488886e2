// The stream protocol: documents, windows and batches; and what is said of data that does not do.
#include "qat/data/token_stream.hpp"

#include <doctest/doctest.h>

#include <set>

#include "qat/data/byte_tokenizer.hpp"
#include "qat/data/llama2c_tokenizer.hpp"
#include "support/data.hpp"
#include "support/files.hpp"

using namespace qat;
using qat::test::TempDir;

TEST_CASE("documents are split at the separator, stripped, and empty ones dropped") {
  const auto documents =
      split_documents("  one \n<|endoftext|>\n\n<|endoftext|>\ntwo\n<|endoftext|> x\n<|endoftext|>\n");
  REQUIRE(documents.size() == 2);
  CHECK(documents[0] == "one");
  CHECK(documents[1] == "two\n<|endoftext|> x");  // not a line of its own
  CHECK(split_documents("").empty());
  CHECK(split_documents("a").size() == 1);
  CHECK(split_documents("a;b;", ";").size() == 2);
}

TEST_CASE("the stream is BOS and the tokens of each document") {
  const ByteTokenizer tokenizer;
  const TokenStream stream = make_token_stream("ab\n<|endoftext|>\nc\n<|endoftext|>\n", tokenizer, 256, "text");
  CHECK(stream.tokens == std::vector<std::int32_t>{0, 'a', 'b', 0, 'c'});
  CHECK(stream.documents == 2);
  CHECK(stream.bytes == 3);
  CHECK(stream.words == 2);
}

TEST_CASE("words are what white space divides") {
  CHECK(count_words("") == 0);
  CHECK(count_words(" \n\t ") == 0);
  CHECK(count_words("one") == 1);
  CHECK(count_words(" two\r\n words.\t") == 2);
}

TEST_CASE("windows are whole, stride apart, and targets are one later") {
  std::vector<std::int32_t> tokens(23);
  for (int i = 0; i < 23; ++i) tokens[static_cast<std::size_t>(i)] = i;
  const TokenWindows windows = TokenWindows::contiguous(tokens, 4);
  CHECK(windows.count() == 5);  // 5 tokens at stride 4: the last starts at 16; one at 20 would need 25 tokens
  CHECK(windows.length() == 4);
  for (index_t w = 0; w < windows.count(); ++w)
    for (index_t i = 0; i < 4; ++i) {
      CHECK(windows.inputs(w)[static_cast<std::size_t>(i)] == 4 * w + i);
      CHECK(windows.targets(w)[static_cast<std::size_t>(i)] == 4 * w + i + 1);
    }
  CHECK(TokenWindows(std::span(tokens).first(5), 5, 4).count() == 1);
  CHECK(TokenWindows(std::span(tokens).first(21), 5, 4).count() == 5);
  CHECK(TokenWindows(std::span(tokens).first(20), 5, 4).count() == 4);
  QAT_CHECK_ERROR(TokenWindows(std::span(tokens).first(4), 5, 4, "valid.txt"), "valid.txt", "has 4 tokens", "needs 5");
  QAT_CHECK_ERROR(TokenWindows(tokens, 1, 1), "window is 1", "accepted");
  QAT_CHECK_ERROR(windows.inputs(5), "window 5 of 5");
}

TEST_CASE("a batch depends on seed and number alone, covers the stream, and stays inside it") {
  std::vector<std::int32_t> tokens(40);
  for (int i = 0; i < 40; ++i) tokens[static_cast<std::size_t>(i)] = i;
  const BatchSampler sampler(tokens, 3, 8, 7), same(tokens, 3, 8, 7), other(tokens, 3, 8, 8);
  std::int32_t a[24], a_next[24], b[24], b_next[24];
  same.sample(5, b, b_next);
  sampler.sample(100, a, a_next);
  sampler.sample(5, a, a_next);
  CHECK(std::equal(a, a + 24, b));
  CHECK(std::equal(a_next, a_next + 24, b_next));
  std::set<index_t> offsets;
  bool differs = false;
  for (std::uint64_t batch = 0; batch < 200; ++batch) {
    sampler.sample(batch, a, a_next);
    for (index_t row = 0; row < 3; ++row) {
      offsets.insert(sampler.offset(batch, row));
      differs = differs || sampler.offset(batch, row) != other.offset(batch, row);
      for (index_t i = 0; i < 8; ++i) {
        CHECK(a[row * 8 + i] == sampler.offset(batch, row) + i);
        CHECK(a_next[row * 8 + i] == a[row * 8 + i] + 1);
      }
    }
  }
  CHECK(differs);
  CHECK(offsets.size() == 32);  // 0 to 31: window 31 ends with the last token
  CHECK(*offsets.rbegin() == 31);
  QAT_CHECK_ERROR(BatchSampler(tokens, 3, 40, 7, "train.txt"), "train.txt", "has 40 tokens", "needs 41");
  QAT_CHECK_ERROR(BatchSampler(tokens, 0, 4, 7), "batch is 0", "accepted");
}

TEST_CASE("empty data and ids beyond the vocabulary are named") {
  const TempDir dir;
  const ByteTokenizer tokenizer;
  write_file(dir / "empty.txt", "");
  write_file(dir / "blank.txt", " \n\n<|endoftext|>\n \n");
  write_file(dir / "a.txt", "abc~");
  QAT_CHECK_ERROR(load_token_stream(dir / "empty.txt", tokenizer, 256), "empty.txt", "is empty", "accepted");
  QAT_CHECK_ERROR(load_token_stream(dir / "blank.txt", tokenizer, 256), "blank.txt", "no text", "accepted");
  QAT_CHECK_ERROR(load_token_stream(dir / "none.txt", tokenizer, 256), "none.txt", "cannot open");
  QAT_CHECK_ERROR(load_token_stream(dir / "a.txt", tokenizer, 100), "a.txt", "id 126", "0 to 99");
  CHECK(load_token_stream(dir / "a.txt", tokenizer, 127).tokens.size() == 5);
}

TEST_CASE("the shared stories give the recorded numbers of tokens") {
  const auto tok = test::shared_data("stories260K/tok512.bin");
  const auto valid = test::shared_data("tinystories/v2-valid.txt"),
             train = test::shared_data("tinystories/v2-train.txt");
  if (!tok || !valid || !train) return;
  const Llama2cTokenizer tokenizer(tok->string());
  CHECK(load_token_stream(train->string(), tokenizer, 512).tokens.size() == 590145);
  const MappedFile file(valid->string());
  index_t targets = 0, documents = 0, all = 0;
  for (const std::string_view document : split_documents(file.text())) {
    const auto ids = tokenizer.encode(document, true);
    targets += std::min<index_t>(static_cast<index_t>(ids.size()) - 1, 512);  // the model's context
    all += static_cast<index_t>(ids.size());
    ++documents;
  }
  CHECK(documents == 227);
  CHECK(targets == 83006);
  const TokenStream stream = load_token_stream(valid->string(), tokenizer, 512);
  CHECK(static_cast<index_t>(stream.tokens.size()) == all);
  CHECK(TokenWindows::contiguous(stream.tokens, 512).count() == 178);
}

TEST_CASE("a split has every document on one side, the same ones for a seed, and counts both sides") {
  const ByteTokenizer tokenizer;
  std::string text;
  for (int i = 0; i < 20; ++i) text += "document " + std::to_string(i) + "\n<|endoftext|>\n";
  const TokenStream whole = make_token_stream(text, tokenizer, tokenizer.vocab_size(), "t");
  const auto [train, valid] = split_token_stream(text, tokenizer, tokenizer.vocab_size(), "t", 0.2, 7);
  CHECK(train.documents == 16);
  CHECK(valid.documents == 4);
  CHECK(train.bytes + valid.bytes == whole.bytes);
  CHECK(train.words + valid.words == whole.words);
  std::multiset<std::int32_t> all(whole.tokens.begin(), whole.tokens.end()),
      parts(train.tokens.begin(), train.tokens.end());
  parts.insert(valid.tokens.begin(), valid.tokens.end());
  CHECK(all == parts);
  CHECK(split_token_stream(text, tokenizer, tokenizer.vocab_size(), "t", 0.2, 7).second.tokens == valid.tokens);
  CHECK(split_token_stream(text, tokenizer, tokenizer.vocab_size(), "t", 0.2, 8).second.tokens != valid.tokens);
  QAT_CHECK_ERROR(split_token_stream("one", tokenizer, tokenizer.vocab_size(), "some.txt", 0.2, 7), "some.txt", "two");
}
