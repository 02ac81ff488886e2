// What a sentencepiece .model says of its kind and its normalizer, which libsentencepiece does not tell.
// Source: sentencepiece_model.proto of https://github.com/google/sentencepiece, the numbers of its fields.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "qat/base/check.hpp"
#include "qat/io/protobuf.hpp"

namespace qat::inline v0 {

struct SentencePieceModel {
  bool bpe = false;                      ///< trainer_spec.model_type is BPE
  bool whitespace_as_suffix = false;     ///< trainer_spec.treat_whitespace_as_suffix
  bool has_rules = false;                ///< normalizer_spec.precompiled_charsmap: text is rewritten
  bool dummy_prefix = true;              ///< normalizer_spec.add_dummy_prefix
  bool remove_extra_whitespaces = true;  ///< normalizer_spec.remove_extra_whitespaces
  bool escape_whitespaces = true;        ///< normalizer_spec.escape_whitespaces
  bool plain_pieces = true;              ///< none is user defined or unused
};

/// `path` names the bytes in errors.
/// @throws qat::Error (kBadFile) naming the byte and what stands before it where they are no serialized model
inline SentencePieceModel read_sentencepiece_model(std::string_view bytes, const std::string& path) {
  SentencePieceModel out;
  std::size_t whole = 0, pieces = 0;
  const bool valid =
      detail::for_each_proto_field(bytes, [&](std::uint64_t number, std::uint64_t, std::string_view message) {
        const bool good =
            detail::for_each_proto_field(number >= 1 && number <= 3 ? message : std::string_view(),
                                         [&](std::uint64_t field, std::uint64_t value, std::string_view text) {
                                           constexpr std::uint64_t kUserDefined = 4, kUnused = 5;
                                           if (number == 1 && field == 3)
                                             out.plain_pieces &= value != kUserDefined && value != kUnused;
                                           if (number == 2 && field == 3) out.bpe = value == 2;
                                           if (number == 2 && field == 24) out.whitespace_as_suffix = value != 0;
                                           if (number == 3 && field == 2) out.has_rules = !text.empty();
                                           if (number == 3 && field == 3) out.dummy_prefix = value != 0;
                                           if (number == 3 && field == 4) out.remove_extra_whitespaces = value != 0;
                                           if (number == 3 && field == 5) out.escape_whitespaces = value != 0;
                                           return true;
                                         });
        if (good) whole = static_cast<std::size_t>(message.data() + message.size() - bytes.data());
        pieces += good && number == 1;
        return good;
      });
  QAT_CHECK(valid, kBadFile, path, ": is not a sentencepiece model: at byte ", whole, ": what follows ", pieces,
            " whole pieces is no field of one, or truncated");
  return out;
}

}  // namespace qat::inline v0
