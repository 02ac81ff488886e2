// Bytes: every text without NUL comes back.
#include "qat/data/byte_tokenizer.hpp"

#include <doctest/doctest.h>

#include "support/files.hpp"

using namespace qat;

TEST_CASE("all bytes but NUL come back, BOS and EOS give nothing") {
  const ByteTokenizer tokenizer;
  std::string text;
  for (int byte = 1; byte < 256; ++byte) text += static_cast<char>(byte);
  const auto ids = tokenizer.encode(text, true);
  CHECK(ids.size() == 256);
  CHECK(ids[0] == tokenizer.bos_id());
  CHECK(ids[255] == 255);
  CHECK(tokenizer.decode(ids) == text);
  CHECK(tokenizer.encode("", false).empty());
  CHECK(tokenizer.vocab_size() == 256);
  QAT_CHECK_ERROR(tokenizer.encode(std::string("a\0b", 3), false), "byte 1", "NUL");
}
