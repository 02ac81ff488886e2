// sentencepiece .model files, through libsentencepiece. The only header that needs it: compile users with
// -DQAT_WITH_SENTENCEPIECE and link -lsentencepiece.
#pragma once

#include <sentencepiece_processor.h>
#include <exception>

#include <algorithm>
#include <array>
#include <exception>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "qat/data/bpe_encoder.hpp"
#include "qat/data/llama2c_tokenizer.hpp"  // parse_byte_token
#include "qat/data/sentencepiece_model.hpp"
#include "qat/data/text_split.hpp"
#include "qat/data/tokenizer.hpp"
#include "qat/io/file.hpp"

namespace qat::inline v0 {

class SentencePieceTokenizer final : public Tokenizer {
 public:
  explicit SentencePieceTokenizer(const std::string& path) {
    const MappedFile file(path);
    model_ = read_sentencepiece_model(file.text(), path);  // the library does not say why it refuses a file
    bool loaded = false;
    try {
      const auto status = processor_.LoadFromSerializedProto({reinterpret_cast<const char*>(file.data()), file.size()});
      loaded = status.ok() && processor_.GetPieceSize() > 0;
    } catch (const std::exception&) {  // of its trie, for pieces that hold a NUL byte, say
    }
    QAT_CHECK(loaded, kBadFile, path, ": is not a sentencepiece model: the library refuses its pieces");
    prepare_encoder();
  }

  std::vector<std::int32_t> encode(std::string_view text, bool bos) const override {
    if (encoder_ && is_utf8(text)) {
      std::vector<std::int32_t> ids;
      if (bos && bos_id() >= 0) ids.push_back(bos_id());
      BpeEncoder::Session(*encoder_).encode(normalize(text), ids);
      return ids;
    }
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
    return detail::replace_all(piece, detail::kSpacePiece, " ");
  }

  std::int32_t vocab_size() const override { return processor_.GetPieceSize(); }
  std::int32_t bos_id() const override { return processor_.bos_id(); }
  std::int32_t eos_id() const override { return processor_.eos_id(); }
  const char* kind() const override { return "sentencepiece"; }
  /// llama.cpp does not squeeze spaces where the model does: texts with several in a row get other ids there.
  Vocabulary vocabulary() const override {
    QAT_CHECK(encoder_, kUnsupported,
              "sentencepiece tokenizer: this model has no GGUF form here; accepted: BPE with a piece for each byte, "
              "without rules that rewrite text, user defined or unused pieces");
    Vocabulary out;
    out.model = "llama";
    out.pre = "default";
    out.bos = bos_id();
    out.eos = eos_id();
    out.unknown = processor_.unk_id();
    out.add_bos = bos_id() >= 0;
    out.add_space_prefix = model_.dummy_prefix;
    for (std::int32_t id = 0; id < vocab_size(); ++id) {
      out.tokens.push_back(processor_.IdToPiece(id));
      out.scores.push_back(processor_.GetScore(id));
      out.types.push_back(processor_.IsUnknown(id)   ? TokenType::kUnknown
                          : processor_.IsControl(id) ? TokenType::kControl
                          : processor_.IsByte(id)    ? TokenType::kByte
                                                     : TokenType::kNormal);
    }
    return out;
  }

 private:
  /// Models of the common kind (BPE, bytes for unknown characters, text not rewritten) are encoded here, many times
  /// faster than by the library and to the same ids; encoder_ stays empty for others.
  void prepare_encoder() {
    const SentencePieceModel& model = model_;
    if (!model.bpe || !model.plain_pieces || model.has_rules || model.whitespace_as_suffix || !model.escape_whitespaces)
      return;
    BpeEncoder encoder(Symbols::kCodePoints);
    std::array<std::int32_t, 256> byte_ids;
    byte_ids.fill(-1);
    for (std::int32_t id = 0; id < vocab_size(); ++id) {
      const std::string& piece = processor_.IdToPiece(id);
      if (processor_.IsByte(id)) {
        if (const int byte = parse_byte_token(piece); byte >= 0) byte_ids[static_cast<std::size_t>(byte)] = id;
      } else if (processor_.IsControl(id) || processor_.IsUnknown(id)) {
        if (!piece.empty() && decode_utf8(piece, 0).length == piece.size()) return;  // a character of text
      } else {
        if (!is_utf8(piece) || processor_.GetScore(id) != processor_.GetScore(id)) return;
        encoder.add_piece(piece, id);
      }
    }
    if (std::find(byte_ids.begin(), byte_ids.end(), -1) != byte_ids.end()) return;
    encoder.set_byte_ids(byte_ids);
    encoder.add_scored_merges([&](std::int32_t id) { return processor_.GetScore(id); });
    encoder_ = std::move(encoder);
  }

  /// As sentencepiece's normalizer without rules.
  std::string normalize(std::string_view text) const {
    const bool squeeze = model_.remove_extra_whitespaces;
    if (squeeze) text.remove_prefix((std::min)(text.find_first_not_of(' '), text.size()));
    std::string out;
    if (text.empty()) return out;
    out.reserve(text.size() + text.size() / 2);
    if (model_.dummy_prefix) out += detail::kSpacePiece;
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (text[i] != ' ') {
        out += text[i];
      } else if (!squeeze || i == 0 || text[i - 1] != ' ') {
        out += detail::kSpacePiece;
      }
    }
    while (squeeze && out.ends_with(detail::kSpacePiece)) out.resize(out.size() - 3);
    return out;
  }

  sentencepiece::SentencePieceProcessor processor_;
  std::optional<BpeEncoder> encoder_;
  SentencePieceModel model_;
};

}  // namespace qat::inline v0
