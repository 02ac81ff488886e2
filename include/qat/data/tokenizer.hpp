// What every tokenizer does: text to token ids and back.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "qat/base/check.hpp"
#include "qat/data/vocabulary.hpp"

namespace qat::inline v0 {

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  /// Ids of the text (UTF-8; other bytes survive where the vocabulary can hold them), after bos_id() if `bos`.
  virtual std::vector<std::int32_t> encode(std::string_view text, bool bos) const = 0;
  /// Text of the ids; control tokens (BOS, EOS ...) give nothing unless `keep_special` and the vocabulary spells them.
  virtual std::string decode(std::span<const std::int32_t> ids, bool keep_special = false) const = 0;
  /// What one token adds in the middle of a text: for output token by token, and for counting bytes. "" for control
  /// tokens.
  virtual std::string token_bytes(std::int32_t id) const = 0;
  /// Ids are 0 to vocab_size() - 1.
  virtual std::int32_t vocab_size() const = 0;
  virtual std::int32_t bos_id() const = 0;  ///< -1: none
  virtual std::int32_t eos_id() const = 0;  ///< -1: none
  /// "llama2.c", "sentencepiece", "tokenizer.json", "gguf" or "bytes".
  virtual const char* kind() const = 0;
  /// The tokenizer as GGUF keeps it.
  /// @throws qat::Error (kUnsupported) if llama.cpp would give other ids
  virtual Vocabulary vocabulary() const { raise(ErrorCode::kUnsupported, kind(), " tokenizer: has no form in GGUF"); }

 protected:
  Tokenizer() = default;
  Tokenizer(const Tokenizer&) = default;
  Tokenizer& operator=(const Tokenizer&) = default;

  /// <0x0A> for 10.
  static std::string byte_token(int byte) {
    constexpr char kHex[] = "0123456789ABCDEF";
    return std::string("<0x") + kHex[byte >> 4] + kHex[byte & 15] + ">";
  }

  void check_id(std::int32_t id) const {
    QAT_CHECK(id >= 0 && id < vocab_size(), kInvalidArgument, kind(), " tokenizer: token id is ", id,
              "; accepted: 0 to ", vocab_size() - 1);
  }
};

}  // namespace qat::inline v0
