// The interface: ids outside the vocabulary are refused by every tokenizer with the accepted range.
#include "qat/data/tokenizer.hpp"

#include <doctest/doctest.h>

#include "qat/data/byte_tokenizer.hpp"
#include "support/files.hpp"

using namespace qat;

TEST_CASE("ids outside the vocabulary are named with the accepted range") {
  const ByteTokenizer bytes;
  const Tokenizer& tokenizer = bytes;
  const std::int32_t ids[] = {72, 256};
  QAT_CHECK_ERROR(tokenizer.decode(ids), "token id is 256", "0 to 255");
  QAT_CHECK_ERROR(tokenizer.token_bytes(-1), "token id is -1", "0 to 255");
}
