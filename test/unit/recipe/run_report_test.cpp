// A report says what a run's directory holds, and names what it does not.
#include "qat/recipe/run_report.hpp"

#include <doctest/doctest.h>
#include <sys/time.h>

#include "qat/recipe/run.hpp"
#include "support/data.hpp"
#include "unit/recipe/training_chain.hpp"

using namespace qat;
using namespace qat::recipe;
using namespace qat_test;
using test::TempDir;

namespace {

/// A finished run of 12 steps with everything that qat-llm leaves in its directory, of a model beside it.
struct ReportedRun {
  TempDir dir;
  std::string place = dir / "run", base = dir / "base";

  explicit ReportedRun(const std::string& scheme = "8da4w", index_t delay = 4) {
    const std::vector<std::int32_t> tokens = chain(2000), held_out = chain(400);
    nn::Transformer model = tiny_model();
    save_llama({model.config(), model.tensors()}, base);
    if (!scheme.empty()) prepare(model, {{"linear", parse_scheme(scheme)}});
    TrainConfig config = quick(12);
    config.delay_fake_quant_steps = scheme.empty() ? 0 : delay;
    RunOptions options;
    options.directory = place;
    options.validate_every = 3;
    options.description = {{"model", base}};
    Run run(two_threads(), model, tokens, config, options, TokenWindows::contiguous(held_out, 32));
    CHECK(run.drive([](const RunStep&) {}));
    save_llama({model.config(), model.tensors()}, place + "/model");
    if (scheme.empty()) return;
    convert(two_threads(), model);
    save_packed(model, place + "/packed");
  }
  RunReport report(const std::string& model = "") const { return gather_run_report(two_threads(), place, model); }
};

bool names(const std::vector<std::string>& missing, const std::string& text) {
  for (const std::string& line : missing)
    if (line.find(text) != line.npos) return true;
  return false;
}

EvaluationTable some_evaluation() {
  EvaluationTable table;
  table.version = "0";
  table.datasets = {{"text", DatasetKind::kText, "text.txt", "", 10, 2, 0, 4}};
  for (const char* name : {"full precision", "PTQ", "QAT"})
    table.models.push_back(
        {name, "float", "path", 1, {}, {}, {}, {}, "sample", {{"text", {{"nats_per_token", 1.5, 0.1}}}}});
  table.degradation = degradation_of(table);
  return table;
}

}  // namespace

TEST_CASE("a report has every step, both validation losses, the delay and every layer before and after training") {
  const ReportedRun run;
  const RunReport report = run.report();
  CHECK(report.finished());
  CHECK(report.steps == 12);
  REQUIRE(report.metrics.size() == 12);
  CHECK(report.delay() == 4);
  CHECK(report.resumed().empty());
  CHECK(report.scheme == to_string(parse_scheme("8da4w")).c_str());
  for (std::size_t i = 0; i < 12; ++i) {
    CHECK(report.metrics[i].step == static_cast<index_t>(i));
    CHECK(report.metrics[i].loss > 0.0);
    CHECK(report.metrics[i].tokens_per_second > 0.0);
    CHECK(report.metrics[i].validation_quantized.has_value() == (i % 3 == 2));
    CHECK(report.metrics[i].validation_float.has_value() == (i % 3 == 2));
  }
  nn::Transformer packed = load_packed(run.place + "/packed");
  const std::vector<LayerStatistics> expected = layer_statistics(packed, load_llama(run.place + "/model").tensors);
  REQUIRE(report.layers.size() == expected.size());
  int quantized = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const ReportedLayer& layer = report.layers[i];
    CAPTURE(layer.name);
    REQUIRE(layer.qat.has_value());
    REQUIRE(layer.ptq.has_value());
    CHECK(layer.name == expected[i].name);
    CHECK(layer.qat->codes == expected[i].codes);
    CHECK(layer.qat->sqnr_db == expected[i].sqnr_db);
    CHECK(layer.ptq->scheme == layer.qat->scheme);
    CHECK(layer.ptq->bytes == layer.qat->bytes);
    if (!layer.is_quantized()) continue;
    ++quantized;
    CHECK(layer.ptq->codes != layer.qat->codes);  // training moved weights
    CHECK(layer.ptq->has_sqnr);
    CHECK(layer.ptq->sqnr_db > 10.0);
    CHECK(layer.qat->first_code == -8);
  }
  CHECK(quantized >= 7);
  index_t float_bytes = 0;
  for (const ReportedLayer& layer : report.layers) float_bytes += layer.float_bytes;
  nn::Transformer first = tiny_model();
  CHECK(float_bytes == bytes_before(prepare(first, {})));
  CHECK(report.missing.size() == 1);
  CHECK(names(report.missing, "qat-llm eval --run " + run.place));
  const auto json = to_json(report);
  CHECK(json.at("metrics").size() == 12);
  CHECK(json.at("layers").size() == report.layers.size());
  CHECK(json.at("missing").size() == 1);
  CHECK(json.at("evaluation").is_null());
}

