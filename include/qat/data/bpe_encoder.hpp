// Byte-pair encoding of normalized text: characters to ids, ids to larger ones. What tokenizers share once they have
// read their files.
#pragma once

#include <algorithm>
#include <array>
#include <bitset>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "qat/data/bpe_merge.hpp"
#include "qat/data/unicode.hpp"
#include "qat/data/word_cache.hpp"

namespace qat::inline v0 {

/// What a text is cut into before anything merges.
enum class Symbols {
  kBytes,
  kCodePoints,     ///< UTF-8; a byte that is none is one symbol
  kContinuations,  ///< a byte and up to three continuation bytes after it, as llama2.c reads
};

/// Set up once: symbols, then the other rules, then merges. encode() may run in several threads.
class BpeEncoder {
 public:
  explicit BpeEncoder(Symbols symbols) : symbols_(symbols), cache_(std::make_unique<SharedCache>()) {
    byte_ids_.fill(-1);
  }

  /// A piece of text that has an id. The first of equal pieces counts.
  void add_piece(std::string text, std::int32_t id) { ids_.emplace(std::move(text), id); }
  /// -1: no piece is spelled so.
  std::int32_t find(std::string_view text) const {
    const auto it = ids_.find(text);
    return it == ids_.end() ? -1 : it->second;
  }

  /// Ids of bytes, for symbols that are no piece; -1 for a byte that has none.
  void set_byte_ids(const std::array<std::int32_t, 256>& ids) {
    byte_ids_ = ids;
    opaque_.insert(ids.begin(), ids.end());
  }
  /// For symbols with neither; `fuse`: one id for any number of them in a row. Without it they are dropped.
  void set_unknown(std::int32_t id, bool fuse) {
    unknown_id_ = id;
    fuse_unknown_ = fuse;
    opaque_.insert(id);
  }
  /// A text that is a piece as a whole is that piece, whatever the merges make of it.
  void set_whole_pieces(bool on) { whole_pieces_ = on; }

  /// Ids of `left` and `right`, side by side, become `merge.id`.
  void add_merge(std::string_view left, std::int32_t left_id, std::string_view right, std::int32_t right_id,
                 MergeTable::Merge merge) {
    merges_.set(left_id, right_id, merge);
    if (left.empty() || right.empty() || opaque_.contains(left_id) || opaque_.contains(right_id)) {
      cuts_ = false;
      return;
    }
    std::size_t last = 0;
    for (std::size_t i = 0; i < left.size(); i += symbol_length(left, i)) last = i;
    joins_.set(pair_class(symbol_class(left, last), symbol_class(right, 0)));
  }

  /// Merges of a vocabulary with scores: adjacent texts merge where both together are a piece, the highest score
  /// first, the leftmost of equals. `score(id)` of every piece, none NaN. A symbol that is no piece takes part too,
  /// except where text is read as llama2.c does, which falls back on bytes before it merges.
  template <class Score>
  void add_scored_merges(Score&& score) {
    std::map<float, std::int32_t, std::greater<>> ranks;
    std::vector<std::pair<std::string, std::int32_t>> pieces(ids_.begin(), ids_.end());
    for (const auto& [piece, id] : pieces) ranks.emplace(score(id), 0);
    std::int32_t next = 0;
    for (auto& [value, rank] : ranks) rank = next++;
    if (symbols_ == Symbols::kCodePoints)
      for (const auto& [piece, id] : pieces)
        for (std::size_t i = 0, length; i < piece.size(); i += length) {
          length = symbol_length(piece, i);
          std::string symbol = piece.substr(i, length);
          if (find(symbol) < 0) {
            ids_.emplace(symbol, kNoPiece + static_cast<std::int32_t>(no_pieces_.size()));
            no_pieces_.push_back(std::move(symbol));
          }
        }
    for (const auto& [piece, id] : pieces) {
      const std::string_view text = piece;
      const std::int32_t rank = ranks.at(score(id));
      for (std::size_t cut = 1; cut < text.size(); ++cut) {
        const std::int32_t left = find(text.substr(0, cut));
        const std::int32_t right = left < 0 ? -1 : find(text.substr(cut));
        if (right >= 0) add_merge(text.substr(0, cut), left, text.substr(cut), right, {rank, id});
      }
    }
  }

  /// Encodes the pieces of one text. While it lives it has the encoder's cache of words to itself, or, where another
  /// thread has that, one of its own.
  class Session {
   public:
    explicit Session(const BpeEncoder& encoder)
        : encoder_(encoder),
          lock_(encoder.cache_->mutex, std::try_to_lock),
          words_(lock_.owns_lock() ? encoder.cache_->words : own_),
          cut_(!encoder.whole_pieces_ && encoder.can_cut()) {}

    /// Appends the ids of `text`.
    void encode(std::string_view text, std::vector<std::int32_t>& ids) {
      if (!cut_) {
        encode_word(text, ids);
        return;
      }
      // Where no merge joins two neighbours, the sides do not know of each other.
      std::size_t start = 0;
      std::uint32_t before = 0;
      for (std::size_t i = 0; i < text.size();) {
        const std::uint32_t here = encoder_.symbol_class(text, i);
        if (i > start && !encoder_.joins_[pair_class(before, here)]) {
          encode_word(text.substr(start, i - start), ids);
          start = i;
        }
        before = here;
        i += encoder_.symbol_length(text, i);
      }
      if (start < text.size()) encode_word(text.substr(start), ids);
    }

