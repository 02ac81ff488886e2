// What a sentencepiece .model says of its kind and its normalizer, which libsentencepiece does not tell.
// Source: sentencepiece_model.proto of https://github.com/google/sentencepiece, the numbers of its fields.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

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

/// Nothing when the bytes are no serialized model.
inline std::optional<SentencePieceModel> read_sentencepiece_model(std::string_view bytes) {
  SentencePieceModel out;
  const bool valid =
      detail::for_each_proto_field(bytes, [&](std::uint64_t number, std::uint64_t, std::string_view message) {
        return detail::for_each_proto_field(number >= 1 && number <= 3 ? message : std::string_view(),
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
      });
  return valid ? std::optional(out) : std::nullopt;
}

}  // namespace qat::inline v0
