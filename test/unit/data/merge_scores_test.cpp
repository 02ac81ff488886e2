// Scores follow ranks, or the reason why they cannot is given. Ids: gguf_vocabulary_test.
#include "qat/data/merge_scores.hpp"

#include <doctest/doctest.h>

#include <algorithm>

using namespace qat;

namespace {

struct Scored {
  std::string why;
  std::vector<float> scores;
};

Scored score(const std::vector<std::string>& tokens, const std::vector<MergedPair>& merges) {
  Vocabulary vocabulary;
  vocabulary.tokens = tokens;
  vocabulary.types.assign(tokens.size(), TokenType::kNormal);
  const auto id_of = [&](const std::string& text) {
    const auto it = std::find(tokens.begin(), tokens.end(), text);
    return it == tokens.end() ? -1 : static_cast<std::int32_t>(it - tokens.begin());
  };
  const std::string why = score_merges(merges, id_of, vocabulary);
  return {why, vocabulary.scores};
}

}  // namespace

TEST_CASE("a token scores by the rank of its first merge") {
  const Scored scored = score({"a", "b", "ab", "ba", "aba"}, {{1, 0}, {0, 1}, {0, 3}, {2, 0}});
  CHECK(scored.why.empty());
  CHECK(scored.scores == std::vector<float>{0, 0, -1, 0, -2});
}

TEST_CASE("no scores where a split is no merge, or merges of two tokens alternate") {
  CHECK(score({"a", "b", "ab", "ba", "aba"}, {{1, 0}, {0, 1}, {0, 3}}).why ==
        "token 'aba' has 2 splits into two tokens and 1 merges");
  CHECK(score({"a", "b", "ab", "ba", "aba"}, {{0, 1}, {0, 3}, {1, 0}, {2, 0}}).why ==
        "merges of 'aba' and of 'ba' alternate");
  CHECK(score({"a", "b"}, {{0, 1}}).why == "an added token takes part in a merge");
}
