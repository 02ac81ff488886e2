// What the field compares a quantized model by, as plain values and as the file evaluation.json: scores of every model
// on every dataset, bytes, memory, speed, and what quantization costs before and after training.
//
// {"format": "qat-evaluation", "version": 1, "qat": VERSION, "processor": NAME, "threads": N, "target": INSTRUCTION
// SET,
//  "compiler": NAME, "prompt": TEXT,
//  "datasets": [{"name", "kind": "text", "file", "bytes", "words", "targets", "protocol"} or
//               {"name", "kind": "choices", "file", "items", "targets", "protocol"}],
//  "models": [{"name", "scheme", "path", "bytes", "resident_bytes", "prefill_tokens_per_second",
//              "decode_tokens_per_second", "seconds", "sample", "scores": {DATASET: {"nats_per_token", "stderr",
//              "word_perplexity", "byte_perplexity", "bits_per_byte"} or {"acc", "acc_stderr", "acc_norm",
//              "acc_norm_stderr"}}}],
//  "paired": [{"dataset", "metric", "model", "baseline", "difference", "stderr"}],
//  "degradation": [{"dataset", "metric", "full_precision", "ptq", "qat", "ptq_minus_full", "qat_minus_full",
//                   "ptq_relative", "qat_relative", "gap_closed"}]}
// A number that is not known, or not finite, is null. Readers take a file without "paired", and without keys of a
// dataset or model that have no value.
#pragma once

#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "qat/io/json.hpp"

namespace qat::inline v0::recipe {

/// A number that may not be known.
using Figure = std::optional<double>;

namespace detail {
template <class T>
const T* find_named(const std::vector<T>& all, std::string T::*member, const std::string& name) {
  for (const T& one : all)
    if (one.*member == name) return &one;
  return nullptr;
}
}  // namespace detail

enum class DatasetKind { kText, kChoices };

struct EvaluatedDataset {
  std::string name;
  DatasetKind kind = DatasetKind::kText;
  std::string file;
  std::string protocol;          ///< how it is scored, in words
  index_t bytes = 0, words = 0;  ///< of a text as it is written, before any normalization
  index_t items = 0;             ///< of choices
  index_t targets = 0;           ///< tokens scored: of the text, or of all endings
};

struct MetricScore {
  std::string metric;
  double value = 0.0;     ///< infinite where a perplexity is beyond a double
  Figure standard_error;  ///< of the mean, where the metric is one
};

/// Metrics of a text: nats_per_token, word_perplexity, byte_perplexity, bits_per_byte; of choices: acc, acc_norm.
struct DatasetScores {
  std::string dataset;
  std::vector<MetricScore> metrics;
  const MetricScore* find(const std::string& metric) const {
    return detail::find_named(metrics, &MetricScore::metric, metric);
  }
};

/// One row: a model as deployment loads and runs it.
struct EvaluatedModel {
  std::string name;    ///< of a run: "full precision", "PTQ", "QAT"
  std::string scheme;  ///< "float", or the schemes of its packed layers
  std::string path;
  index_t bytes = 0;      ///< of the weights' files on disk
  Figure resident_bytes;  ///< growth of a fresh process's resident memory that the loaded model causes
  Figure prefill_tokens_per_second, decode_tokens_per_second;
  Figure seconds;      ///< wall time of scoring all datasets
  std::string sample;  ///< greedy continuation of the table's prompt, prompt included
  std::vector<DatasetScores> scores;
  const DatasetScores* find(const std::string& dataset) const {
    return detail::find_named(scores, &DatasetScores::dataset, dataset);
  }
};

/// Mean difference of two models on the same windows or items. Its standard error is that of the differences, which is
/// far smaller than either model's own.
struct PairedDifference {
  std::string dataset, metric, model, baseline;
  double difference = 0.0;  ///< model - baseline
  Figure standard_error;
};

/// What quantization costs on one metric, before and after training.
struct Degradation {
  std::string dataset, metric;
  double full_precision = 0.0, ptq = 0.0, qat = 0.0;
  double ptq_minus_full() const { return ptq - full_precision; }
  double qat_minus_full() const { return qat - full_precision; }
  double ptq_relative() const { return ptq_minus_full() / full_precision; }
  double qat_relative() const { return qat_minus_full() / full_precision; }
  /// Share of PTQ's loss that training takes back: 1 all of it, negative where it makes things worse. Unknown where PTQ
  /// loses nothing.
  Figure gap_closed() const {
    const double lost = higher_is_better() ? full_precision - ptq : ptq - full_precision;
    const double regained = higher_is_better() ? qat - ptq : ptq - qat;
    return lost > 0.0 ? Figure(regained / lost) : Figure();
  }
  bool higher_is_better() const { return metric == "acc" || metric == "acc_norm"; }
};

struct EvaluationTable {
  std::string version, processor, target, compiler;
  int threads = 0;
  std::string prompt;
  std::vector<EvaluatedDataset> datasets;
  std::vector<EvaluatedModel> models;
  std::vector<PairedDifference> paired;
  std::vector<Degradation> degradation;
  const EvaluatedModel* find(const std::string& model) const {
    return detail::find_named(models, &EvaluatedModel::name, model);
  }
};

/// The degradation rows of a table whose models are named "full precision", "PTQ" and "QAT"; none otherwise.
inline std::vector<Degradation> degradation_of(const EvaluationTable& table) {
  std::vector<Degradation> rows;
  const EvaluatedModel *full = table.find("full precision"), *ptq = table.find("PTQ"), *qat = table.find("QAT");
  if (full == nullptr || ptq == nullptr || qat == nullptr) return rows;
  for (const DatasetScores& scores : full->scores) {
    const DatasetScores *ptq_scores = ptq->find(scores.dataset), *qat_scores = qat->find(scores.dataset);
    if (ptq_scores == nullptr || qat_scores == nullptr) continue;
    for (const MetricScore& metric : scores.metrics) {
      const MetricScore *p = ptq_scores->find(metric.metric), *q = qat_scores->find(metric.metric);
      if (p != nullptr && q != nullptr)
        rows.push_back({scores.dataset, metric.metric, metric.value, p->value, q->value});
    }
  }
  return rows;
}

namespace detail {

inline constexpr const char* kTextMetrics[] = {"nats_per_token", "word_perplexity", "byte_perplexity", "bits_per_byte"};
inline constexpr const char* kChoiceMetrics[] = {"acc", "acc_norm"};

/// Key of a metric's standard error.
inline std::string stderr_key(const std::string& metric) {
  return metric == "nats_per_token" ? "stderr" : metric + "_stderr";
}

inline nlohmann::ordered_json number_json(Figure value) {
  return value && (std::isfinite)(*value) ? nlohmann::ordered_json(*value) : nlohmann::ordered_json();
}
inline Figure read_figure(const JsonFields& fields, const std::string& key) {
  return fields.find(key.c_str()) == nullptr ? Figure() : Figure(fields.number(key.c_str()));
}
/// null stands for what is beyond a double.
inline double read_number(const JsonFields& fields, const std::string& key) {
  return read_figure(fields, key).value_or(std::numeric_limits<double>::infinity());
}

inline nlohmann::ordered_json scores_json(const DatasetScores& scores) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  for (const MetricScore& m : scores.metrics) {
    json[m.metric] = number_json(m.value);
    if (m.standard_error) json[stderr_key(m.metric)] = number_json(m.standard_error);
  }
  return json;
}

inline DatasetScores read_scores(const std::string& dataset, const Json& json, const std::string& source) {
  const JsonFields fields(json, source);
  DatasetScores scores{dataset, {}};
  const auto read = [&](const char* metric) {
    if (!json.contains(metric)) return;
    scores.metrics.push_back({metric, read_number(fields, metric), read_figure(fields, stderr_key(metric))});
  };
  for (const char* metric : kTextMetrics) read(metric);
  for (const char* metric : kChoiceMetrics) read(metric);
  return scores;
}

}  // namespace detail

