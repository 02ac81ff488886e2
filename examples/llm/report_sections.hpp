// Parts of a report's page, for one run or several.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <utility>

#include "report_style.hpp"
#include "report_verdict.hpp"
#include "svg_plot.hpp"

namespace qat_llm {

using qat::recipe::Degradation;
using qat::recipe::EvaluatedModel;
using qat::recipe::EvaluationTable;
using qat::recipe::LayerStatistics;
using qat::recipe::ReportedLayer;
using qat::recipe::RunReport;
using qat::recipe::StepMetrics;

/// A whole page. It names no other file, and tells the browser to load none.
inline std::string page_frame(const std::string& title, const std::string& body) {
  return "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
         "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
         "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
         "<meta name=\"color-scheme\" content=\"light dark\">\n<title>" +
         html(title) + "</title>\n<style>" + kReportStyle + "</style>\n</head>\n<body>\n<main>\n" + body +
         "</main>\n</body>\n</html>\n";
}

/// Text with `code` between backquotes.
inline std::string html_with_code(const std::string& text) {
  std::string out;
  bool is_code = false;
  for (std::size_t begin = 0, end; begin <= text.size(); begin = end + 1) {
    end = std::min(text.find('`', begin), text.size());
    const std::string part = html(std::string_view(text).substr(begin, end - begin));
    out += is_code ? "<code>" + part + "</code>" : part;
    is_code = !is_code;
  }
  return out;
}

inline std::string section(const std::string& title, const std::string& sub, const std::string& body) {
  return "<section>\n<h2>" + html(title) + "</h2>\n" +
         (sub.empty() ? "" : "<p class=\"sub\">" + html_with_code(sub) + "</p>\n") + body + "</section>\n";
}

/// A table in a box of its own, which scrolls where the table is wider than the page. note: HTML that stands before it
inline std::string scrolling(const std::string& label, const std::string& note, const std::string& table) {
  return (note.empty() ? "" : "<p class=\"cap\">" + note + "</p>") +
         "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"" + html(label) + "\"><table>" + table +
         "</table></div>\n";
}
inline std::string column(const std::string& text, bool is_number = true) {
  return std::string("<th scope=\"col\"") + (is_number ? " class=\"n\">" : ">") + html(text) + "</th>";
}
inline std::string cell(const std::string& markup, bool is_number = true) {
  return (is_number ? "<td class=\"n\">" : "<td>") + markup + "</td>";
}

struct Fact {
  std::string name, value, note;
};
inline std::string fact_list(const std::vector<Fact>& facts) {
  std::string out = "<dl class=\"facts\">";
  for (const Fact& fact : facts)
    out += "<div><dt>" + html(fact.name) + "</dt><dd>" + html(fact.value) +
           (fact.note.empty() ? "" : "<small>" + html(fact.note) + "</small>") + "</dd></div>";
  return out + "</dl>\n";
}

inline std::string model_name(const RunReport& report) {
  return report.model.empty() ? "a model" : short_name(report.model);
}

/// The scheme as the recipe calls it ("8da4w"), where it names one for all layers; else in full.
inline std::string scheme_name(const RunReport& report) {
  using Pointer = nlohmann::ordered_json::json_pointer;
  const Pointer layers("/qat/layers");
  if (report.recipe.contains(layers) && report.recipe[layers].empty())
    for (const char* path : {"/qat/quantizer/scheme", "/qat/quantizer_type"})
      if (const Pointer place(path); report.recipe.contains(place) && report.recipe[place].is_string())
        if (auto name = report.recipe[place].get<std::string>(); !name.empty()) return name;
  return report.scheme;
}

// What the evaluation says.

/// Digits after the point that a metric's values are told apart by.
inline int metric_digits(const std::string& metric) { return metric == "word_perplexity" ? 2 : 4; }

/// Full precision, QAT and PTQ on one line each: where they stand, and what lies between.
inline std::string gap_strip(const Degradation& row) {
  double least = std::min({row.full_precision, row.ptq, row.qat}),
         largest = std::max({row.full_precision, row.ptq, row.qat});
  const std::string caption = "<figcaption><b>" + html(row.dataset) + "</b>, " + html(metric_text(row.metric)) +
                              (row.higher_is_better() ? ", higher is better" : ", lower is better") + "</figcaption>";
  if (!(std::isfinite)(largest - least)) return "";
  if (largest <= least) largest = least + 1.0;
  const auto place = [&](double value) { return fixed(8.0 + 78.0 * (value - least) / (largest - least), 2) + "%"; };
  const int digits = metric_digits(row.metric);
  const auto label = [&](double value, const char* style, const char* name, int y) {
    const double across = 8.0 + 78.0 * (value - least) / (largest - least);
    const char* const anchor = across > 70.0 ? "end" : across < 20.0 ? "start" : "middle";
    const char* const shift = across > 70.0 ? "6" : across < 20.0 ? "-6" : "0";
    return std::string("<text class=\"label ") + style + "\" x=\"" + place(value) + "\" dx=\"" + shift + "\" y=\"" +
           std::to_string(y) + "\" text-anchor=\"" + anchor + "\">" + name + " " + fixed(value, digits) + "</text>";
  };
  const std::string text = "Full precision " + fixed(row.full_precision, digits) + ", QAT " + fixed(row.qat, digits) +
                           ", PTQ " + fixed(row.ptq, digits);
  return "<figure>" + caption + "<svg class=\"strip\" role=\"img\" width=\"100%\" height=\"70\"><title>" +
         html(row.dataset + ": " + text) + "</title><line class=\"axis\" x1=\"0\" x2=\"100%\" y1=\"44\" y2=\"44\"/>" +
         "<line class=\"gap ptq\" x1=\"" + place(row.qat) + "\" x2=\"" + place(row.ptq) + "\" y1=\"44\" y2=\"44\"/>" +
         "<line class=\"gap qat\" x1=\"" + place(row.full_precision) + "\" x2=\"" + place(row.qat) +
         "\" y1=\"44\" y2=\"44\"/><line class=\"gap float\" x1=\"" + place(row.full_precision) + "\" x2=\"" +
         place(row.full_precision) + "\" y1=\"37\" y2=\"51\"/><circle class=\"open ptq\" cx=\"" + place(row.ptq) +
         "\" cy=\"44\" r=\"5\"/><circle class=\"full qat\" cx=\"" + place(row.qat) + "\" cy=\"44\" r=\"6\"/>" +
         label(row.ptq, "ptq", "PTQ", 14) + label(row.qat, "qat", "QAT", 31) +
         label(row.full_precision, "float", "full precision", 66) + "</svg></figure>";
}

/// One strip a data set: nats a token of texts, accuracy per byte of choices.
inline std::string gap_strips(const EvaluationTable& table) {
  std::string out;
  for (const Degradation& row : table.degradation)
    if (row.metric == "nats_per_token" || row.metric == "acc_norm") out += gap_strip(row);
  return out.empty() ? "" : "<div class=\"strips\">" + out + "</div>\n";
}

inline std::string model_style(const std::string& name) {
  return name == "full precision" ? "float" : name == "PTQ" ? "ptq" : name == "QAT" ? "qat" : "";
}

/// " ± standard error" of the difference from full precision on the same windows or items; empty where it is not known.
inline std::string paired_error(const EvaluationTable& table, const std::string& dataset, const std::string& metric,
                                const std::string& model) {
  for (const qat::recipe::PairedDifference& p : table.paired)
    if (p.dataset == dataset && p.metric == metric && p.model == model && p.baseline == "full precision" &&
        p.standard_error)
      return " <small>±" + fixed(*p.standard_error, metric_digits(metric)) + "</small>";
  return "";
}

/// One column a model, one row a metric; what training takes back where the table has it.
inline std::string evaluation_table(const EvaluationTable& table) {
  const bool has_gap = !table.degradation.empty();
  std::string head = "<thead><tr>" + column("", false);
  for (const EvaluatedModel& model : table.models)
    head += "<th scope=\"col\" class=\"n\"><span class=\"ink " + model_style(model.name) + "\">" + html(model.name) +
            "</span><br><small>" + html(model.scheme) + "</small></th>";
  if (has_gap) head += column("PTQ − full") + column("QAT − full") + column("gap closed");
  const std::size_t columns = 1 + table.models.size() + (has_gap ? 3 : 0);
  const auto group = [&](const std::string& name, const std::string& note) {
    return "<tr class=\"head\"><th scope=\"rowgroup\" colspan=\"" + std::to_string(columns) + "\">" + html(name) +
           (note.empty() ? "" : " <small>" + html(note) + "</small>") + "</th></tr>";
  };
  const auto row_name = [](const std::string& name) {
    return "<th scope=\"row\" class=\"fix\">" + html(name) + "</th>";
  };
  std::string body = head + "</tr></thead>";
  for (const qat::recipe::EvaluatedDataset& data : table.datasets) {
    std::string note;
    if (data.items > 0) note = count_text(static_cast<double>(data.items)) + " items";
    if (data.targets > 0)
      note += (note.empty() ? "" : ", ") + count_text(static_cast<double>(data.targets)) + " targets";
    body += "<tbody>" + group(data.name, note);
    std::vector<std::string> metrics;
    for (const EvaluatedModel& model : table.models)
      if (const auto* scores = model.find(data.name))
        for (const auto& metric : scores->metrics)
          if (std::find(metrics.begin(), metrics.end(), metric.metric) == metrics.end())
            metrics.push_back(metric.metric);
    for (const std::string& metric : metrics) {
      const int digits = metric_digits(metric);
      body += "<tr>" + row_name(metric_text(metric));
      for (const EvaluatedModel& model : table.models) {
        const auto* const scores = model.find(data.name);
        const auto* const score = scores == nullptr ? nullptr : scores->find(metric);
        body += cell(
            score == nullptr
                ? kAbsent
                : fixed(score->value, digits) +
                      (score->standard_error ? " <small>±" + fixed(*score->standard_error, digits) + "</small>" : ""));
      }
      if (has_gap) {
        const auto row = std::find_if(table.degradation.begin(), table.degradation.end(), [&](const Degradation& d) {
          return d.dataset == data.name && d.metric == metric;
        });
        const bool found = row != table.degradation.end();
        const auto closed = found ? row->gap_closed() : std::nullopt;
        const auto difference = [&](const char* model, double value) {
          return found ? signed_fixed(value, digits) + paired_error(table, data.name, metric, model) : kAbsent;
        };
        body += cell(difference("PTQ", found ? row->ptq_minus_full() : 0.0)) +
                cell(difference("QAT", found ? row->qat_minus_full() : 0.0)) +
                cell(closed ? fixed(100.0 * *closed, 0) + " %" : kAbsent);
      }
      body += "</tr>";
    }
    body += "</tbody>";
  }
  const auto figures = [&](const char* name, auto value) {  // a row, where any model has the figure
    std::string cells;
    bool any = false;
    for (const EvaluatedModel& model : table.models) {
      const std::string text = value(model);
      any = any || text != kAbsent;
      cells += cell(text);
    }
    if (any) body += "<tr>" + row_name(name) + cells + (has_gap ? "<td colspan=\"3\"></td>" : "") + "</tr>";
  };
  const auto count = [](const qat::recipe::Figure& f) { return f ? count_text(*f) : std::string(kAbsent); };
  body += "<tbody>" + group("size and speed", "");
  figures("bytes on disk", [](const EvaluatedModel& m) { return bytes_text(static_cast<double>(m.bytes)); });
  figures("resident memory", [](const EvaluatedModel& m) {
    return m.resident_bytes ? bytes_text(*m.resident_bytes) : std::string(kAbsent);
  });
  figures("prefill, tokens/s", [&](const EvaluatedModel& m) { return count(m.prefill_tokens_per_second); });
  figures("decode, tokens/s", [&](const EvaluatedModel& m) { return count(m.decode_tokens_per_second); });
  figures("scoring, seconds",
          [](const EvaluatedModel& m) { return m.seconds ? fixed(*m.seconds, 1) : std::string(kAbsent); });
  return scrolling(
      "Evaluation",
      "Standard errors after ±, those of differences over the same items; every model as deployment runs it.",
      body + "</tbody>");
}

// Training.

inline std::vector<PlotPoint> points_of(const RunReport& report,
                                        const std::function<std::optional<double>(const StepMetrics&)>& value) {
  std::vector<PlotPoint> points;
  for (const StepMetrics& step : report.metrics)
    if (const std::optional<double> y = value(step)) points.push_back({static_cast<double>(step.step + 1), *y});
  return points;
}

inline PlotSeries validation_series(const RunReport& report, bool quantized, const std::string& name,
                                    const std::string& style) {
  PlotSeries series{
      name, style,
      points_of(report, [&](const StepMetrics& s) { return quantized ? s.validation_quantized : s.validation_float; }),
      true};
  series.has_dots = series.points.size() <= 60;
  if (!series.points.empty()) series.label += " " + fixed(series.points.back().y, 3);
  return series;
}

inline std::vector<PlotMarker> markers_of(const RunReport& report) {
  std::vector<PlotMarker> markers;
  if (report.delay() > 0)
    markers.push_back({static_cast<double>(report.delay()),
                       "fake quantization on after " + count_text(static_cast<double>(report.delay()))});
  const std::vector<qat::index_t> resumed = report.resumed();
  for (std::size_t i = 0; i < resumed.size(); ++i)
    markers.push_back({static_cast<double>(resumed[i]),
                       i < 4 ? "resumed after " + count_text(static_cast<double>(resumed[i])) : std::string()});
  std::stable_sort(markers.begin(), markers.end(), [](const auto& a, const auto& b) { return a.x < b.x; });
  return markers;
}

/// The plots that say how training went, for runs drawn into the same frames; styles: one a run, or none for a single.
struct SmallPlot {
  const char* title;
  const char* unit;
  std::optional<double> (*value)(const StepMetrics&);
  bool has_zero;
};
inline constexpr SmallPlot kSmallPlots[] = {
    {"Learning rate", "", [](const StepMetrics& s) { return std::optional<double>(s.lr); }, true},
    {"Gradient norm", "", [](const StepMetrics& s) { return std::optional<double>(s.grad_norm); }, true},
    {"Tokens per second", "", [](const StepMetrics& s) { return std::optional<double>(s.tokens_per_second); }, true},
};

inline std::string small_plots(PlotWriter& plots, const std::vector<std::pair<const RunReport*, std::string>>& runs,
                               double last) {
  std::string out = "<div class=\"quad\">";
  for (const SmallPlot& wanted : kSmallPlots) {
    Plot plot;
    plot.title = wanted.title;
    plot.last = last;
    plot.height = 120;
    plot.has_zero = wanted.has_zero;
    plot.has_labels = false;
    for (const auto& [report, style] : runs) {
      plot.series.push_back({"", style, points_of(*report, wanted.value)});
      const std::vector<PlotPoint>& points = plot.series.back().points;
      if (!points.empty()) plot.description += " Last value " + short_number(points.back().y) + ".";
    }
    const std::string note = runs.size() == 1 && !plot.series[0].points.empty()
                                 ? "last " + short_number(plot.series[0].points.back().y)
                                 : std::string();
    out += std::string("<figure><figcaption><b>") + wanted.title + "</b>" +
           (*wanted.unit == '\0' ? "" : std::string(", ") + wanted.unit) + (note.empty() ? "" : "; " + note) +
           "</figcaption><div class=\"chart\">" + plots(plot) + "</div></figure>";
  }
  return out + "</div>\n";
}

// Layers.

/// "model.layers.0.mlp.up_proj": "layers.0.mlp.up_proj".
inline std::string layer_name(const std::string& name) { return name.starts_with("model.") ? name.substr(6) : name; }

/// The same in a row of its block's layers: "0 up_proj".
inline std::string short_layer_name(const std::string& full) {
  std::string name = layer_name(full);
  if (!name.starts_with("layers.")) return name;
  const std::size_t block = name.find('.', 7), last = name.rfind('.');
  return block == name.npos || last <= block ? name : name.substr(7, block - 7) + " " + name.substr(last + 1);
}

inline std::optional<double> sqnr_of(const std::optional<LayerStatistics>& s) {
  return s && s->has_sqnr && (std::isfinite)(s->sqnr_db) ? std::optional<double>(s->sqnr_db) : std::nullopt;
}

struct Interval {
  double least = std::numeric_limits<double>::infinity(), largest = -std::numeric_limits<double>::infinity();
  void add(const std::optional<double>& value) {
    if (!value) return;
    least = std::min(least, *value);
    largest = std::max(largest, *value);
  }
  bool empty() const { return least > largest; }
};

/// The layers with the largest error, at most `count`, in the model's order.
inline std::vector<const ReportedLayer*> worst_layers(const RunReport& report, std::size_t count) {
  std::vector<const ReportedLayer*> layers;
  for (const ReportedLayer& layer : report.layers)
    if (layer.is_quantized()) layers.push_back(&layer);
  if (layers.size() <= count) return layers;
  std::vector<const ReportedLayer*> order = layers;
  const auto error = [](const ReportedLayer* l) { return sqnr_of(l->qat).value_or(sqnr_of(l->ptq).value_or(1e9)); };
  std::stable_sort(order.begin(), order.end(), [&](const auto* a, const auto* b) { return error(a) < error(b); });
  order.resize(count);
  std::erase_if(layers, [&](const auto* l) { return std::find(order.begin(), order.end(), l) == order.end(); });
  return layers;
}

/// Where PTQ (open) and QAT (filled) stand on an axis that all layers share.
inline std::string sqnr_strip(const ReportedLayer& layer, const Interval& axis) {
  const std::optional<double> ptq = sqnr_of(layer.ptq), qat = sqnr_of(layer.qat);
  const double span = std::max(1e-9, axis.largest - axis.least);
  const auto place = [&](double v) { return fixed(3.0 + 94.0 * (v - axis.least) / span, 1) + "%"; };
  std::string out =
      "<svg class=\"strip\" aria-hidden=\"true\" width=\"100%\" height=\"14\"><line class=\"axis\" x1=\"0\" "
      "x2=\"100%\" "
      "y1=\"7\" y2=\"7\"/>";
  if (ptq && qat)
    out += "<line class=\"gap qat\" x1=\"" + place(*ptq) + "\" x2=\"" + place(*qat) + "\" y1=\"7\" y2=\"7\"/>";
  if (ptq) out += "<circle class=\"open ptq\" cx=\"" + place(*ptq) + "\" cy=\"7\" r=\"4\"/>";
  if (qat) out += "<circle class=\"full qat\" cx=\"" + place(*qat) + "\" cy=\"7\" r=\"4.5\"/>";
  return out + "</svg>";
}

inline std::string decibel(const std::optional<double>& value) { return value ? fixed(*value, 2) : kAbsent; }

inline std::string shape_text(const qat::Shape& shape) {
  std::string text;
  for (int d = 0; d < shape.rank(); ++d) text += (d == 0 ? "" : " × ") + std::to_string(shape[d]);
  return text;
}

inline std::string layer_table(const RunReport& report) {
  constexpr std::size_t kRows = 250;
  const std::vector<const ReportedLayer*> layers = worst_layers(report, kRows);
  Interval axis;
  std::size_t quantized = 0;
  double float_bytes = 0.0, float_now = 0.0;
  std::size_t floats = 0;
  bool one_scheme = true;
  for (const ReportedLayer& layer : report.layers) {
    if (layer.is_quantized()) {
      ++quantized;
      continue;
    }
    ++floats;
    float_bytes += static_cast<double>(layer.float_bytes);
    float_now += static_cast<double>((layer.qat ? layer.qat : layer.ptq)->bytes);
  }
  for (const ReportedLayer* layer : layers) {
    axis.add(sqnr_of(layer->ptq));
    axis.add(sqnr_of(layer->qat));
    one_scheme = one_scheme && layer->scheme() == layers.front()->scheme();
  }
  std::string note;
  if (one_scheme && !layers.empty())
    note += "Scheme of every quantized layer: <code>" + html(layers.front()->scheme()) + "</code>. ";
  if (layers.size() < quantized)
    note +=
        "The " + std::to_string(layers.size()) + " layers of " + std::to_string(quantized) + " with the largest error.";
  std::string table = "<thead><tr>" + column("layer", false) + (one_scheme ? "" : column("scheme", false)) +
                      column("shape") + column("fp32") + column("packed") + column("bits a weight") +
                      column("SQNR PTQ, dB") + column("QAT, dB") + column("change");
  if (!axis.empty())
    table += "<th scope=\"col\" class=\"sq\">" + fixed(axis.least, 1) + " to " + fixed(axis.largest, 1) +
             " dB: <span class=\"ink ptq\">○ PTQ</span> <span class=\"ink qat\">● QAT</span></th>";
  table += "</tr></thead><tbody>";
  for (const ReportedLayer* layer : layers) {
    const LayerStatistics& s = layer->qat ? *layer->qat : *layer->ptq;
    const std::optional<double> ptq = sqnr_of(layer->ptq), qat = sqnr_of(layer->qat);
    table += "<tr><th scope=\"row\" class=\"fix\">" + html(layer_name(layer->name)) + "</th>" +
             (one_scheme ? "" : cell("<code>" + html(layer->scheme()) + "</code>", false)) +
             cell(shape_text(layer->shape)) + cell(bytes_text(static_cast<double>(layer->float_bytes))) +
             cell(bytes_text(static_cast<double>(s.bytes))) + cell(fixed(s.bits_per_weight, 2)) + cell(decibel(ptq)) +
             cell(decibel(qat)) + cell(ptq && qat ? signed_fixed(*qat - *ptq, 2) : kAbsent) +
             (axis.empty() ? "" : cell(sqnr_strip(*layer, axis), false)) + "</tr>";
  }
  const std::string rest = std::string("<td colspan=\"") + (axis.empty() ? "4" : "5") + "\"></td>";
  table += "<tr><th scope=\"row\" class=\"fix\">" + std::to_string(floats) + " in floating point</th>" +
           (one_scheme ? "" : cell("float", false)) + cell("") + cell(bytes_text(float_bytes)) +
           cell(bytes_text(float_now)) + rest + "</tr></tbody>";
  const WeightBytes sum = weight_bytes(report);
  table += "<tfoot><tr><th scope=\"row\">all " + std::to_string(report.layers.size()) + " layers</th>" +
           (one_scheme ? "" : "<td></td>") + "<td></td>" + cell(bytes_text(sum.floating)) +
           cell(bytes_text(sum.packed)) + rest + "</tr></tfoot>";
  return scrolling("Layers", note, table);
}

/// Shares of codes, at most 32 bars.
inline std::vector<double> code_shares(const LayerStatistics& s) {
  const std::size_t bars = std::min<std::size_t>(s.codes.size(), 32);
  std::vector<double> shares(bars, 0.0);
  double all = 0.0;
  for (const qat::index_t n : s.codes) all += static_cast<double>(n);
  for (std::size_t i = 0; i < s.codes.size(); ++i)
    shares[i * bars / s.codes.size()] += static_cast<double>(s.codes[i]) / std::max(1.0, all);
  return shares;
}
/// Shares of scales in octaves first to last.
inline std::vector<double> scale_shares(const LayerStatistics& s, int first, int last) {
  std::vector<double> shares(static_cast<std::size_t>(last - first + 1), 0.0);
  for (std::size_t i = 0; i < s.scales.counts.size(); ++i)
    shares[static_cast<std::size_t>(s.scales.first + static_cast<int>(i) - first)] +=
        static_cast<double>(s.scales.counts[i]) / std::max(1.0, static_cast<double>(s.scale_count));
  return shares;
}

inline std::string histogram(const std::string& name, const std::vector<double>& ptq, const std::vector<double>& qat) {
  double largest = 0.0;
  for (const auto* shares : {&ptq, &qat})
    for (const double share : *shares) largest = std::max(largest, share);
  return "<svg role=\"img\" viewBox=\"0 0 160 44\" preserveAspectRatio=\"none\"><title>" + html(name) +
         "; the tallest bar is " + fixed(100.0 * largest, 1) + " %</title><path class=\"bars qat\" d=\"" +
         histogram_path(qat, largest, 160, 44, false) + "\"/><path class=\"outline ptq\" d=\"" +
         histogram_path(ptq, largest, 160, 44, true) + "\"/></svg>";
}

/// Codes and scales of every quantized layer as small multiples.
inline std::string layer_histograms(const RunReport& report) {
  constexpr std::size_t kCells = 84;
  const std::vector<const ReportedLayer*> layers = worst_layers(report, kCells);
  Interval octaves;
  for (const ReportedLayer* layer : layers)
    for (const auto* s : {&layer->ptq, &layer->qat})
      if (*s && !(*s)->scales.counts.empty()) {
        octaves.add((*s)->scales.first);
        octaves.add((*s)->scales.first + static_cast<double>((*s)->scales.counts.size()) - 1.0);
      }
  std::string codes, scales;
  for (const ReportedLayer* layer : layers) {
    const auto& some = layer->qat && !layer->qat->codes.empty() ? layer->qat : layer->ptq;
    const std::string name = layer_name(layer->name);
    const auto shares = [&](const std::optional<LayerStatistics>& s, auto&& of) {
      return s && !s->codes.empty() ? of(*s) : std::vector<double>();
    };
    const auto both = [&](const std::string& what, auto&& of) {
      return histogram(what + " of " + name, shares(layer->ptq, of), shares(layer->qat, of));
    };
    codes += "<figure><figcaption>" + html(short_layer_name(layer->name)) + "</figcaption>" +
             both("Codes", code_shares) + "<div class=\"ends\"><span>" + number_text("%.0f", some->first_code) +
             "</span><span>" + fixed(100.0 * some->extreme_codes, 1) + " %</span><span>" +
             std::to_string(some->first_code + static_cast<int>(some->codes.size()) - 1) + "</span></div></figure>";
    if (octaves.empty()) continue;
    const int first = static_cast<int>(octaves.least), last = static_cast<int>(octaves.largest);
    scales += "<figure><figcaption>" + html(short_layer_name(layer->name)) + "</figcaption>" +
              both("Scales", [&](const LayerStatistics& s) { return scale_shares(s, first, last); }) +
              "<div class=\"ends\"><span>2<sup>" + number_text("%.0f", first) + "</sup></span><span>median " +
              short_number(some->median_scale) + "</span><span>2<sup>" + number_text("%.0f", last + 1) +
              "</sup></span></div></figure>";
  }
  std::size_t quantized = 0;
  for (const ReportedLayer& layer : report.layers) quantized += layer.is_quantized() ? 1 : 0;
  std::string out = layers.size() < quantized
                        ? "<p class=\"cap\">The " + std::to_string(layers.size()) + " layers of " +
                              std::to_string(quantized) + " with the largest error.</p>"
                        : "";
  out +=
      "<h3>Codes</h3><p class=\"sub\">How often each integer occurs, from the least to the largest. Between the two: "
      "their share, of weights that may be clipped.</p><div class=\"cells\">" +
      codes + "</div>";
  if (!scales.empty())
    out += "<h3>Scales</h3><p class=\"sub\">|scale| by octave, on one axis for all layers.</p><div class=\"cells\">" +
           scales + "</div>";
  return out;
}

// Texts, settings and origins.

inline std::string sample_text(const EvaluatedModel& model, const std::string& prompt, const std::string& name,
                               const std::string& style) {
  constexpr std::size_t kMost = 4000;  // bytes
  std::string text = model.sample;
  if (text.size() > kMost) {
    std::size_t end = kMost;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0u) == 0x80u) --end;  // not inside a character
    text = text.substr(0, end) + " …";
  }
  const bool begins = !prompt.empty() && text.starts_with(prompt);
  return "<div class=\"" + style + "\"><h3>" + html(name) + "</h3><p>" +
         (begins ? "<b>" + html(prompt) + "</b>" + html(std::string_view(text).substr(prompt.size())) : html(text)) +
         "</p></div>";
}

