// WikiText as lm-evaluation-harness scores it: a text of articles, their words counted as they are written, and the
// spaces that its tokens were divided by taken out before a model reads them.
// Source: lm_eval/tasks/wikitext of https://github.com/EleutherAI/lm-evaluation-harness
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qat/data/text_split.hpp"
#include "qat/data/unicode.hpp"

namespace qat::inline v0 {

/// The articles of a text: each begins with a line `= Title =` (of sections, `= = Title = =`, more follow) and ends
/// before the line feed of the next one's; what has no word is left out.
inline std::vector<std::string_view> wikitext_articles(std::string_view text) {
  std::vector<std::string_view> articles;
  std::size_t begin = 0;
  const auto add = [&](std::size_t end) {
    const std::string_view article = text.substr(begin, end - begin);
    if (!strip(article).empty()) articles.push_back(article);
  };
  for (std::size_t start = 0; start < text.size();) {
    const std::size_t end = (std::min)(text.find('\n', start), text.size());
    const std::string_view line = strip(text.substr(start, end - start));
    const bool is_title =
        line.starts_with("= ") && !line.starts_with("= =") && line.ends_with(" =") && !line.ends_with("= =");
    if (is_title && start > begin) {
      add(start - 1);
      begin = start;
    }
    start = end + 1;
  }
  add(text.size());
  return articles;
}

/// Words of an article as the harness counts them: one more than there are stretches of white space, which may stand at
/// both ends.
inline index_t count_wikitext_words(std::string_view article) {
  index_t words = 1;
  bool in_space = false;
  for (const char c : article) {
    const bool space = c == ' ' || (c >= '\t' && c <= '\r');
    words += space && !in_space;
    in_space = space;
  }
  return words;
}

namespace detail {
/// Takes out white space behind `open` and before the next `close`.
inline void tighten_brackets(std::string& text, char open, char close) {
  std::string out;
  std::size_t at = 0;
  for (std::size_t begin; (begin = text.find(open, at)) != text.npos;) {
    const std::size_t end = text.find(close, begin + 1);
    if (end == text.npos) break;
    out.append(text, at, begin + 1 - at);
    out += strip(std::string_view(text).substr(begin + 1, end - begin - 1));
    out += close;
    at = end + 1;
  }
  text = out.append(text, at);
}
}  // namespace detail

/// An article without the spaces around its tokens: the harness's rules in their order.
inline std::string detokenize_wikitext(std::string_view article) {
  using Rule = std::pair<const char*, const char*>;
  std::string text(article);
  for (const auto& [from, to] :
       {Rule{"s '", "s'"}, Rule{" @-@ ", "-"}, Rule{" @,@ ", ","}, Rule{" @.@ ", "."}, Rule{" : ", ": "},
        Rule{" ; ", "; "}, Rule{" . ", ". "}, Rule{" ! ", "! "}, Rule{" ? ", "? "}, Rule{" , ", ", "}})
    text = detail::replace_all(text, from, to);
  for (const auto& [open, close] : {std::pair{'(', ')'}, {'[', ']'}, {'{', '}'}, {'"', '"'}, {'\'', '\''}})
    detail::tighten_brackets(text, open, close);
  for (const auto& [from, to] :
       {Rule{"= = = =", "===="}, Rule{"= = =", "==="}, Rule{"= =", "=="}, Rule{" \xC2\xB0 ", "\xC2\xB0"},
        Rule{" \n", "\n"}, Rule{"\n ", "\n"}, Rule{" N ", " 1 "}, Rule{" 's", "'s"}})
    text = detail::replace_all(text, from, to);
  return text;
}

}  // namespace qat::inline v0
