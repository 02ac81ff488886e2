// Text that grows token by token, in whole characters: what a program shows while a model writes.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "qat/data/tokenizer.hpp"

namespace qat::inline v0 {

/// Gives out decode() of all tokens in pieces. Each piece costs the decoding of a few tokens, however long the text is.
/// Borrows the tokenizer.
class TextStream {
 public:
  explicit TextStream(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}

  /// What the token adds; "" while a character is incomplete (UTF-8).
  std::string push(std::int32_t token) {
    window_.push_back(token);
    const std::string all = tokenizer_.decode(window_);
    const std::size_t whole = whole_characters(all);
    if (whole <= shown_) return "";
    std::string piece = all.substr(shown_, whole - shown_);
    shown_ = whole;
    if (whole == all.size()) forget(all);
    return piece;
  }
  /// The bytes of a character that was never completed.
  std::string finish() {
    const std::string all = tokenizer_.decode(window_);
    std::string rest = all.substr(all.size() < shown_ ? all.size() : shown_);
    window_.clear();
    shown_ = 0;
    return rest;
  }

 private:
  /// Bytes of text up to a character at its end that lacks continuation bytes, or up to the U+FFFD that some decoders
  /// write for its bytes until the last one is there.
  static std::size_t whole_characters(std::string_view text) {
    constexpr std::string_view kReplacement = "\xEF\xBF\xBD";
    while (text.ends_with(kReplacement)) text.remove_suffix(kReplacement.size());
    for (std::size_t back = 1; back <= 4 && back <= text.size(); ++back) {
      const auto byte = static_cast<unsigned char>(text[text.size() - back]);
      if ((byte & 0xC0u) == 0x80u) continue;  // a continuation byte: look for its first
      const std::size_t needs = byte < 0xC0u ? 1u : byte < 0xE0u ? 2u : byte < 0xF0u ? 3u : byte < 0xF8u ? 4u : 1u;
      return needs > back ? text.size() - back : text.size();
    }
    return text.size();
  }
  /// Keeps the last token for context: decoders treat the first piece of a text in a way of its own. One that decodes
  /// to nothing by itself, a space that is stripped for instance, would be first for its successor too: then all stay.
  void forget(const std::string& all) {
    const std::string last = tokenizer_.decode(std::span(window_).last(1));
    if (last.empty() || !all.ends_with(last)) return;
    window_.erase(window_.begin(), window_.end() - 1);
    shown_ = last.size();
  }

  const Tokenizer& tokenizer_;
  std::vector<std::int32_t> window_;
  std::size_t shown_ = 0;  ///< bytes of the window's text that were given out
};

}  // namespace qat::inline v0
