// Multiple-choice files: what is read, and what is said of lines that are no items.
#include "qat/data/choice_items.hpp"

#include <doctest/doctest.h>

#include "support/files.hpp"

using namespace qat;

TEST_CASE("items are read line by line, blank lines and other keys left alone") {
  const test::TempDir directory;
  const std::string path = directory / "items.jsonl";
  test::write_bytes(path,
                    "{\"ind\": 4, \"ctx\": \"A b.\", \"endings\": [\"One.\", \"Zwei \\u00e4.\"], \"label\": 1}\r\n\n"
                    "{\"label\": 0, \"endings\": [\"x\", \"y\", \"z\"], \"ctx\": \"\"}");
  const std::vector<ChoiceItem> items = load_choice_items(path);
  REQUIRE(items.size() == 2);
  CHECK(items[0].context == "A b.");
  CHECK(items[0].endings == std::vector<std::string>{"One.", "Zwei \xC3\xA4."});
  CHECK(items[0].label == 1);
  CHECK(items[1].endings.size() == 3);
  CHECK(items[1].label == 0);
}

TEST_CASE("a line that is no item is named with its number, its key and what is accepted") {
  const test::TempDir directory;
  const std::string path = directory / "items.jsonl",
                    good = "{\"ctx\": \"a\", \"endings\": [\"b\", \"c\"], \"label\": 0}\n";
  const auto message = [&](const std::string& text) {
    test::write_bytes(path, text);
    return test::error_of([&] { load_choice_items(path); });
  };
  struct Case {
    const char *line, *key;
  };
  for (const auto& [line, key] : {Case{"{\"endings\": [\"b\", \"c\"], \"label\": 0}", "ctx is missing"},
                                  {"{\"ctx\": 3, \"endings\": [\"b\", \"c\"], \"label\": 0}", "ctx is 3"},
                                  {"{\"ctx\": \"a\", \"endings\": [\"b\"], \"label\": 0}", "endings is"},
                                  {"{\"ctx\": \"a\", \"endings\": [\"b\", 1], \"label\": 0}", "endings holds 1"},
                                  {"{\"ctx\": \"a\", \"endings\": [\"b\", \"\"], \"label\": 0}", "endings holds \"\""},
                                  {"{\"ctx\": \"a\", \"endings\": [\"b\", \"c\"], \"label\": 2}", "label is 2"},
                                  {"{\"ctx\": \"a\", \"endings\": [\"b\", \"c\"], \"label\": -1}", "label is -1"},
                                  {"{\"ctx\": \"a\", \"endings\": [\"b\", \"c\"], \"label\": \"0\"}", "label is \"0\""},
                                  {"[1]", "accepted: an object"},
                                  {"{\"ctx\": ", "not valid JSON"}}) {
    const std::string said = message(good + line + "\n");
    CAPTURE(said);
    CHECK(test::contains(said, path + ":2"));
    CHECK(test::contains(said, key));
  }
  CHECK(test::contains(message(" \n\n"), "has no items"));
}

TEST_CASE("lines that are not valid are left out and counted where that is asked for") {
  const test::TempDir directory;
  const std::string path = directory / "items.jsonl",
                    good = "{\"ctx\": \"a\", \"endings\": [\" b \", \"c\"], \"label\": 0}\n";
  test::write_bytes(path, good + "{\n" + good + "[]\n");
  SkippedLines skipped;
  const std::vector<ChoiceItem> items = load_choice_items(path, &skipped);
  REQUIRE(items.size() == 2);
  CHECK(items[0].endings[0] == "b");  // the space is the one that joins context and ending
  CHECK(skipped.count == 2);
  CHECK(test::contains(skipped.first, "items.jsonl:2"));
  test::write_bytes(path, "{\n");
  CHECK(test::contains(test::error_of([&] { load_choice_items(path, &skipped); }),
                       "has no items; the first line left out"));
}

TEST_CASE("HellaSwag's own lines become the text that lm-evaluation-harness makes of them") {
  // Expected values: lm_eval 0.4.9, tasks/hellaswag/utils.py.
  const test::TempDir directory;
  const std::string path = directory / "items.jsonl";
  test::write_bytes(path,
                    "{\"ctx_a\": \"A man holds a KNIFE [title] And cuts.\", \"ctx_b\": \"the Man THEN\", "
                    "\"ctx\": \"unused\", \"activity_label\": \"Cooking\", "
                    "\"endings\": [\" eats [step] it. \", \"Runs  away [title] Home\"], \"label\": 1}");
  const std::vector<ChoiceItem> items = load_choice_items(path);
  REQUIRE(items.size() == 1);
  CHECK(items[0].context == "Cooking: A man holds a KNIFE. And cuts. The man then");
  CHECK(items[0].endings == std::vector<std::string>{"eats it.", "Runs away. Home"});
  CHECK(items[0].label == 1);
}
