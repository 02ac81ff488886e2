// Added tokens: leftmost, longest, with their white space and word rules.
#include "qat/data/added_tokens.hpp"

#include <doctest/doctest.h>

#include <utility>

using namespace qat;

namespace {

std::string cut(const AddedTokens& tokens, std::string_view text) {
  std::string out;
  tokens.for_each_segment(text, [&](std::string_view segment, std::int32_t id, bool first) {
    out += (first ? "^" : "|") + std::string(segment) + (id >= 0 ? "=" + std::to_string(id) : "");
  });
  return out;
}

}  // namespace

TEST_CASE("the leftmost longest token is cut out") {
  AddedTokens tokens;
  tokens.add({.content = "ab", .id = 1});
  tokens.add({.content = "abc", .id = 2});
  tokens.add({.content = "bcd", .id = 3});
  CHECK(cut(tokens, "xabcdab") == "^x|abc=2|d|ab=1");
  CHECK(cut(tokens, "abab") == "^ab=1|ab=1");
  CHECK(cut(tokens, "xyz") == "^xyz");
  CHECK(cut(tokens, "").empty());
}

TEST_CASE("lstrip and rstrip take white space along, single_word wants none of a word beside it") {
  AddedTokens tokens;
  tokens.add({.content = "<l>", .id = 1, .lstrip = true});
  tokens.add({.content = "<r>", .id = 2, .rstrip = true});
  tokens.add({.content = "w", .id = 3, .single_word = true});
  CHECK(cut(tokens, "a \xC2\xA0<l> b") == "^a| \xC2\xA0<l>=1| b");
  CHECK(cut(tokens, "a <r> \n<l>") == "^a |<r> \n=2|<l>=1");
  CHECK(cut(tokens, "ww w w_ (w) \xC3\xA9w") == "^ww |w=3| w_ (|w=3|) \xC3\xA9w");
}
