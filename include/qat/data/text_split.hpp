// How byte-level tokenizers cut text into words: the regular expressions of GPT-2, Llama 3 and Qwen 2 written out, and
// GPT-2's printable alphabet of bytes.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "qat/data/unicode.hpp"

namespace qat::inline v0 {

namespace detail {

/// GPT-2's printable stand-in for each byte.
inline const std::array<std::uint32_t, 256>& byte_level_alphabet() {
  static const std::array<std::uint32_t, 256> table = [] {
    std::array<std::uint32_t, 256> points{};
    std::uint32_t next = 256;
    for (std::uint32_t byte = 0; byte < 256; ++byte) {
      const bool printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
      points[byte] = printable ? byte : next++;
    }
    return points;
  }();
  return table;
}

/// Raw bytes of a byte-level piece; nothing when it holds a character outside the alphabet.
inline std::optional<std::string> byte_level_to_bytes(std::string_view piece) {
  static const std::unordered_map<std::uint32_t, char> table = [] {
    std::unordered_map<std::uint32_t, char> bytes;
    for (std::uint32_t byte = 0; byte < 256; ++byte) bytes[byte_level_alphabet()[byte]] = static_cast<char>(byte);
    return bytes;
  }();
  std::string out;
  for (std::size_t i = 0; i < piece.size();) {
    const CodePoint point = decode_utf8(piece, i);
    const auto it = table.find(point.value);
    if (it == table.end()) return std::nullopt;
    out += it->second;
    i += point.length;
  }
  return out;
}

inline constexpr const char* kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
/// Llama 3's, with up to three digits together.
inline constexpr const char* kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
/// The same with single digits (Qwen 2).
inline constexpr const char* kQwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

enum class SplitPattern { kGpt2, kLlama3, kQwen2 };

/// The expressions above, written out: a match for each position, so the matches tile the text.
class PatternSplitter {
 public:
  PatternSplitter(std::string_view text, SplitPattern pattern) : text_(text), pattern_(pattern) {}

  /// End of the match that starts at `start`.
  std::size_t match(std::size_t start) const {
    if (const std::size_t end = contraction(start); end > start) return end;
    const CodePoint first = decode_utf8(text_, start);
    const std::size_t after = start + first.length;
    if (pattern_ == SplitPattern::kGpt2) {
      const std::size_t body = first.value == ' ' && after < text_.size() ? after : start;
      const std::uint32_t point = decode_utf8(text_, body).value;
      if (is_letter(point)) return run(body, is_letter);
      if (is_number(point)) return run(body, is_number);
      if (is_symbol(point)) return run(body, is_symbol);
    } else {
      if (is_letter(first.value)) return run(start, is_letter);
      const bool line_end = first.value == '\r' || first.value == '\n';
      if (!line_end && !is_number(first.value) && after < text_.size() && is_letter(decode_utf8(text_, after).value))
        return run(after, is_letter);
      if (is_number(first.value)) {
        std::size_t end = after;
        for (int digits = 1; pattern_ == SplitPattern::kLlama3 && digits < 3 && end < text_.size(); ++digits) {
          const CodePoint next = decode_utf8(text_, end);
          if (!is_number(next.value)) break;
          end += next.length;
        }
        return end;
      }
      const std::size_t body = first.value == ' ' && after < text_.size() ? after : start;
      if (is_symbol(decode_utf8(text_, body).value)) {
        std::size_t end = run(body, is_symbol);
        while (end < text_.size() && (text_[end] == '\r' || text_[end] == '\n')) ++end;
        return end;
      }
      const std::size_t end = run(start, is_white_space);
      if (const std::size_t last = text_.substr(0, end).find_last_of("\r\n"); last != text_.npos && last >= start)
        return last + 1;
    }
    // White space: the last one is left to the word that follows, unless it stands alone.
    std::size_t end = start, last = start;
    while (end < text_.size()) {
      const CodePoint point = decode_utf8(text_, end);
      if (!is_white_space(point.value)) break;
      last = end;
      end += point.length;
    }
    return end == text_.size() || last == start ? end : last;
  }

 private:
  static bool is_symbol(std::uint32_t point) {
    return !is_white_space(point) && !is_letter(point) && !is_number(point);
  }

  template <class Predicate>
  std::size_t run(std::size_t position, Predicate&& inside) const {
    while (position < text_.size()) {
      const CodePoint point = decode_utf8(text_, position);
      if (!inside(point.value)) break;
      position += point.length;
    }
    return position;
  }

  std::size_t contraction(std::size_t start) const {
    if (text_[start] != '\'') return start;
    std::string rest(text_.substr(start + 1, 2));
    if (pattern_ != SplitPattern::kGpt2) {
      if (rest == "\xC5\xBF") return start + 3;  // U+017F, the long s, is an s when case is ignored
      for (char& c : rest)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    for (const char* two : {"re", "ve", "ll"})
      if (rest == two) return start + 3;
    return !rest.empty() && std::string_view("stmd").find(rest[0]) != std::string_view::npos ? start + 2 : start;
  }

  std::string_view text_;
  SplitPattern pattern_;
};

/// U+2581, sentencepiece's stand-in for a space.
inline constexpr const char* kSpacePiece = "\xE2\x96\x81";

inline std::string replace_all(std::string_view text, std::string_view from, std::string_view to) {
  std::string out;
  for (std::size_t i = 0;;) {
    const std::size_t found = from.empty() ? text.npos : text.find(from, i);
    out += text.substr(i, found == text.npos ? text.npos : found - i);
    if (found == text.npos) return out;
    out += to;
    i = found + from.size();
  }
}

}  // namespace detail

}  // namespace qat::inline v0
