// The merge loop of byte-pair encoding, shared by all tokenizers that have one.
#pragma once

#include <algorithm>
#include <cstdint>
#include <queue>
#include <span>
#include <vector>

#include "qat/base/check.hpp"

namespace qat::inline v0 {

/// Which adjacent ids merge, with what priority and into what.
class MergeTable {
 public:
  struct Merge {
    std::int32_t rank;  ///< the smallest merges first
    std::int32_t id;    ///< of both together
  };

  /// A later rule for the same pair replaces the earlier one. Ids are not negative.
  void set(std::int32_t left, std::int32_t right, Merge merge) {
    if (2 * (size_ + 1) > entries_.size()) grow();
    Entry& entry = entries_[locate(entries_, pack(left, right))];
    size_ += entry.pair == kFree;
    entry = {pack(left, right), merge};
  }
  bool empty() const { return size_ == 0; }

  /// nullptr when the pair does not merge.
  const Merge* find(std::int32_t left, std::int32_t right) const {
    if (entries_.empty()) return nullptr;
    const Entry& entry = entries_[locate(entries_, pack(left, right))];
    return entry.pair == kFree ? nullptr : &entry.merge;
  }

  /// Repeatedly merges the adjacent pair of smallest rank, the leftmost of equals, until none merges: O(n log n).
  void apply(std::vector<std::int32_t>& ids) const {
    if (ids.size() <= kShort) {
      ids.resize(merge_short(ids));
    } else {
      merge_long(ids);
    }
  }

 private:
  static constexpr std::size_t kShort = 32;
  static constexpr std::uint64_t kFree = ~std::uint64_t{0};
  struct Entry {
    std::uint64_t pair = kFree;
    Merge merge{};
  };

  static std::uint64_t pack(std::int32_t left, std::int32_t right) {
    return std::uint64_t{static_cast<std::uint32_t>(left)} << 32 | static_cast<std::uint32_t>(right);
  }
  /// The entry of the pair, or the free one where it would be. A power of two of entries, half of them free.
  static std::size_t locate(const std::vector<Entry>& entries, std::uint64_t pair) {
    const std::size_t mask = entries.size() - 1;
    std::uint64_t hash = pair * 0x9E3779B97F4A7C15u;
    hash ^= hash >> 32;
    for (std::size_t i = static_cast<std::size_t>(hash) & mask;; i = (i + 1) & mask)
      if (entries[i].pair == pair || entries[i].pair == kFree) return i;
  }
  void grow() {
    std::vector<Entry> larger((std::max)(std::size_t{16}, 2 * entries_.size()));
    for (const Entry& entry : entries_)
      if (entry.pair != kFree) larger[locate(larger, entry.pair)] = entry;
    entries_.swap(larger);
  }

  /// Looks at every pair for every merge: faster than a queue for a word. Returns how many ids are left.
  std::size_t merge_short(std::span<std::int32_t> ids) const {
    std::size_t n = ids.size();
    const Merge* merges[kShort];
    for (std::size_t i = 0; i + 1 < n; ++i) merges[i] = find(ids[i], ids[i + 1]);
    while (n > 1) {
      std::size_t best = n;
      for (std::size_t i = 0; i + 1 < n; ++i)
        if (merges[i] != nullptr && (best == n || merges[i]->rank < merges[best]->rank)) best = i;
      if (best == n) break;
      ids[best] = merges[best]->id;
      --n;
      for (std::size_t i = best + 1; i < n; ++i) ids[i] = ids[i + 1], merges[i - 1] = merges[i];
      if (best + 1 < n) merges[best] = find(ids[best], ids[best + 1]);
      if (best > 0) merges[best - 1] = find(ids[best - 1], ids[best]);
    }
    return n;
  }

  void merge_long(std::vector<std::int32_t>& ids) const {
    const std::size_t n = ids.size();
    constexpr std::uint32_t kEnd = 0xFFFFFFFFu;
    QAT_CHECK(n < kEnd, kInvalidArgument, "tokenizer: a text piece has ", n, " symbols; accepted: fewer than 2^32 - 1");
    struct Candidate {
      std::int32_t rank;
      std::uint32_t position;
      std::int32_t left, right, merged;
      bool operator>(const Candidate& other) const {
        return rank != other.rank ? rank > other.rank : position > other.position;
      }
    };
    std::vector<std::uint32_t> next(n), previous(n);
    std::vector<Candidate> storage;
    storage.reserve(n);
    std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue({}, std::move(storage));
    const auto push = [&](std::uint32_t left, std::uint32_t right) {
      if (const Merge* merge = find(ids[left], ids[right]))
        queue.push({merge->rank, left, ids[left], ids[right], merge->id});
    };
    for (std::uint32_t i = 0; i < n; ++i) {
      next[i] = i + 1 < n ? i + 1 : kEnd;
      previous[i] = i > 0 ? i - 1 : kEnd;
      if (i + 1 < n) push(i, i + 1);
    }
    while (!queue.empty()) {
      const Candidate best = queue.top();
      queue.pop();
      const std::uint32_t left = best.position;
      const std::uint32_t right = next[left];
      // Stale when either symbol has merged since; a dead symbol has id -1.
      if (right == kEnd || ids[left] != best.left || ids[right] != best.right) continue;
      ids[left] = best.merged;
      ids[right] = -1;
      next[left] = next[right];
      if (next[left] != kEnd) {
        previous[next[left]] = left;
        push(left, next[left]);
      }
      if (previous[left] != kEnd) push(previous[left], left);
    }
    std::erase(ids, -1);
  }

  std::vector<Entry> entries_;
  std::size_t size_ = 0;
};

}  // namespace qat::inline v0