inline nlohmann::ordered_json to_json(const EvaluationTable& table) {
  using detail::number_json;
  using nlohmann::ordered_json;
  ordered_json json = {{"format", "qat-evaluation"},
                       {"version", 1},
                       {"qat", table.version},
                       {"processor", table.processor},
                       {"threads", table.threads},
                       {"target", table.target},
                       {"compiler", table.compiler},
                       {"prompt", table.prompt},
                       {"datasets", ordered_json::array()},
                       {"models", ordered_json::array()},
                       {"paired", ordered_json::array()},
                       {"degradation", ordered_json::array()}};
  for (const EvaluatedDataset& d : table.datasets) {
    const bool is_text = d.kind == DatasetKind::kText;
    ordered_json line = {{"name", d.name}, {"kind", is_text ? "text" : "choices"}, {"file", d.file}};
    if (is_text) {
      line.update({{"bytes", d.bytes}, {"words", d.words}});
    } else {
      line["items"] = d.items;
    }
    line.update({{"targets", d.targets}, {"protocol", d.protocol}});
    json["datasets"].push_back(line);
  }
  for (const EvaluatedModel& m : table.models) {
    ordered_json scores = ordered_json::object();
    for (const DatasetScores& s : m.scores) scores[s.dataset] = detail::scores_json(s);
    json["models"].push_back({{"name", m.name},
                              {"scheme", m.scheme},
                              {"path", m.path},
                              {"bytes", m.bytes},
                              {"resident_bytes", number_json(m.resident_bytes)},
                              {"prefill_tokens_per_second", number_json(m.prefill_tokens_per_second)},
                              {"decode_tokens_per_second", number_json(m.decode_tokens_per_second)},
                              {"seconds", number_json(m.seconds)},
                              {"scores", scores},
                              {"sample", m.sample}});
  }
  for (const PairedDifference& p : table.paired)
    json["paired"].push_back({{"dataset", p.dataset},
                              {"metric", p.metric},
                              {"model", p.model},
                              {"baseline", p.baseline},
                              {"difference", number_json(p.difference)},
                              {"stderr", number_json(p.standard_error)}});
  for (const Degradation& d : table.degradation)
    json["degradation"].push_back({{"dataset", d.dataset},
                                   {"metric", d.metric},
                                   {"full_precision", number_json(d.full_precision)},
                                   {"ptq", number_json(d.ptq)},
                                   {"qat", number_json(d.qat)},
                                   {"ptq_minus_full", number_json(d.ptq_minus_full())},
                                   {"qat_minus_full", number_json(d.qat_minus_full())},
                                   {"ptq_relative", number_json(d.ptq_relative())},
                                   {"qat_relative", number_json(d.qat_relative())},
                                   {"gap_closed", number_json(d.gap_closed())}});
  return json;
}

