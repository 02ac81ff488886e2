// sentencepiece .model files, through libsentencepiece. The only header that needs it: compile users with
// -DQAT_WITH_SENTENCEPIECE and link -lsentencepiece.
#pragma once

#include <sentencepiece_processor.h>

#include <string>

#include "qat/data/llama2c_tokenizer.hpp"  // parse_byte_token
#include "qat/data/tokenizer.hpp"
#include "qat/io/file.hpp"

namespace qat::inline v0 {

class SentencePieceTokenizer final : public Tokenizer {
 public:
  explicit SentencePieceTokenizer(const std::string& path) {
    const MappedFile file(path);  // before the library sees it: its own message for a missing file has no reason
    const auto status = processor_.LoadFromSerializedProto({reinterpret_cast<const char*>(file.data()), file.size()});
    QAT_CHECK(status.ok() && processor_.GetPieceSize() > 0, kBadFile, path, ": is not a sentencepiece model");
  }

  std::vector<std::int32_t> encode(std::string_view text, bool bos) const override {
    std::vector<int> ids;
    const auto status = processor_.Encode({text.data(), text.size()}, &ids);
    QAT_CHECK(status.ok(), kInvalidArgument, "sentencepiece tokenizer: ", printable(status.error_message()));
    std::vector<std::int32_t> out;
    out.reserve(ids.size() + 1);
    if (bos && bos_id() >= 0) out.push_back(bos_id());
    out.insert(out.end(), ids.begin(), ids.end());
    return out;
  }

  std::string decode(std::span<const std::int32_t> ids, bool = false) const override {
    for (const std::int32_t id : ids) check_id(id);
    std::string text;
    const auto status = processor_.Decode(std::vector<int>(ids.begin(), ids.end()), &text);
    QAT_CHECK(status.ok(), kInvalidArgument, "sentencepiece tokenizer: ", printable(status.error_message()));
    return text;
  }

  std::string token_bytes(std::int32_t id) const override {
    check_id(id);
    if (processor_.IsControl(id) || processor_.IsUnused(id)) return {};
    const std::string& piece = processor_.IdToPiece(id);
    if (processor_.IsByte(id)) return std::string(1, static_cast<char>(parse_byte_token(piece)));
    std::string out;
    for (std::size_t i = 0; i < piece.size();) {
      const bool space = piece.compare(i, 3, "\xE2\x96\x81") == 0;  // U+2581 stands for a space
      out += space ? ' ' : piece[i];
      i += space ? 3 : 1;
    }
    return out;
  }

  std::int32_t vocab_size() const override { return processor_.GetPieceSize(); }
  std::int32_t bos_id() const override { return processor_.bos_id(); }
  std::int32_t eos_id() const override { return processor_.eos_id(); }
  const char* kind() const override { return "sentencepiece"; }

 private:
  sentencepiece::SentencePieceProcessor processor_;
};

}  // namespace qat::inline v0
