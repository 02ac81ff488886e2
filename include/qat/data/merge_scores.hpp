// Scores of pieces that order merges as a list of merges does: from tokenizer.json to sentencepiece's and llama.cpp's
// way.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qat/data/vocabulary.hpp"
#include "qat/io/file.hpp"

namespace qat::inline v0 {

/// Two pieces, by id, that become one; in a list, by rank.
using MergedPair = std::pair<std::int32_t, std::int32_t>;

/// Fills vocabulary.scores from merges by rank; tokens and types are there, `id_of` finds a token. Where merges are
/// ordered by scores, any two pieces that are a piece together merge, at the rank of that piece. So each split of each
/// normal token has to be a merge, and the merges of one token stand together.
/// @return "" or why no scores give the same ids
inline std::string score_merges(const std::vector<MergedPair>& merges,
                                const std::function<std::int32_t(const std::string&)>& id_of, Vocabulary& vocabulary) {
  struct Ranks {
    std::int32_t first = 0, count = 0;
  };
  const auto text = [&](std::int32_t id) -> const std::string& {
    return vocabulary.tokens[static_cast<std::size_t>(id)];
  };
  std::vector<Ranks> ranks(vocabulary.tokens.size());
  std::int32_t before = -1;
  for (std::size_t rank = 0; rank < merges.size(); ++rank) {
    const std::int32_t merged = id_of(text(merges[rank].first) + text(merges[rank].second));
    if (merged < 0) return "an added token takes part in a merge";
    Ranks& of_piece = ranks[static_cast<std::size_t>(merged)];
    if (of_piece.count > 0 && merged != before)
      return "merges of " + printable(text(merged)) + " and of " + printable(text(before)) + " alternate";
    if (of_piece.count++ == 0) of_piece.first = static_cast<std::int32_t>(rank);
    before = merged;
  }
  vocabulary.scores.assign(vocabulary.tokens.size(), 0.0f);
  for (std::size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    if (vocabulary.types[id] != TokenType::kNormal) continue;
    const std::string& piece = vocabulary.tokens[id];
    std::int32_t splits = 0;
    for (std::size_t cut = 1; cut < piece.size(); ++cut)
      splits += id_of(piece.substr(0, cut)) >= 0 && id_of(piece.substr(cut)) >= 0;
    if (splits != ranks[id].count)
      return "token " + printable(piece) + " has " + std::to_string(splits) + " splits into two tokens and " +
             std::to_string(ranks[id].count) + " merges";
    if (splits > 0) vocabulary.scores[id] = -static_cast<float>(ranks[id].first);
  }
  return {};
}

}  // namespace qat::inline v0
