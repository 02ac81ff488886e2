// The decoder of a tokenizer.json: pieces back to text. Also what reading any component of that file shares.
#pragma once

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "qat/data/llama2c_tokenizer.hpp"  // parse_byte_token
#include "qat/data/text_split.hpp"
#include "qat/io/json.hpp"

namespace qat::inline v0 {

namespace detail {

/// Calls f(fields) for a component, or for each member of a Sequence under `list_key`.
template <class F>
void for_each_component(const Json* component, const char* list_key, const std::string& source, F&& f) {
  if (component == nullptr) return;
  const JsonFields fields(*component, source);
  if (fields.string("type") == "Sequence") {
    for (const Json& member : fields.array(list_key)) for_each_component(&member, list_key, source, f);
  } else {
    f(fields);
  }
}

[[noreturn]] inline void refuse(const JsonFields& fields, const char* accepted) {
  raise(ErrorCode::kUnsupported, fields.source(), ": 'type' is ", printable(fields.string("type")),
        "; accepted: ", accepted);
}

inline std::string pattern_string(const JsonFields& fields, const char* kind) {
  const JsonFields pattern(fields.at("pattern"), fields.source() + ": 'pattern'");
  QAT_CHECK(pattern.find(kind), kUnsupported, pattern.source(), " is ", json_text(fields.at("pattern")),
            "; accepted: {\"", kind, "\": ...}");
  return pattern.string(kind);
}

inline std::string prepend_scheme(const JsonFields& f) {
  const std::string scheme = f.find("prepend_scheme")                 ? f.string("prepend_scheme")
                             : f.boolean_or("add_prefix_space", true) ? "always"
                                                                      : "never";
  QAT_CHECK(scheme == "always" || scheme == "first" || scheme == "never", kUnsupported, f.source(),
            ": 'prepend_scheme' is ", printable(scheme), "; accepted: always, first, never");
  return scheme;
}

}  // namespace detail

class TokenDecoder {
 public:
  /// Joins pieces with spaces, as upstream does without a decoder.
  TokenDecoder() = default;
  /// Reads 'decoder'; refuses what it cannot do.
  explicit TokenDecoder(const JsonFields& top) {
    detail::for_each_component(top.find("decoder"), "decoders", top.source() + ": 'decoder'", [&](const JsonFields& f) {
      const std::string type = f.string("type");
      if (type == "Replace") {
        steps_.push_back({Step::kReplace, detail::pattern_string(f, "String"), f.string("content"), 0, 0});
      } else if (type == "ByteFallback") {
        steps_.push_back({Step::kByteFallback, {}, {}, 0, 0});
      } else if (type == "Fuse") {
        steps_.push_back({Step::kFuse, {}, {}, 0, 0});
      } else if (type == "Strip") {
        steps_.push_back({Step::kStrip, f.string("content"), {}, f.integer("start"), f.integer("stop")});
      } else if (type == "ByteLevel") {
        steps_.push_back({Step::kByteLevel, {}, {}, 0, 0});
      } else if (type == "Metaspace") {
        steps_.push_back({Step::kMetaspace,
                          f.string_or("replacement", detail::kSpacePiece),
                          {},
                          detail::prepend_scheme(f) != "never",
                          0});
      } else {
        detail::refuse(f, "Replace, ByteFallback, Fuse, Strip, ByteLevel, Metaspace, Sequence, null");
      }
    });
  }
  /// GPT-2's.
  static TokenDecoder byte_level() {
    TokenDecoder out;
    out.steps_.push_back({Step::kByteLevel, {}, {}, 0, 0});
    return out;
  }

  /// Llama 2's; `prefix`: text begins with a space that is dropped.
  static TokenDecoder llama(bool prefix) {
    TokenDecoder out;
    out.steps_.push_back({Step::kReplace, detail::kSpacePiece, " ", 0, 0});
    out.steps_.push_back({Step::kByteFallback, {}, {}, 0, 0});
    out.steps_.push_back({Step::kFuse, {}, {}, 0, 0});
    if (prefix) out.steps_.push_back({Step::kStrip, " ", {}, 1, 0});
    return out;
  }

  std::string decode(std::vector<std::string> pieces) const {
    for (const Step& step : steps_) apply(step, pieces);
    std::string text;
    for (std::size_t i = 0; i < pieces.size(); ++i) text += (i > 0 && steps_.empty() ? " " : "") + pieces[i];
    return text;
  }

 private:
  struct Step {
    enum Kind { kReplace, kByteFallback, kFuse, kStrip, kByteLevel, kMetaspace } kind;
    std::string from, to;
    index_t start, stop;
  };

  static void apply(const Step& step, std::vector<std::string>& tokens) {
    switch (step.kind) {
      case Step::kReplace:
        for (std::string& token : tokens) token = detail::replace_all(token, step.from, step.to);
        break;
      case Step::kByteFallback:  // bytes that are not UTF-8 stay bytes; upstream writes U+FFFD for each
        for (std::string& token : tokens)
          if (const int byte = parse_byte_token(token); byte >= 0) token = std::string(1, static_cast<char>(byte));
        break;
      case Step::kFuse: {
        std::string all;
        for (const std::string& token : tokens) all += token;
        tokens.assign(1, std::move(all));
        break;
      }
      case Step::kStrip:
        for (std::string& token : tokens) {
          for (index_t k = 0; k < step.start && token.starts_with(step.from); ++k) token.erase(0, step.from.size());
          for (index_t k = 0; k < step.stop && token.ends_with(step.from); ++k)
            token.resize(token.size() - step.from.size());
        }
        break;
      case Step::kByteLevel: {
        std::string all;
        for (const std::string& token : tokens) all += detail::byte_level_to_bytes(token).value_or(token);
        tokens.assign(1, std::move(all));
        break;
      }
      case Step::kMetaspace:
        for (std::size_t i = 0; i < tokens.size(); ++i) {
          const bool drop = i == 0 && step.start != 0 && tokens[i].starts_with(step.from);
          tokens[i] = detail::replace_all(drop ? tokens[i].substr(step.from.size()) : tokens[i], step.from, " ");
        }
        break;
    }
  }

  std::vector<Step> steps_;
};

}  // namespace qat::inline v0
