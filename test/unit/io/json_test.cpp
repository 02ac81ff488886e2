// JSON: strict reading, typed members, errors that name file and key.
#include "qat/io/json.hpp"

#include <doctest/doctest.h>

#include "support/files.hpp"

using namespace qat;

TEST_CASE("a duplicate key at any depth is an error, the same key in two objects is none") {
  QAT_CHECK_ERROR(parse_json(R"({"a":1,"a":2})", "f.json"), "f.json", "'a'", "twice");
  QAT_CHECK_ERROR(parse_json(R"({"x":[{"b":{"c":1,"c":1}}]})", "f.json"), "'c'");
  CHECK(parse_json(R"({"a":{"a":1},"b":{"a":2}})", "f")["b"]["a"] == 2);
}

TEST_CASE("text that is no JSON is named in one line") {
  for (const char* text : {"", "{", "{\"a\":}", "{} x", "{\"a\":\"\n\"}", "\xff", "{\"a\":\"\xff\"}"})
    QAT_CHECK_ERROR(parse_json(text, "f.json"), "f.json", "not valid JSON");
}

TEST_CASE(
    "what follows a key is named with it; nesting has a limit, so that nothing that walks a value runs out of stack") {
  QAT_CHECK_ERROR(parse_json(R"({"a": [1, 2)", "f.json"), "f.json", "not valid JSON after key 'a'",
                  "line 1, column 12");
  const auto nested = [](std::size_t levels) {
    return R"({"a": )" + std::string(levels - 1, '[') + std::string(levels - 1, ']') + "}";
  };
  CHECK(parse_json(nested(kDeepestJson), "f").contains("a"));
  QAT_CHECK_ERROR(parse_json(nested(kDeepestJson + 1), "f.json"), "f.json", "key 'a'", "more than 256 deep");
  QAT_CHECK_ERROR(parse_json(std::string(1'000'000, '['), "f.json"), "f.json", "the text", "more than 256 deep");
}

TEST_CASE("members have the type asked for; absent and null are the same") {
  const Json json = parse_json(R"({"i":3,"d":1.5,"s":"x","b":true,"n":null,"a":[1],"u":18446744073709551615})", "f");
  const JsonFields fields(json, "f.json");
  CHECK(fields.integer("i") == 3);
  CHECK(fields.number("i") == 3.0);
  CHECK(fields.number("d") == 1.5);
  CHECK(fields.string("s") == "x");
  CHECK(fields.boolean_or("b", false));
  CHECK(fields.integer_or("n", 7) == 7);
  CHECK(fields.integer_or("absent", 7) == 7);
  CHECK(fields.array("a").size() == 1);
  QAT_CHECK_ERROR(fields.integer("absent"), "f.json", "'absent'", "missing");
  QAT_CHECK_ERROR(fields.integer("n"), "'n'", "missing");
  QAT_CHECK_ERROR(fields.integer("d"), "'d'", "1.5", "an integer");
  QAT_CHECK_ERROR(fields.integer("u"), "'u'", "an integer");
  QAT_CHECK_ERROR(fields.string("i"), "'i'", "a string");
  QAT_CHECK_ERROR(fields.boolean_or("i", false), "'i'", "true or false");
  QAT_CHECK_ERROR(fields.array("i"), "'i'", "an array");
  QAT_CHECK_ERROR(JsonFields(json["a"], "f.json"), "f.json", "a JSON object");
}

TEST_CASE("a float is written as its shortest decimal") {
  CHECK(shortest_double(1e-5f) == 1e-5);
  CHECK(shortest_double(0.1f) == 0.1);
  CHECK(static_cast<float>(shortest_double(0.333333343f)) == 0.333333343f);
}
