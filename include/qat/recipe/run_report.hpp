// What there is to say about a run, as plain values gathered from its directory: metrics, evaluation, and its layers
// quantized before training (PTQ) and after it (QAT).
#pragma once

#include <sys/stat.h>

#include <algorithm>
#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "qat/io/llama.hpp"
#include "qat/recipe/evaluation_table.hpp"
#include "qat/recipe/layer_statistics.hpp"
#include "qat/recipe/metrics_file.hpp"
#include "qat/recipe/run_directory.hpp"

namespace qat::inline v0::recipe {

/// A layer of the model, before and after training.
struct ReportedLayer {
  std::string name;
  Shape shape;                         ///< of its weight
  index_t float_bytes = 0;             ///< in fp32; 0 for a tied head
  std::optional<LayerStatistics> ptq;  ///< the first weights, quantized by the run's schemes
  std::optional<LayerStatistics> qat;  ///< the trained weights, as they are shipped
  bool is_quantized() const { return (qat && !qat->codes.empty()) || (ptq && !ptq->codes.empty()); }
  const std::string& scheme() const { return qat ? qat->scheme : ptq->scheme; }
};

struct RunReport {
  std::string directory;
  std::string model;              ///< path of the model that was trained; empty where run.json names none
  std::string scheme;             ///< of the quantized layers; empty for a run in floating point
  index_t steps = 0;              ///< that the run is to have
  Json description;               ///< run.json
  nlohmann::ordered_json recipe;  ///< keys nested as in a file; null where it is not known
  std::optional<EvaluationTable> evaluation;
  std::vector<StepMetrics> metrics;
  std::vector<ReportedLayer> layers;
  std::vector<std::string> missing;  ///< what the directory does not hold, a sentence each

