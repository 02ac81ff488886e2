// What was put in comes out, until the cache is full and starts over.
#include "qat/data/word_cache.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace qat;

TEST_CASE("words come back with their ids, others do not, and a full cache starts over") {
  WordCache cache;
  std::vector<std::int32_t> ids;
  CHECK_FALSE(cache.append("a", WordCache::hash("a"), ids));
  const auto word = [](std::size_t i) { return "word" + std::to_string(i); };
  for (std::size_t i = 0; i < WordCache::kMaxWords; ++i) {
    const std::vector<std::int32_t> of_word(i % 4, static_cast<std::int32_t>(i));
    cache.insert(word(i), WordCache::hash(word(i)), of_word);
  }
  CHECK(cache.size() == WordCache::kMaxWords);
  for (std::size_t i = 0; i < WordCache::kMaxWords; i += 97) {
    ids.assign(1, -7);
    REQUIRE(cache.append(word(i), WordCache::hash(word(i)), ids));
    std::vector<std::int32_t> expected(i % 4, static_cast<std::int32_t>(i));
    expected.insert(expected.begin(), -7);
    REQUIRE(ids == expected);
  }
  CHECK_FALSE(cache.append("other", WordCache::hash("other"), ids));
  cache.insert("one more", WordCache::hash("one more"), ids);
  CHECK(cache.size() == 1);
  CHECK_FALSE(cache.append(word(0), WordCache::hash(word(0)), ids));
}

TEST_CASE("words of one hash are told apart") {
  WordCache cache;
  cache.insert("one", 42, std::vector<std::int32_t>{1});
  cache.insert("two", 42, std::vector<std::int32_t>{2});
  std::vector<std::int32_t> ids;
  CHECK(cache.append("two", 42, ids));
  CHECK(cache.append("one", 42, ids));
  CHECK(ids == std::vector<std::int32_t>{2, 1});
}
