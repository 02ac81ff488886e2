// The merge loop equals the obvious quadratic one, and stays fast on long input.
#include "qat/data/bpe_merge.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <map>
#include <optional>

#include "qat/base/random.hpp"

using namespace qat;

namespace {

using Rules = std::map<std::pair<std::int32_t, std::int32_t>, std::pair<int, std::int32_t>>;

std::vector<std::int32_t> merge_naively(std::vector<std::int32_t> ids, const Rules& rules) {
  for (;;) {
    std::optional<std::size_t> best;
    int best_key = 0;
    for (std::size_t i = 0; i + 1 < ids.size(); ++i) {
      const auto it = rules.find({ids[i], ids[i + 1]});
      if (it != rules.end() && (!best || it->second.first < best_key)) best = i, best_key = it->second.first;
    }
    if (!best) return ids;
    ids[*best] = rules.at({ids[*best], ids[*best + 1]}).second;
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(*best) + 1);
  }
}

}  // namespace

TEST_CASE("heap and naive merging agree on random tables with equal keys") {
  CounterRandom random(3);
  for (int round = 0; round < 300; ++round) {
    Rules rules;
    MergeTable table;
    const std::uint32_t symbols = 2 + random.next_below(6);
    std::int32_t next = static_cast<std::int32_t>(symbols);
    for (int k = 0; k < 12; ++k) {
      const auto left = static_cast<std::int32_t>(random.next_below(static_cast<std::uint32_t>(next)));
      const auto right = static_cast<std::int32_t>(random.next_below(static_cast<std::uint32_t>(next)));
      const int key = static_cast<int>(random.next_below(6));
      if (!rules.emplace(std::pair{left, right}, std::pair{key, next}).second) continue;
      table.set(left, right, {key, next++});
    }
    std::vector<std::int32_t> ids(random.next_below(60));
    for (auto& id : ids) id = static_cast<std::int32_t>(random.next_below(symbols));
    const std::vector<std::int32_t> expected = merge_naively(ids, rules);
    table.apply(ids);
    REQUIRE(ids == expected);
  }
}

TEST_CASE("empty and single sequences are left alone") {
  MergeTable table;
  table.set(1, 1, {0, 2});
  std::vector<std::int32_t> none, one = {1};
  table.apply(none);
  table.apply(one);
  CHECK(none.empty());
  CHECK(one == std::vector<std::int32_t>{1});
}

TEST_CASE("half a million symbols that merge twenty times over take seconds at most") {
  MergeTable table;
  for (int level = 0; level < 20; ++level) table.set(level, level, {level, level + 1});
  std::vector<std::int32_t> ids(1 << 19, 0);
  const auto start = std::chrono::steady_clock::now();
  table.apply(ids);
  CHECK(ids == std::vector<std::int32_t>{19});
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(20));  // quadratic: hours
}
