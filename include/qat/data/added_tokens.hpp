// Added tokens of a tokenizer.json: texts that become one token wherever they stand, cut out before the rest is
// encoded.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "qat/data/unicode.hpp"

namespace qat::inline v0 {

struct AddedToken {
  std::string content;
  std::int32_t id = -1;
  bool single_word = false;  ///< only where no letter, number or underscore touches it
  bool lstrip = false;       ///< takes the white space before it along
  bool rstrip = false;       ///< and the white space after it
  bool normalized = false;   ///< looked for in normalized text
  bool special = false;
};

class AddedTokens {
 public:
  void add(AddedToken token) {
    auto& bucket = by_first_byte_[static_cast<unsigned char>(token.content[0])];
    const auto shorter = [&](const AddedToken& other) { return other.content.size() < token.content.size(); };
    bucket.insert(std::find_if(bucket.begin(), bucket.end(), shorter), std::move(token));
  }

  /// Cuts added tokens out of the text (leftmost, longest): calls f(text, -1 or the token's id, starts at 0) in order.
  template <class F>
  void for_each_segment(std::string_view text, F&& f) const {
    std::size_t done = 0;
    for (std::size_t i = 0; i < text.size();) {
      const AddedToken* found = nullptr;
      for (const AddedToken& token : by_first_byte_[static_cast<unsigned char>(text[i])])
        if (text.compare(i, token.content.size(), token.content) == 0) {
          found = &token;
          break;
        }
      if (found == nullptr) {
        ++i;
        continue;
      }
      std::size_t start = i, stop = i + found->content.size();
      const bool word_before = start > 0 && is_word(decode_utf8(text, previous(text, start)).value);
      const bool word_after = stop < text.size() && is_word(decode_utf8(text, stop).value);
      i = stop;
      if (found->single_word && (word_before || word_after)) continue;
      while (found->lstrip && start > done && is_white_space(decode_utf8(text, previous(text, start)).value))
        start = previous(text, start);
      while (found->rstrip && stop < text.size() && is_white_space(decode_utf8(text, stop).value))
        stop += decode_utf8(text, stop).length;
      if (done < start) f(text.substr(done, start - done), -1, done == 0);
      f(text.substr(start, stop - start), found->id, start == 0);
      i = done = stop;
    }
    if (done < text.size()) f(text.substr(done), -1, done == 0);
  }

 private:
  static bool is_word(std::uint32_t point) { return point == '_' || is_letter(point) || is_number(point); }

  static std::size_t previous(std::string_view text, std::size_t end) {
    std::size_t start = end - 1;
    while (start > 0 && end - start < 4 && (static_cast<unsigned char>(text[start]) & 0xC0) == 0x80) --start;
    return start;
  }

  std::array<std::vector<AddedToken>, 256> by_first_byte_;  // longest first
};

}  // namespace qat::inline v0