TEST_CASE("a report names what is absent, older, or of other weights, and shows the rest") {
  const ReportedRun run;
  write_evaluation(run.place + "/evaluation.json", some_evaluation());
  CHECK(run.report().missing.empty());
  CHECK(run.report().evaluation->models.size() == 3);
  const timeval past[2] = {{1000, 0}, {1000, 0}};
  REQUIRE(::utimes((run.place + "/evaluation.json").c_str(), past) == 0);
  CHECK(names(run.report().missing, "older than the run"));

  remove_directory(run.place + "/packed");
  CHECK(names(run.report().missing, "The layers after training"));
  CHECK(run.report().layers.front().ptq.has_value());
  CHECK_FALSE(run.report().layers.front().qat.has_value());

  nn::Transformer other = tiny_model(false, 99);
  save_llama({other.config(), other.tensors()}, run.dir / "other");
  CHECK(names(run.report(run.dir / "other").missing, "does not hold the weights"));
  CHECK(run.report(run.dir / "other").layers.empty());
  CHECK(names(run.report(run.dir / "none").missing, "none: does not exist"));

  write_file(run.place + "/metrics.jsonl", "");
  CHECK(names(run.report().missing, "holds no step"));
}

TEST_CASE("a run in floating point, and one at work, are reported too") {
  const ReportedRun run("");
  const RunReport report = run.report();
  CHECK(report.scheme.empty());
  CHECK(report.layers.empty());
  CHECK(report.delay() == 0);
  CHECK(names(report.missing, "floating point"));
  CHECK_FALSE(report.metrics.back().validation_quantized.has_value());

  const std::string lines = test::read_file(run.place + "/metrics.jsonl");
  write_file(run.place + "/metrics.jsonl", lines.substr(0, lines.size() - 5));  // the last line is being written
  const RunReport unfinished = run.report();
  CHECK(unfinished.metrics.size() == 11);
  CHECK_FALSE(unfinished.finished());
  CHECK(names(unfinished.missing, "11 of 12 steps"));
}

TEST_CASE("a directory without a run, damaged metrics and another evaluation are errors that name file and line") {
  const ReportedRun run;
  QAT_CHECK_ERROR(gather_run_report(two_threads(), run.dir / "none"), "none: is no directory");
  QAT_CHECK_ERROR(gather_run_report(two_threads(), run.base), "base/run.json: cannot open");
  const std::string metrics = run.place + "/metrics.jsonl", lines = test::read_file(metrics);
  write_file(metrics, "{\"step\":0,\"loss\":1}\nnonsense\n");
  QAT_CHECK_ERROR(run.report(), "metrics.jsonl:2: is not valid JSON");
  write_file(metrics, "{\"step\":0}\n{\"step\":0}\n");
  QAT_CHECK_ERROR(run.report(), "metrics.jsonl:2: 'step' is 0");
  write_file(metrics, "{\"step\":0,\"loss\":null}\n");
  CHECK(std::isnan(run.report().metrics.front().loss));
  write_file(metrics, lines);
  write_file(run.place + "/evaluation.json", "{\"format\":\"other\",\"version\":1}");
  QAT_CHECK_ERROR(run.report(), "evaluation.json: format is \"other\"");
}

TEST_CASE("the steps after which another process went on are those that run.json names, but for the end") {
  RunReport report;
  report.steps = 100;
  CHECK(report.resumed().empty());
  report.description = {
      {"processes", {{{"first_step", 0}}, {{"first_step", 30}}, {{"first_step", 100}}, 7, Json::object()}}};
  CHECK(report.resumed() == std::vector<index_t>{30});
}
