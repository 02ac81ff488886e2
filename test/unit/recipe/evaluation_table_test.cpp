// evaluation.json: what is written is read back, what quantization costs follows from the scores.
#include "qat/recipe/evaluation_table.hpp"

#include <doctest/doctest.h>

#include <cmath>

#include "support/files.hpp"

using namespace qat;
using namespace qat::test;

namespace {

recipe::EvaluationTable example() {
  recipe::EvaluationTable t;
  t.version = "0.1.0";
  t.processor = "a processor";
  t.target = "avx2";
  t.compiler = "g++";
  t.threads = 3;
  t.prompt = "Once";
  t.datasets.push_back({"stories", recipe::DatasetKind::kText, "s.txt", "windows", 900, 170, 0, 400});
  t.datasets.push_back({"cloze", recipe::DatasetKind::kChoices, "c.jsonl", "harness", 0, 0, 10, 80});
  const auto model = [&](const char* name, const char* scheme, double nats, double acc) {
    recipe::EvaluatedModel& m = t.models.emplace_back();
    m.name = name;
    m.scheme = scheme;
    m.path = "p";
    m.bytes = 1000;
    m.decode_tokens_per_second = 12.5;
    m.sample = "Once upon";
    m.scores.push_back({"stories", {{"nats_per_token", nats, 0.01}, {"word_perplexity", std::exp(5 * nats), {}}}});
    m.scores.push_back({"cloze", {{"acc", acc, 0.02}, {"acc_norm", acc, 0.02}}});
  };
  model("full precision", "float", 1.0, 0.75);
  model("PTQ", "int4", 1.5, 0.25);
  model("QAT", "int4", 1.125, 0.5);
  t.paired.push_back({"stories", "nats_per_token", "QAT", "PTQ", -0.375, 0.002});
  t.degradation = recipe::degradation_of(t);
  return t;
}

}  // namespace

TEST_CASE("a table reads back as it was written") {
  const TempDir directory;
  const recipe::EvaluationTable t = example();
  const std::string path = directory / "evaluation.json";
  recipe::write_evaluation(path, t);
  const recipe::EvaluationTable back = recipe::read_evaluation(path);
  CHECK(recipe::to_json(back).dump() == recipe::to_json(t).dump());
  REQUIRE(back.models.size() == 3);
  CHECK(!back.models[0].resident_bytes.has_value());
  CHECK(back.models[0].decode_tokens_per_second == 12.5);
  CHECK(back.find("PTQ")->find("cloze")->find("acc")->standard_error == 0.02);
  CHECK(back.find("PTQ")->find("cloze")->find("nats_per_token") == nullptr);
}

TEST_CASE("the gap closed is the share of PTQ's loss that training takes back, whichever way is better") {
  const std::vector<recipe::Degradation> rows = example().degradation;
  REQUIRE(rows.size() == 4);
  CHECK(rows[0].metric == "nats_per_token");
  CHECK(rows[0].ptq_minus_full() == 0.5);
  CHECK(rows[0].qat_minus_full() == 0.125);
  CHECK(rows[0].ptq_relative() == 0.5);
  CHECK(rows[0].gap_closed() == 0.75);
  CHECK(rows[2].metric == "acc");
  CHECK(rows[2].gap_closed() == 0.5);
  recipe::Degradation none = rows[0];
  none.ptq = none.full_precision;
  CHECK(!none.gap_closed().has_value());
  none.ptq = 0.9;  // PTQ better than full precision: there is no gap
  CHECK(!none.gap_closed().has_value());
  recipe::EvaluationTable two = example();
  two.models.pop_back();
  CHECK(recipe::degradation_of(two).empty());
}

TEST_CASE("numbers beyond a double and text that is not UTF-8 leave valid JSON") {
  const TempDir directory;
  recipe::EvaluationTable t = example();
  t.models[1].scores[0].metrics[1].value = HUGE_VAL;
  t.models[1].sample = "cut \xc3";
  recipe::write_evaluation(directory / "e.json", t);
  const recipe::EvaluationTable back = recipe::read_evaluation(directory / "e.json");
  CHECK(back.models[1].scores[0].metrics[1].value == HUGE_VAL);
  CHECK(back.models[1].sample == "cut \xef\xbf\xbd");
}

TEST_CASE("a file that is not a table is refused by name") {
  const TempDir directory;
  const std::string path = directory / "e.json";
  write_file(path, "{\"format\": \"qat-run\", \"version\": 1}");
  CHECK(contains(error_of([&] { recipe::read_evaluation(path); }), "accepted: \"qat-evaluation\" version 1"));
  nlohmann::ordered_json json = recipe::to_json(example());
  json["datasets"][1]["kind"] = "pictures";
  write_file(path, json.dump());
  CHECK(contains(error_of([&] { recipe::read_evaluation(path); }), "datasets[1]: 'kind' is 'pictures'"));
  json = recipe::to_json(example());
  json["models"][0]["bytes"] = "many";
  write_file(path, json.dump());
  CHECK(contains(error_of([&] { recipe::read_evaluation(path); }), "models[0]: 'bytes'"));
}