   private:
    void encode_word(std::string_view word, std::vector<std::int32_t>& ids) {
      if (word.empty() || word.size() > WordCache::kMaxBytes) {
        encoder_.encode_word(word, symbols_);
        ids.insert(ids.end(), symbols_.begin(), symbols_.end());
        return;
      }
      const std::uint64_t hash = WordCache::hash(word);
      if (words_.append(word, hash, ids)) return;
      encoder_.encode_word(word, symbols_);
      ids.insert(ids.end(), symbols_.begin(), symbols_.end());
      words_.insert(word, hash, symbols_);
    }

    const BpeEncoder& encoder_;
    std::unique_lock<std::mutex> lock_;
    WordCache own_;
    WordCache& words_;
    bool cut_;
    std::vector<std::int32_t> symbols_;
  };

 private:
  struct SharedCache {
    std::mutex mutex;
    WordCache words;
  };
  struct TextHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return static_cast<std::size_t>(WordCache::hash(text)); }
  };

  /// Classes of symbols: ASCII, U+2581 (sentencepiece's space), and 127 for the rest.
  static constexpr std::uint32_t kSpaceClass = 128, kRestClass = 129, kClasses = 256;
  static std::size_t pair_class(std::uint32_t left, std::uint32_t right) { return left * kClasses + right; }
  std::uint32_t symbol_class(std::string_view text, std::size_t position) const {
    const auto byte = static_cast<unsigned char>(text[position]);
    if (symbols_ == Symbols::kBytes || byte < 0x80) return byte;
    const std::string_view symbol = text.substr(position, symbol_length(text, position));
    if (symbol == "\xE2\x96\x81") return kSpaceClass;
    return kRestClass + static_cast<std::uint32_t>(WordCache::hash(symbol) % (kClasses - kRestClass));
  }
  std::size_t symbol_length(std::string_view text, std::size_t position) const {
    if (symbols_ == Symbols::kBytes) return 1;
    if (symbols_ == Symbols::kCodePoints) return decode_utf8(text, position).length;
    std::size_t length = 1;
    while (length < 4 && position + length < text.size() &&
           (static_cast<unsigned char>(text[position + length]) & 0xC0) == 0x80)
      ++length;
    return length;
  }

  bool can_cut() const {
    return cuts_ && symbols_ != Symbols::kBytes &&
           ((unknown_id_ >= 0 && !fuse_unknown_) ||
            std::none_of(byte_ids_.begin(), byte_ids_.end(), [](std::int32_t id) { return id < 0; }));
  }

  void encode_word(std::string_view word, std::vector<std::int32_t>& symbols) const {
    symbols.clear();
    if (whole_pieces_) {
      if (const std::int32_t id = find(word); id >= 0) {
        symbols.push_back(id);
        return;
      }
    }
    bool after_unknown = false;
    for (std::size_t i = 0; i < word.size();) {
      const std::string_view symbol = word.substr(i, symbol_length(word, i));
      i += symbol.size();
      if (const std::int32_t id = find(symbol); id >= 0) {
        symbols.push_back(id);
        after_unknown = false;
      } else {
        after_unknown = fall_back(symbol, after_unknown, symbols);
      }
    }
    merges_.apply(symbols);
    if (no_pieces_.empty() || std::none_of(symbols.begin(), symbols.end(), [](auto id) { return id >= kNoPiece; }))
      return;
    std::vector<std::int32_t> merged;
    merged.swap(symbols);
    for (const std::int32_t id : merged) {
      if (id < kNoPiece) {
        symbols.push_back(id);
      } else {
        fall_back(no_pieces_[static_cast<std::size_t>(id - kNoPiece)], false, symbols);
      }
    }
  }

  /// Ids of a symbol that is no piece. Returns whether it is unknown.
  bool fall_back(std::string_view symbol, bool after_unknown, std::vector<std::int32_t>& symbols) const {
    const auto byte_id = [&](char byte) { return byte_ids_[static_cast<unsigned char>(byte)]; };
    if (std::all_of(symbol.begin(), symbol.end(), [&](char byte) { return byte_id(byte) >= 0; })) {
      for (const char byte : symbol) symbols.push_back(byte_id(byte));
      return false;
    }
    if (unknown_id_ >= 0 && !(fuse_unknown_ && after_unknown)) symbols.push_back(unknown_id_);
    return unknown_id_ >= 0;
  }

  Symbols symbols_;
  std::unordered_map<std::string, std::int32_t, TextHash, std::equal_to<>> ids_;
  static constexpr std::int32_t kNoPiece = 1 << 30;
  std::vector<std::string> no_pieces_;  // ids kNoPiece and up, while text merges
  std::array<std::int32_t, 256> byte_ids_;
  std::int32_t unknown_id_ = -1;
  std::unordered_set<std::int32_t> opaque_;  // ids whose piece is not the text they stand for
  bool fuse_unknown_ = false, whole_pieces_ = false;
  MergeTable merges_;
  bool cuts_ = true;                        ///< whether joins_ says all
  std::bitset<kClasses * kClasses> joins_;  ///< classes of a symbol and the next that some merge joins
  std::unique_ptr<SharedCache> cache_;
};

}  // namespace qat::inline v0
