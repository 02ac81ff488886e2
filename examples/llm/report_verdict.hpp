// What a run comes to, in one sentence with absolute figures, and the totals behind it.
#pragma once

#include "html_text.hpp"
#include "qat/recipe/run_report.hpp"
#include "run_display.hpp"

namespace qat_llm {

struct WeightBytes {
  double floating = 0.0, packed = 0.0;  ///< of all layers; packed is 0 where that is not known
};
inline WeightBytes weight_bytes(const qat::recipe::RunReport& report) {
  WeightBytes sum;
  for (const qat::recipe::ReportedLayer& layer : report.layers) {
    const auto& statistics = layer.qat ? layer.qat : layer.ptq;
    sum.floating += static_cast<double>(layer.float_bytes);
    sum.packed += static_cast<double>(statistics->bytes);
  }
  return sum;
}

/// How a metric is called, with its unit.
inline std::string metric_text(const std::string& metric) {
  if (metric == "nats_per_token") return "nats a token";
  if (metric == "word_perplexity") return "word perplexity";
  if (metric == "byte_perplexity") return "byte perplexity";
  if (metric == "bits_per_byte") return "bits a byte";
  if (metric == "acc") return "accuracy (sum)";
  if (metric == "acc_norm") return "accuracy (per byte)";
  return metric;
}

/// The row of the evaluation that speaks for the run: nats a token of the first text, else the first row.
inline const qat::recipe::Degradation* leading_row(const qat::recipe::RunReport& report) {
  if (!report.evaluation || report.evaluation->degradation.empty()) return nullptr;
  for (const qat::recipe::Degradation& row : report.evaluation->degradation)
    if (row.metric == "nats_per_token") return &row;
  return &report.evaluation->degradation.front();
}

/// The last step with a score of the wanted kind, or null.
inline const qat::recipe::StepMetrics* last_validation(const qat::recipe::RunReport& report, bool quantized) {
  const qat::recipe::StepMetrics* last = nullptr;
  for (const qat::recipe::StepMetrics& step : report.metrics)
    if (quantized ? step.validation_quantized.has_value() : step.validation_float.has_value()) last = &step;
  return last;
}

inline std::string verdict(const qat::recipe::RunReport& report) {
  std::string text;
  if (const qat::recipe::Degradation* const row = leading_row(report)) {
    const double sign = row->higher_is_better() ? -1.0 : 1.0;
    const double ptq = sign * row->ptq_minus_full(), qat = sign * row->qat_minus_full();
    const std::string unit = " " + metric_text(row->metric), place = "On " + row->dataset + ", ";
    const qat::recipe::Figure closed = row->gap_closed();
    if (ptq > 0.0 && qat > 0.0 && qat < ptq && closed) {
      text = place + "quantization costs " + fixed(qat, 4) + unit + " after quantization-aware training and " +
             fixed(ptq, 4) + " without: QAT closes " + fixed(100.0 * *closed, 0) + " % of the gap to full precision (" +
             fixed(row->full_precision, 4) + ").";
    } else if (qat <= 0.0) {
      text = place + "the quantized model is " + fixed(-qat, 4) + unit +
             " better than full precision, which was not trained on this data; PTQ " +
             (ptq > 0.0 ? "loses " + fixed(ptq, 4) : "loses nothing") + ".";
    } else {
      text = place + "the quantized model is " + fixed(qat, 4) + unit +
             " worse than full precision after training and " + fixed(ptq, 4) + " without: training did not help.";
    }
  } else if (const qat::recipe::StepMetrics* const scored = last_validation(report, true)) {
    text = "After " + count_text(static_cast<double>(scored->step + 1)) + " steps the quantized model scores " +
           fixed(*scored->validation_quantized, 4) + " nats a token on the validation data, " +
           fixed(std::abs(*scored->validation_quantized - *scored->validation_float), 4) +
           (*scored->validation_quantized < *scored->validation_float ? " less" : " more") +
           " than its own float weights (" + fixed(*scored->validation_float, 4) + ").";
  } else if (const qat::recipe::StepMetrics* const floating = last_validation(report, false)) {
    text = "After " + count_text(static_cast<double>(floating->step + 1)) + " steps the model scores " +
           fixed(*floating->validation_float, 4) + " nats a token on the validation data, in floating point.";
  } else if (!report.metrics.empty()) {
    text = "The training loss stands at " + fixed(report.metrics.back().loss, 4) + " nats a token after " +
           count_text(static_cast<double>(report.metrics.back().step + 1)) + " steps; nothing was scored.";
  } else {
    text = "The run has no step yet.";
  }
  const WeightBytes bytes = weight_bytes(report);
  if (!report.scheme.empty() && bytes.packed > 0.0)
    text += " Its weights take " + bytes_text(bytes.packed) + " instead of " + bytes_text(bytes.floating) + ".";
  return text;
}

}  // namespace qat_llm