/// Values of nested JSON by dotted key, in order; lists as text.
inline std::vector<std::pair<std::string, std::string>> flat_values(const nlohmann::ordered_json& json,
                                                                    const std::string& prefix = "") {
  std::vector<std::pair<std::string, std::string>> all;
  if (!json.is_object()) return all;
  for (const auto& [key, value] : json.items()) {
    if (value.is_object()) {
      for (auto& entry : flat_values(value, prefix + key + ".")) all.push_back(std::move(entry));
    } else {
      const bool is_text = value.is_string();
      all.emplace_back(prefix + key,
                       is_text ? value.get<std::string>()
                       : value.is_number_float()
                           ? short_number(value.get<double>())
                           : value.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
    }
  }
  return all;
}

/// rows: key and value; bold: the keys whose values stand out
inline std::string pair_table(const std::string& caption, const std::vector<std::pair<std::string, std::string>>& rows,
                              const std::set<std::string>& bold = {}) {
  std::string out = "<table><caption>" + html(caption) + "</caption><tbody>";
  for (const auto& [key, value] : rows)
    out += "<tr><th scope=\"row\">" + html(key) + "</th><td" + (bold.contains(key) ? " class=\"set\">" : ">") +
           (value.empty() ? kAbsent : html(value)) + "</td></tr>";
  return out + "</tbody></table>\n";
}

inline std::string list_of(const std::vector<std::string>& lines) {
  std::string out = "<ul>";
  for (const std::string& line : lines) out += "<li>" + html_with_code(line) + "</li>";
  return out + "</ul>\n";
}

/// Seconds of all steps together, and the median tokens per second.
struct TrainingSpeed {
  double seconds = 0.0, tokens_per_second = std::nan(""), peak_memory = 0.0;
};
inline TrainingSpeed training_speed(const RunReport& report) {
  TrainingSpeed speed;
  std::vector<double> rates;
  for (const StepMetrics& step : report.metrics) {
    speed.seconds += step.seconds;
    speed.peak_memory = std::max(speed.peak_memory, static_cast<double>(step.peak_memory));
    if ((std::isfinite)(step.tokens_per_second)) rates.push_back(step.tokens_per_second);
  }
  if (rates.empty()) return speed;
  std::nth_element(rates.begin(), rates.begin() + static_cast<std::ptrdiff_t>(rates.size() / 2), rates.end());
  speed.tokens_per_second = rates[rates.size() / 2];
  return speed;
}

}  // namespace qat_llm
