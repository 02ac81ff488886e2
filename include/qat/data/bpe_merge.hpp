// The merge loop of byte-pair encoding, shared by all tokenizers that have one.
#pragma once

#include <cstdint>
#include <queue>
#include <unordered_map>
#include <vector>

#include "qat/base/check.hpp"

namespace qat::inline v0 {

/// Which adjacent ids merge, with what priority and into what. Key: ordered; the smallest merges first.
template <class Key>
class MergeTable {
 public:
  struct Merge {
    Key key;
    std::int32_t id;
  };

  void set(std::int32_t left, std::int32_t right, Merge merge) { merges_.insert_or_assign(pack(left, right), merge); }
  bool empty() const { return merges_.empty(); }

  /// Repeatedly merges the adjacent pair of smallest key, the leftmost of equals, until none merges: O(n log n).
  void apply(std::vector<std::int32_t>& ids) const {
    const std::size_t n = ids.size();
    if (n < 2) return;
    constexpr std::uint32_t kEnd = 0xFFFFFFFFu;
    QAT_CHECK(n < kEnd, kInvalidArgument, "tokenizer: a text piece has ", n, " symbols; accepted: fewer than 2^32 - 1");
    struct Candidate {
      Key key;
      std::uint32_t position;
      std::int32_t left, right, merged;
      bool operator>(const Candidate& other) const {
        return key != other.key ? key > other.key : position > other.position;
      }
    };
    std::vector<std::uint32_t> next(n), previous(n);
    std::vector<Candidate> storage;
    storage.reserve(n);
    std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue({}, std::move(storage));
    const auto push = [&](std::uint32_t left, std::uint32_t right) {
      const auto it = merges_.find(pack(ids[left], ids[right]));
      if (it != merges_.end()) queue.push({it->second.key, left, ids[left], ids[right], it->second.id});
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

 private:
  static std::uint64_t pack(std::int32_t left, std::int32_t right) {
    return std::uint64_t{static_cast<std::uint32_t>(left)} << 32 | static_cast<std::uint32_t>(right);
  }
  struct Hash {
    std::size_t operator()(std::uint64_t pair) const {
      pair *= 0x9E3779B97F4A7C15u;
      return static_cast<std::size_t>(pair ^ pair >> 32);
    }
  };
  std::unordered_map<std::uint64_t, Merge, Hash> merges_;
};

}  // namespace qat::inline v0
