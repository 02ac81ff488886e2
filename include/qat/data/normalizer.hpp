// The normalizer of a tokenizer.json: what happens to a text before it is cut into words.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qat/data/text_split.hpp"
#include "qat/data/token_decoder.hpp"
#include "qat/data/unicode_nfc.hpp"
#include "qat/io/json.hpp"

namespace qat::inline v0 {

class Normalizer {
 public:
  struct Step {
    enum Kind { kPrepend, kReplace, kNfc } kind;
    std::string from, to;
    bool operator==(const Step&) const = default;
  };

  /// Changes nothing.
  Normalizer() = default;
  explicit Normalizer(std::vector<Step> steps) : steps_(std::move(steps)) {}
  /// Reads 'normalizer'; refuses what it cannot do.
  explicit Normalizer(const JsonFields& top) {
    detail::for_each_component(
        top.find("normalizer"), "normalizers", top.source() + ": 'normalizer'", [&](const JsonFields& f) {
          const std::string type = f.string("type");
          if (type == "Prepend") {
            steps_.push_back({Step::kPrepend, {}, f.string("prepend")});
          } else if (type == "Replace") {
            steps_.push_back({Step::kReplace, detail::pattern_string(f, "String"), f.string("content")});
          } else if (type == "NFC") {
            steps_.push_back({Step::kNfc, {}, {}});
          } else {
            detail::refuse(f, "Prepend, Replace, NFC, Sequence, null");
          }
        });
  }
  /// Llama 2's: U+2581 for a space, and one before the text if `prefix`.
  static Normalizer llama(bool prefix) {
    std::vector<Step> steps;
    if (prefix) steps.push_back({Step::kPrepend, {}, detail::kSpacePiece});
    steps.push_back({Step::kReplace, " ", detail::kSpacePiece});
    return Normalizer(std::move(steps));
  }

  const std::vector<Step>& steps() const { return steps_; }

  std::string apply(std::string_view text) const {
    std::string out(text);
    for (const Step& step : steps_) {
      if (step.kind == Step::kReplace) {
        out = detail::replace_all(out, step.from, step.to);
      } else if (step.kind == Step::kNfc) {
        out = normalize_nfc(out);
      } else if (!out.empty()) {
        out = step.to + out;
      }
    }
    return out;
  }

 private:
  std::vector<Step> steps_;
};

}  // namespace qat::inline v0