  bool finished() const { return !metrics.empty() && metrics.back().step + 1 >= steps; }
  /// Steps that were trained in floating point before fake quantization; 0 where it was on from the start.
  index_t delay() const;
  /// Steps after which another process went on.
  std::vector<index_t> resumed() const;
};

namespace detail {

/// A member that may be absent, of any depth; null then.
inline const Json& member_or_null(const Json& json, std::initializer_list<const char*> path) {
  static const Json null;
  const Json* place = &json;
  for (const char* key : path) {
    if (!place->is_object() || !place->contains(key)) return null;
    place = &place->at(key);
  }
  return *place;
}

/// Seconds of the last change; nothing where the file does not exist.
inline std::optional<double> change_time(const std::string& path) {
  struct stat status;
  if (::stat(path.c_str(), &status) != 0) return std::nullopt;
#if defined(__APPLE__)
  const timespec& time = status.st_mtimespec;
#else
  const timespec& time = status.st_mtim;
#endif
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

/// A rule for every layer that the run quantized.
inline std::vector<LayerRule> rules_of_run(const Json& description, const std::string& file) {
  std::vector<LayerRule> rules;
  const Json& layers = member_or_null(description, {"identity", "layers"});
  if (!layers.is_object()) return rules;
  for (const auto& [name, layer] : layers.items()) {
    const JsonFields fields(layer, file + ": layer " + printable(name));
    LayerRule rule{name, {}};
    if (fields.find("weight") != nullptr) rule.scheme.weight = parse_spec(fields.string("weight").c_str());
    if (fields.find("activation") != nullptr) rule.scheme.activation = parse_spec(fields.string("activation").c_str());
    rules.push_back(std::move(rule));
  }
  return rules;
}

inline std::string schemes_of(const std::vector<LayerRule>& rules) {
  std::vector<std::string> schemes;
  for (const LayerRule& rule : rules) schemes.push_back(to_string(rule.scheme).c_str());
  return joined_once(schemes, ", ");
}

/// Every layer of one of the two models beside that of the other.
inline void add_statistics(RunReport& report, std::vector<LayerStatistics> statistics,
                           std::optional<LayerStatistics> ReportedLayer::*which) {
  const bool tied = member_or_null(report.description, {"identity", "model", "tie_word_embeddings"}) == true;
  for (LayerStatistics& s : statistics) {
    const auto found = std::find_if(report.layers.begin(), report.layers.end(),
                                    [&](const ReportedLayer& layer) { return layer.name == s.name; });
    ReportedLayer& layer = found == report.layers.end() ? report.layers.emplace_back() : *found;
    layer.name = s.name;
    layer.shape = s.shape;
    layer.float_bytes = 4;
    for (int d = 0; d < s.shape.rank(); ++d) layer.float_bytes *= s.shape[d];
    if (tied && s.name == "lm_head") layer.float_bytes = 0;
    layer.*which = std::move(s);
  }
}

inline nn::Transformer model_of(LlamaWeights weights) {
  nn::Transformer model(weights.config);
  model.load(std::move(weights.tensors));
  return model;
}

/// The first weights, quantized by the run's rules.
inline void add_ptq(const CpuBackend& backend, const std::vector<LayerRule>& rules, RunReport& report) {
  nn::Transformer model = model_of(load_llama(report.model));
  const Json& stated = member_or_null(report.description, {"identity", "model", "weights"});
  if (stated.is_string() && stated != model_identity(model).at("weights")) {
    report.missing.push_back("The layers before training: " + report.model +
                             " does not hold the weights any more that the run began with.");
    return;
  }
  const std::map<std::string, Tensor<float>> originals = model.tensors();
  quantize(backend, model, rules);
  add_statistics(report, layer_statistics(model, originals), &ReportedLayer::ptq);
}

/// The trained weights, as packed.
inline void add_qat(RunReport& report) {
  const std::string packed = join_path(report.directory, "packed"), trained = join_path(report.directory, "model");
  nn::Transformer model = load_packed(packed);
  std::map<std::string, Tensor<float>> originals;
  if (is_directory(trained)) {
    originals = load_llama(trained).tensors;
  } else {
    report.missing.push_back("The quantization error after training: " + trained + ", the trained weights, is absent.");
  }
  add_statistics(report, layer_statistics(model, originals), &ReportedLayer::qat);
}

/// Calls f; what it throws becomes a line of what is missing.
template <class F>
void or_missing(RunReport& report, const char* what, F&& f) {
  try {
    f();
  } catch (const Error& error) {
    report.missing.push_back(std::string(what) + ": " + error.what() + ".");
  }
}

}  // namespace detail

inline index_t RunReport::delay() const {
  const Json& value = detail::member_or_null(description, {"identity", "training", "delay_fake_quant_steps"});
  return value.is_number_integer() && !scheme.empty() ? value.get<index_t>() : 0;
}

inline std::vector<index_t> RunReport::resumed() const {
  std::vector<index_t> all;
  const Json& processes = detail::member_or_null(description, {"processes"});
  if (processes.is_array())
    for (const Json& process : processes) {
      const Json& first = detail::member_or_null(process, {"first_step"});
      if (first.is_number_integer() && first.get<index_t>() > 0 && first.get<index_t>() < steps)
        all.push_back(first.get<index_t>());
    }
  return all;
}

/// Gathers what the directory of a run holds. model: instead of the one that run.json names, such as one that was moved
/// What is absent or cannot be read is named in `missing`; the caller fills `recipe`.
/// @throws qat::Error where there is no run, or its metrics or evaluation are damaged
inline RunReport gather_run_report(const CpuBackend& backend, const std::string& directory,
                                   const std::string& model = "") {
  QAT_CHECK(is_directory(directory), kIo, directory, ": is no directory; accepted: the --output-dir of a run");
  RunReport report;
  report.directory = directory;
  report.description = RunDirectory::read_description(directory);
  const std::string file = join_path(directory, "run.json");
  const JsonFields fields(report.description, file);
  report.steps = fields.integer("steps");
  report.model = model.empty() ? fields.string_or("model", "") : model;
  const std::vector<LayerRule> rules = detail::rules_of_run(report.description, file);
  report.scheme = detail::schemes_of(rules);

  const std::string metrics = join_path(directory, "metrics.jsonl");
  if (file_exists(metrics)) report.metrics = read_metrics(metrics);
  if (report.metrics.empty()) report.missing.push_back("Curves: " + metrics + " holds no step.");
  if (!report.metrics.empty() && !report.finished())
    report.missing.push_back("The rest of training: the run has " + std::to_string(report.metrics.back().step + 1) +
                             " of " + std::to_string(report.steps) + " steps; `qat-llm train ... --resume` goes on.");
  bool is_scored = false;
  for (const StepMetrics& step : report.metrics) is_scored = is_scored || step.validation_float.has_value();
  if (!report.metrics.empty() && !is_scored)
    report.missing.push_back(
        "Validation: the run had no text to score; give data.validation or data.validation_split.");

  const std::string evaluation = join_path(directory, "evaluation.json");
  if (file_exists(evaluation)) {
    report.evaluation = read_evaluation(evaluation);
    if (detail::change_time(evaluation) < detail::change_time(metrics))
      report.missing.push_back("A new evaluation: " + evaluation + " is older than the run; `qat-llm eval --run " +
                               directory + "` makes it again.");
  } else {
    report.missing.push_back("The evaluation table and sample texts: `qat-llm eval --run " + directory +
                             "` makes them.");
  }

  if (rules.empty()) {
    report.missing.push_back("Quantized layers: the run trained in floating point.");
  } else {
    detail::or_missing(report, "The layers before training", [&] {
      QAT_CHECK(!report.model.empty(), kInvalidArgument, file, ": names no model");
      detail::add_ptq(backend, rules, report);
    });
    detail::or_missing(report, "The layers after training", [&] {
      QAT_CHECK(is_packed_checkpoint(join_path(directory, "packed")), kIo, join_path(directory, "packed"),
                " is absent, as the run has not ended");
      detail::add_qat(report);
    });
  }
  return report;
}

/// Everything, as `qat-llm report --json` writes it.
inline nlohmann::ordered_json to_json(const RunReport& report) {
  using Ordered = nlohmann::ordered_json;
  const auto value = [](const auto& v) { return v ? Ordered(*v) : Ordered(nullptr); };
  Ordered json = {{"directory", report.directory},
                  {"model", report.model},
                  {"scheme", report.scheme},
                  {"steps", report.steps},
                  {"delay", report.delay()},
                  {"resumed_after", report.resumed()},
                  {"run", report.description},
                  {"recipe", report.recipe},
                  {"evaluation", report.evaluation ? to_json(*report.evaluation) : Ordered(nullptr)}};
  json["metrics"] = Ordered::array();
  for (const StepMetrics& s : report.metrics)
    json["metrics"].push_back({{"step", s.step},
                               {"loss", s.loss},
                               {"grad_norm", s.grad_norm},
                               {"lr", s.lr},
                               {"tokens_per_second", s.tokens_per_second},
                               {"validation_float", value(s.validation_float)},
                               {"validation_quantized", value(s.validation_quantized)}});
  json["layers"] = Ordered::array();
  for (const ReportedLayer& layer : report.layers) {
    Ordered& line = json["layers"].emplace_back(Ordered{{"name", layer.name}, {"float_bytes", layer.float_bytes}});
    line["ptq"] = layer.ptq ? to_json(*layer.ptq) : Ordered(nullptr);
    line["qat"] = layer.qat ? to_json(*layer.qat) : Ordered(nullptr);
  }
  json["missing"] = report.missing;
  return json;
}

}  // namespace qat::inline v0::recipe
