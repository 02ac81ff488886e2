// llama2.c's tokenizer.bin: a sentencepiece BPE vocabulary with scores.
// Source: https://github.com/karpathy/llama2.c, tokenizer.py export and run.c encode/decode.
#pragma once

#include <array>
#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include "qat/data/bpe_encoder.hpp"
#include "qat/data/text_split.hpp"
#include "qat/data/tokenizer.hpp"
#include "qat/io/file.hpp"

namespace qat::inline v0 {

/// "<0x0A>" gives 10; -1 for anything else.
inline int parse_byte_token(std::string_view piece) {
  if (piece.size() != 6 || !piece.starts_with("<0x") || piece[5] != '>') return -1;
  int value = 0;
  for (const char c : piece.substr(3, 2)) {
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

/// Ids 0 to 2 are unknown, BOS and EOS, 3 to 258 the bytes. Spaces are kept as they are (sentencepiece would squeeze
/// them).
class Llama2cTokenizer final : public Tokenizer {
 public:
  explicit Llama2cTokenizer(const std::string& path) {
    const MappedFile file(path);
    std::size_t position = 0;
    const auto take = [&](void* out, std::size_t size, const char* field) {
      const auto where = [&] {
        return concat(path, ": at byte ", position, ": the ", field, position == 0 ? "" : " of token ",
                      position == 0 ? "" : std::to_string(pieces_.size()));
      };
      QAT_CHECK(file.size() - position >= size, kBadFile, where().c_str(), " needs ", size, " bytes, the file has ",
                file.size() - position, " more: truncated, or no llama2.c tokenizer");
      if (size > 0) std::memcpy(out, file.data() + position, size);
      position += size;
    };
    std::uint32_t max_length = 0;
    take(&max_length, sizeof max_length, "max_token_length");
    QAT_CHECK(max_length > 0 && max_length <= 65536, kBadFile, path, ": max_token_length is ", max_length,
              "; accepted in a llama2.c tokenizer: 1 to 65536");
    while (position < file.size()) {
      float score = 0;
      std::uint32_t length = 0;
      take(&score, sizeof score, "score");
      take(&length, sizeof length, "length");
      QAT_CHECK(length <= max_length, kBadFile, path, ": token ", pieces_.size(), " has ", length,
                " bytes; accepted: at most max_token_length ", max_length);
      QAT_CHECK(score == score, kBadFile, path, ": token ", pieces_.size(), " has the score NaN");
      std::string piece(length, '\0');
      take(piece.data(), length, "text");
      scores_.push_back(score);
      pieces_.push_back(std::move(piece));
    }
    QAT_CHECK(pieces_.size() >= kFirstByte + 256, kBadFile, path, ": at byte ", file.size(), ": the file ends after ",
              pieces_.size(), " tokens; a llama2.c tokenizer has at least ", kFirstByte + 256);
    for (int byte = 0; byte < 256; ++byte) {
      const std::string& piece = pieces_[static_cast<std::size_t>(kFirstByte + byte)];
      QAT_CHECK(parse_byte_token(piece) == byte, kBadFile, path, ": token ", kFirstByte + byte, " is ",
                printable(piece), "; accepted: the token of byte ", byte);
    }
    std::array<std::int32_t, 256> byte_ids;
    std::iota(byte_ids.begin(), byte_ids.end(), kFirstByte);
    encoder_.set_byte_ids(byte_ids);
    for (std::size_t id = 0; id < pieces_.size(); ++id) encoder_.add_piece(pieces_[id], static_cast<std::int32_t>(id));
    encoder_.add_scored_merges([&](std::int32_t id) { return scores_[static_cast<std::size_t>(id)]; });
  }

  std::vector<std::int32_t> encode(std::string_view text, bool bos) const override {
    std::vector<std::int32_t> ids;
    if (bos) ids.push_back(bos_id());
    if (text.empty()) return ids;
    std::string prefixed;
    if (encoder_.find(" ") >= 0) text = prefixed = " " + std::string(text);  // sentencepiece's dummy prefix
    BpeEncoder::Session(encoder_).encode(text, ids);
    return ids;
  }

  std::string decode(std::span<const std::int32_t> ids, bool = false) const override {
    std::string text;
    bool first = true;
    for (const std::int32_t id : ids) {
      const std::string bytes = token_bytes(id);
      text += first && bytes.starts_with(' ') ? bytes.substr(1) : bytes;
      first = id == bos_id();
    }
    return text;
  }

  std::string token_bytes(std::int32_t id) const override {
    check_id(id);
    if (id == bos_id() || id == eos_id()) return {};
    if (id >= kFirstByte && id < kFirstByte + 256) return std::string(1, static_cast<char>(id - kFirstByte));
    return pieces_[static_cast<std::size_t>(id)];
  }

  std::int32_t vocab_size() const override { return static_cast<std::int32_t>(pieces_.size()); }
  std::int32_t bos_id() const override { return 1; }
  std::int32_t eos_id() const override { return 2; }
  const char* kind() const override { return "llama2.c"; }
  Vocabulary vocabulary() const override {
    Vocabulary out;
    out.model = "llama";
    out.pre = "default";
    out.bos = bos_id();
    out.eos = eos_id();
    out.unknown = 0;
    out.add_bos = true;
    out.add_space_prefix = encoder_.find(" ") >= 0;
    out.scores = scores_;
    for (std::int32_t id = 0; id < vocab_size(); ++id) {
      const std::string& piece = pieces_[static_cast<std::size_t>(id)];
      const bool byte = id >= kFirstByte && id < kFirstByte + 256;
      out.tokens.push_back(id == 0          ? "<unk>"
                           : id == bos_id() ? "<s>"
                           : id == eos_id() ? "</s>"
                                            : detail::replace_all(piece, " ", detail::kSpacePiece));
      out.types.push_back(id == 0           ? TokenType::kUnknown
                          : id < kFirstByte ? TokenType::kControl
                          : byte            ? TokenType::kByte
                                            : TokenType::kNormal);
    }
    return out;
  }

 private:
  static constexpr std::int32_t kFirstByte = 3;

  std::vector<std::string> pieces_;
  std::vector<float> scores_;
  BpeEncoder encoder_{Symbols::kContinuations};
};

}  // namespace qat::inline v0
