// The tokenizer without a vocabulary: one token per byte.
#pragma once

#include <string>

#include "qat/data/tokenizer.hpp"

namespace qat::inline v0 {

/// 256 ids, the bytes themselves; byte 0, which text never holds, is BOS and EOS.
class ByteTokenizer final : public Tokenizer {
 public:
  std::vector<std::int32_t> encode(std::string_view text, bool bos) const override {
    std::vector<std::int32_t> ids;
    ids.reserve(text.size() + 1);
    if (bos) ids.push_back(0);
    for (std::size_t i = 0; i < text.size(); ++i) {
      QAT_CHECK(text[i] != '\0', kInvalidArgument, "bytes tokenizer: byte ", i,
                " of the text is 0, which is the BOS token; accepted: text without NUL");
      ids.push_back(static_cast<unsigned char>(text[i]));
    }
    return ids;
  }
  std::string decode(std::span<const std::int32_t> ids, bool = false) const override {
    std::string text;
    for (const std::int32_t id : ids) text += token_bytes(id);
    return text;
  }
  std::string token_bytes(std::int32_t id) const override {
    check_id(id);
    return id == 0 ? std::string() : std::string(1, static_cast<char>(id));
  }
  std::int32_t vocab_size() const override { return 256; }
  std::int32_t bos_id() const override { return 0; }
  std::int32_t eos_id() const override { return 0; }
  const char* kind() const override { return "bytes"; }
  /// A U+2581 in a text is a space in llama.cpp.
  Vocabulary vocabulary() const override {
    Vocabulary out;
    out.model = "llama";
    out.pre = "default";
    out.bos = out.eos = out.unknown = 0;
    out.add_bos = true;
    for (int byte = 0; byte < 256; ++byte) {
      // Before llama.cpp falls back on bytes it writes U+2581 for a space.
      out.tokens.push_back(byte == 0 ? "<s>" : byte == ' ' ? "\xE2\x96\x81" : byte_token(byte));
      out.types.push_back(byte == 0 ? TokenType::kControl : byte == ' ' ? TokenType::kNormal : TokenType::kByte);
      out.scores.push_back(0.0f);
    }
    return out;
  }
};

}  // namespace qat::inline v0
