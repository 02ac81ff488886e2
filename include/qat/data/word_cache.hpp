// Token ids of words that were encoded before.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "qat/base/config.hpp"

namespace qat::inline v0 {

/// Words of at most kMaxBytes with the ids they became. Forgets all of them when it is full: at most about 20 MB.
class WordCache {
 public:
  static constexpr std::size_t kMaxBytes = 64;  ///< of a word
  static constexpr std::size_t kMaxWords = std::size_t{1} << 16;

  static std::uint64_t hash(std::string_view word) {
    constexpr std::uint64_t kFactor = 0x9E3779B97F4A7C15u;
    std::uint64_t out = word.size() * kFactor;
    const char* at = word.data();
    std::size_t left = word.size();
    for (; left >= 8; at += 8, left -= 8) {
      std::uint64_t eight;
      std::memcpy(&eight, at, 8);
      out = (out ^ eight) * kFactor;
      out ^= out >> 32;
    }
    std::uint64_t rest = 0;
    for (std::size_t i = 0; i < left; ++i) rest = rest << 8 | static_cast<unsigned char>(at[i]);
    out = (out ^ rest) * kFactor;
    return out ^ out >> 29;
  }

  /// Appends the ids of a word that is here; false when it is not.
  bool append(std::string_view word, std::uint64_t hash, std::vector<std::int32_t>& ids) const {
    if (entries_.empty()) return false;
    const Entry& entry = entries_[locate(entries_, word, hash)];
    if (entry.word_size == 0) return false;
    const std::int32_t* first = ids_.data() + entry.ids;
    ids.insert(ids.end(), first, first + entry.ids_size);
    return true;
  }

  /// A word that is not here, 1 to kMaxBytes long.
  void insert(std::string_view word, std::uint64_t hash, std::span<const std::int32_t> ids) {
    if (words_ == kMaxWords) {
      entries_.clear();
      text_.clear();
      ids_.clear();
      words_ = 0;
    }
    if (2 * (words_ + 1) > entries_.size()) {
      std::vector<Entry> larger(entries_.empty() ? 1024 : 2 * entries_.size());
      for (const Entry& entry : entries_)
        if (entry.word_size > 0) larger[locate(larger, text_of(entry), entry.hash)] = entry;
      entries_.swap(larger);
    }
    entries_[locate(entries_, word, hash)] = {
        hash, static_cast<std::uint32_t>(text_.size()), static_cast<std::uint32_t>(ids_.size()),
        static_cast<std::uint16_t>(word.size()), static_cast<std::uint16_t>(ids.size())};
    text_ += word;
    ids_.insert(ids_.end(), ids.begin(), ids.end());
    ++words_;
  }

  std::size_t size() const { return words_; }

 private:
  struct Entry {
    std::uint64_t hash = 0;
    std::uint32_t word = 0, ids = 0;  ///< where they begin
    std::uint16_t word_size = 0, ids_size = 0;
  };

  std::string_view text_of(const Entry& entry) const {
    return std::string_view(text_).substr(entry.word, entry.word_size);
  }
  /// The entry of the word, or the free one where it would be. A power of two of entries, half of them free.
  std::size_t locate(const std::vector<Entry>& entries, std::string_view word, std::uint64_t hash) const {
    const std::size_t mask = entries.size() - 1;
    for (std::size_t i = static_cast<std::size_t>(hash) & mask;; i = (i + 1) & mask) {
      const Entry& entry = entries[i];
      if (entry.word_size == 0 || (entry.hash == hash && text_of(entry) == word)) return i;
    }
  }

  std::vector<Entry> entries_;
  std::string text_;
  std::vector<std::int32_t> ids_;
  std::size_t words_ = 0;
};

}  // namespace qat::inline v0