/// Writes the file completely or not at all. Text that is not UTF-8 (generated text may end inside a character) gets
/// U+FFFD.
inline void write_evaluation(const std::string& path, const EvaluationTable& table) {
  write_file(path, to_json(table).dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
}

/// Reads what write_evaluation wrote.
/// @throws qat::Error naming file and key
inline EvaluationTable read_evaluation(const std::string& path) {
  const Json json = read_json(path);
  const JsonFields fields(json, path);
  QAT_CHECK(fields.string("format") == "qat-evaluation" && fields.integer("version") == 1, kBadFile, path,
            ": format is ", json_text(fields.at("format")), " version ", json_text(fields.at("version")),
            "; accepted: \"qat-evaluation\" version 1");
  const auto source = [&](const char* list, std::size_t i) {
    return path + ": " + list + "[" + std::to_string(i) + "]";
  };
  EvaluationTable table;
  table.version = fields.string("qat");
  table.processor = fields.string_or("processor", "");
  table.threads = static_cast<int>(fields.integer_or("threads", 0));
  table.target = fields.string_or("target", "");
  table.compiler = fields.string_or("compiler", "");
  table.prompt = fields.string_or("prompt", "");
  const Json& datasets = fields.array("datasets");
  for (std::size_t i = 0; i < datasets.size(); ++i) {
    const JsonFields d(datasets[i], source("datasets", i));
    const std::string kind = d.string("kind");
    QAT_CHECK(kind == "text" || kind == "choices", kBadFile, d.source(), ": 'kind' is ", printable(kind),
              "; accepted: \"text\", \"choices\"");
    table.datasets.push_back({d.string("name"), kind == "text" ? DatasetKind::kText : DatasetKind::kChoices,
                              d.string_or("file", ""), d.string_or("protocol", ""), d.integer_or("bytes", 0),
                              d.integer_or("words", 0), d.integer_or("items", 0), d.integer_or("targets", 0)});
  }
  const Json& models = fields.array("models");
  for (std::size_t i = 0; i < models.size(); ++i) {
    const JsonFields m(models[i], source("models", i));
    EvaluatedModel& model = table.models.emplace_back();
    model.name = m.string("name");
    model.scheme = m.string_or("scheme", "");
    model.path = m.string_or("path", "");
    model.bytes = m.integer_or("bytes", 0);
    model.resident_bytes = detail::read_figure(m, "resident_bytes");
    model.prefill_tokens_per_second = detail::read_figure(m, "prefill_tokens_per_second");
    model.decode_tokens_per_second = detail::read_figure(m, "decode_tokens_per_second");
    model.seconds = detail::read_figure(m, "seconds");
    model.sample = m.string_or("sample", "");
    const Json& scores = m.at("scores");
    QAT_CHECK(scores.is_object(), kBadFile, m.source(), ": 'scores' is ", json_text(scores), "; accepted: an object");
    for (const EvaluatedDataset& d : table.datasets)
      if (const Json* found = find_member(scores, d.name.c_str()))
        model.scores.push_back(detail::read_scores(d.name, *found, m.source() + ".scores." + d.name));
  }
  if (fields.find("paired") != nullptr)
    for (std::size_t i = 0; i < fields.array("paired").size(); ++i) {
      const JsonFields p(fields.array("paired")[i], source("paired", i));
      table.paired.push_back({p.string("dataset"), p.string("metric"), p.string("model"), p.string("baseline"),
                              detail::read_number(p, "difference"), detail::read_figure(p, "stderr")});
    }
  const Json& degradation = fields.array("degradation");
  for (std::size_t i = 0; i < degradation.size(); ++i) {
    const JsonFields d(degradation[i], source("degradation", i));
    table.degradation.push_back({d.string("dataset"), d.string("metric"), detail::read_number(d, "full_precision"),
                                 detail::read_number(d, "ptq"), detail::read_number(d, "qat")});
  }
  return table;
}

}  // namespace qat::inline v0::recipe
