// Cutting a text where nothing merges changes no id; neither does the cache, nor another thread.
#include "qat/data/bpe_encoder.hpp"

#include <doctest/doctest.h>

#include <numeric>
#include <set>
#include <thread>

#include "qat/base/random.hpp"

using namespace qat;

namespace {

std::vector<std::int32_t> encode(const BpeEncoder& encoder, std::string_view text) {
  std::vector<std::int32_t> ids;
  BpeEncoder::Session(encoder).encode(text, ids);
  return ids;
}

/// Bytes are ids 0 to 255; then `pieces`, whose scores are what `score` says.
template <class Score>
BpeEncoder scored(const std::vector<std::string>& pieces, const Score& score) {
  BpeEncoder encoder(Symbols::kCodePoints);
  std::array<std::int32_t, 256> bytes;
  std::iota(bytes.begin(), bytes.end(), 0);
  encoder.set_byte_ids(bytes);
  for (std::size_t i = 0; i < pieces.size(); ++i) encoder.add_piece(pieces[i], static_cast<std::int32_t>(256 + i));
  encoder.add_scored_merges(score);
  return encoder;
}

/// The definition: the best pair of adjacent pieces merges, the leftmost of equals, until none does.
template <class Score>
std::vector<std::int32_t> by_definition(const std::vector<std::string>& pieces, const Score& score,
                                        std::string_view text) {
  const auto id_of = [&](const std::string& piece) {
    const auto it = std::find(pieces.begin(), pieces.end(), piece);
    return it == pieces.end() ? -1 : static_cast<std::int32_t>(256 + (it - pieces.begin()));
  };
  std::vector<std::string> symbols;
  for (std::size_t i = 0; i < text.size(); i += symbols.back().size())
    symbols.emplace_back(text.substr(i, decode_utf8(text, i).length));
  for (;;) {
    std::size_t best = symbols.size();
    for (std::size_t i = 0; i + 1 < symbols.size(); ++i) {
      const std::int32_t id = id_of(symbols[i] + symbols[i + 1]);
      if (id >= 0 && (best == symbols.size() || score(id) > score(id_of(symbols[best] + symbols[best + 1])))) best = i;
    }
    if (best == symbols.size()) break;
    symbols[best] += symbols[best + 1];
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(best) + 1);
  }
  std::vector<std::int32_t> ids;
  for (const std::string& symbol : symbols) {
    if (const std::int32_t id = id_of(symbol); id >= 0) {
      ids.push_back(id);
    } else {
      for (const char byte : symbol) ids.push_back(static_cast<unsigned char>(byte));
    }
  }
  return ids;
}

}  // namespace

TEST_CASE("random vocabularies give the ids of the definition on random texts") {
  const std::string alphabet[] = {"\xE2\x96\x81", "a", "b", "\xC3\xA9", "."};
  CounterRandom random(7);
  for (int round = 0; round < 200; ++round) {
    std::set<std::string> chosen(std::begin(alphabet), std::end(alphabet));
    if (round % 2 != 0) chosen.erase(alphabet[random.next_below(5)]);  // a character that only longer pieces have
    for (int k = 0; k < 14; ++k) {
      std::string piece;
      for (std::uint32_t n = 2 + random.next_below(3); n > 0; --n) piece += alphabet[random.next_below(5)];
      chosen.insert(piece);
    }
    const std::vector<std::string> pieces(chosen.begin(), chosen.end());
    std::vector<float> scores;
    for (std::size_t i = 0; i < pieces.size(); ++i) scores.push_back(static_cast<float>(random.next_below(9)));
    const auto score = [&](std::int32_t id) { return scores[static_cast<std::size_t>(id - 256)]; };
    const BpeEncoder encoder = scored(pieces, score);
    std::string text;
    for (int k = 0; k < 200; ++k) text += k % 50 == 49 ? "\xE4\xBD\xA0" : alphabet[random.next_below(5)];
    const auto expected = by_definition(pieces, score, text);
    REQUIRE(encode(encoder, text) == expected);
    REQUIRE(encode(encoder, text) == expected);  // now from the cache
  }
}

TEST_CASE("several threads get the ids that one gets") {
  const std::vector<std::string> pieces = {"a", "b", "ab", "abab", " "};
  const BpeEncoder encoder = scored(pieces, [](std::int32_t id) { return static_cast<float>(id); });
  std::string text;
  for (int i = 0; i < 2000; ++i) text += i % 7 == 0 ? "abab " : "ba ";
  const auto expected = encode(encoder, text);
  std::vector<std::vector<std::int32_t>> found(4);
  std::vector<std::thread> threads;
  for (auto& ids : found) threads.emplace_back([&] { ids = encode(encoder, text); });
  for (auto& thread : threads) thread.join();
  for (const auto& ids : found) CHECK(ids == expected);
}

TEST_CASE("unknown characters: one id each, one for all in a row, or none") {
  const auto with = [](bool known, bool fuse) {
    BpeEncoder encoder(Symbols::kCodePoints);
    encoder.add_piece("a", 1);
    if (known) encoder.set_unknown(0, fuse);
    return encode(encoder, "xya\xC3\xA9z");
  };
  CHECK(with(true, false) == std::vector<std::int32_t>{0, 0, 1, 0, 0});
  CHECK(with(true, true) == std::vector<std::int32_t>{0, 1, 0});
  CHECK(with(false, false) == std::vector<std::int32_t>{1});
}
