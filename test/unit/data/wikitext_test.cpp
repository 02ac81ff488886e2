// WikiText read as lm-evaluation-harness reads it. Expected values: lm_eval 0.4.9,
// tasks/wikitext/preprocess_wikitext.py.
#include "qat/data/wikitext.hpp"

#include <doctest/doctest.h>

#include "qat/io/xxhash.hpp"
#include "support/data.hpp"

using namespace qat;

TEST_CASE("an article loses the spaces around its tokens, and its words are counted with them") {
  const std::string_view article =
      " = A Title ( of sorts ) = \n \n The cat 's hat cost 3 @,@ 500 or 2 @.@ 5 @-@ fold ; it said : \" well , then \" "
      "! "
      "Why ? At 5 \xC2\xB0 N it was ' cold ' . \n = = Section = = \n \n [ sic ] { x } dogs ' bones ( open \n = = = "
      "Deeper = = = \n ";
  CHECK(
      detokenize_wikitext(article) ==
      " = A Title (of sorts) =\n\nThe cat's hat cost 3,500 or 2.5-fold; it said: \"well, then\"! Why? At 5\xC2\xB0N it "
      "was' cold '.\n== Section ==\n\n[sic] {x} dogs' bones ( open\n=== Deeper ===\n");
  CHECK(count_wikitext_words(article) == 69);
  CHECK(article.size() == 223);
  CHECK(count_wikitext_words("one") == 1);
}

TEST_CASE("an article begins at its title, not at those of its sections") {
  const std::string_view text =
      " \n = First = \n a b \n = = Part = = \n c \n = Second one = \n d \n = = = Third = = = \n";
  const auto articles = wikitext_articles(text);
  REQUIRE(articles.size() == 2);
  CHECK(articles[0] == " = First = \n a b \n = = Part = = \n c ");
  CHECK(articles[1] == " = Second one = \n d \n = = = Third = = = \n");
  CHECK(wikitext_articles(" \n\n").empty());
  REQUIRE(wikitext_articles("no title").size() == 1);
}

TEST_CASE("the test part of WikiText-2 has the articles, words and text that the harness gives") {
  const auto path = test::shared_data("text/wikitext-2-test.txt");
  if (!path) return;
  const std::string text = test::read_file(*path);
  std::string read;
  index_t words = 0, bytes = 0;
  const auto articles = wikitext_articles(text);
  for (const std::string_view article : articles) {
    read += detokenize_wikitext(article);
    words += count_wikitext_words(article);
    bytes += std::ssize(article);
  }
  CHECK(articles.size() == 62);
  CHECK(words == 241335);
  CHECK(bytes == 1256386);
  CHECK(checksum_text(xxh64(read)) == "2b8088bf2834ff62");
}
