// The page that compares runs: curves in one frame, tables with a column a run, and what their recipes differ in.
#pragma once

#include <set>

#include "report_page.hpp"

namespace qat_llm {

/// Runs in the order they were named; each has a letter.
struct ComparedRun {
  const RunReport* report;
  std::string letter, style;
  std::string name() const { return letter + " " + short_name(report->directory); }
};

namespace detail {

inline std::vector<ComparedRun> lettered(const std::vector<RunReport>& reports) {
  std::vector<ComparedRun> runs;
  for (std::size_t i = 0; i < reports.size(); ++i)
    runs.push_back(
        {&reports[i], std::string(1, static_cast<char>('A' + i)), "k" + std::to_string(i % 6) + (i < 6 ? "" : " d1")});
  return runs;
}

/// A row of a table with a column a run: its name and one text of HTML a run; no text for the head of a group.
struct RunRow {
  std::string name;
  std::vector<std::string> cells;
};

inline std::string run_table(const std::string& label, const std::string& note, const std::vector<ComparedRun>& runs,
                             const std::vector<RunRow>& rows, const char* style = "n") {
  const std::string of = std::string(" class=\"") + style + "\">";
  std::string table = "<thead><tr>" + column("", false);
  for (const ComparedRun& run : runs)
    table += "<th scope=\"col\"" + of + "<span class=\"ink " + run.style + "\">" + html(run.name()) + "</span></th>";
  table += "</tr></thead><tbody>";
  for (const auto& [name, cells] : rows) {
    if (cells.empty()) {
      table += "<tr class=\"head\"><th scope=\"rowgroup\" colspan=\"" + std::to_string(runs.size() + 1) + "\">" +
               html(name) + "</th></tr>";
      continue;
    }
    table += "<tr><th scope=\"row\" class=\"fix\">" + html(name) + "</th>";
    for (const std::string& text : cells) table += "<td" + of + (text.empty() ? kAbsent : text) + "</td>";
    table += "</tr>";
  }
  return scrolling(label, note, table + "</tbody>");
}

/// The value that decides between runs: of QAT in the leading row, else the last validation; NaN where there is none.
inline double score_of(const RunReport& report) {
  if (const Degradation* const row = leading_row(report)) return row->qat;
  if (const StepMetrics* const scored = last_validation(report, true)) return *scored->validation_quantized;
  if (const StepMetrics* const scored = last_validation(report, false)) return *scored->validation_float;
  return std::nan("");
}

inline std::string comparison_verdict(const std::vector<ComparedRun>& runs) {
  const Degradation* const first = leading_row(*runs.front().report);
  bool one_measure = true;
  for (const ComparedRun& run : runs) {
    const Degradation* const row = leading_row(*run.report);
    one_measure = one_measure && (row == nullptr) == (first == nullptr) &&
                  (row == nullptr || (row->dataset == first->dataset && row->metric == first->metric));
  }
  if (!one_measure)
    return "The runs were not all scored on the same data: their figures stand side by side, without a ranking.";
  const double sign = first != nullptr && first->higher_is_better() ? -1.0 : 1.0;
  const ComparedRun *best = nullptr, *worst = nullptr;
  for (const ComparedRun& run : runs) {
    const double score = sign * score_of(*run.report);
    if (!(std::isfinite)(score)) continue;
    if (best == nullptr || score < sign * score_of(*best->report)) best = &run;
    if (worst == nullptr || score > sign * score_of(*worst->report)) worst = &run;
  }
  if (best == nullptr) return "None of the runs was scored.";
  const std::string unit =
      first != nullptr ? metric_text(first->metric) + " on " + first->dataset : "nats a token on the validation data";
  std::string text = best->name() + " is best, at " + fixed(score_of(*best->report), 4) + " " + unit;
  if (worst != best)
    text +=
        ", " + fixed(std::abs(score_of(*worst->report) - score_of(*best->report)), 4) + " ahead of " + worst->name();
  return text + ".";
}

inline std::string comparison_facts(const std::vector<ComparedRun>& runs) {
  std::vector<RunRow> rows;
  const auto add = [&](const char* name, const std::function<std::string(const RunReport&)>& value) {
    rows.push_back({name, {}});
    for (const ComparedRun& run : runs) rows.back().cells.push_back(value(*run.report));
  };
  const auto validation = [](const RunReport& r, bool quantized) {
    const StepMetrics* const s = last_validation(r, quantized);
    return s == nullptr ? std::string() : fixed(quantized ? *s->validation_quantized : *s->validation_float, 4);
  };
  add("model", [](const RunReport& r) { return html(model_name(r)); });
  add("scheme", [](const RunReport& r) { return r.scheme.empty() ? std::string("float") : html(scheme_name(r)); });
  add("steps", [](const RunReport& r) {
    const std::string done = r.metrics.empty() ? "0" : count_text(static_cast<double>(r.metrics.back().step + 1));
    return r.finished() ? done : done + " of " + count_text(static_cast<double>(r.steps));
  });
  add("training loss, last step",
      [](const RunReport& r) { return r.metrics.empty() ? std::string() : fixed(r.metrics.back().loss, 4); });
  add("validation, float", [&](const RunReport& r) { return validation(r, false); });
  add("validation, quantized", [&](const RunReport& r) { return validation(r, true); });
  add("weights, fp32",
      [](const RunReport& r) { return r.layers.empty() ? std::string() : bytes_text(weight_bytes(r).floating); });
  add("weights, packed",
      [](const RunReport& r) { return r.layers.empty() ? std::string() : bytes_text(weight_bytes(r).packed); });
  add("training time, (h:)min:s", [](const RunReport& r) { return duration_text(training_speed(r).seconds); });
  add("training, tokens/s", [](const RunReport& r) { return count_text(training_speed(r).tokens_per_second); });
  return run_table("Runs", "", runs, rows);
}

/// QAT's scores of every run, with what each run's own evaluation says of full precision and PTQ.
inline std::string comparison_scores(const std::vector<ComparedRun>& runs) {
  std::vector<std::pair<std::string, std::string>> measures;  // data set, metric
  for (const ComparedRun& run : runs)
    if (run.report->evaluation)
      for (const Degradation& row : run.report->evaluation->degradation) {
        const std::pair<std::string, std::string> measure(row.dataset, row.metric);
        if (std::find(measures.begin(), measures.end(), measure) == measures.end()) measures.push_back(measure);
      }
  std::vector<std::string> datasets;
  for (const auto& measure : measures)
    if (std::find(datasets.begin(), datasets.end(), measure.first) == datasets.end()) datasets.push_back(measure.first);
  const auto place = [&](const auto& measure) { return std::find(datasets.begin(), datasets.end(), measure.first); };
  std::stable_sort(measures.begin(), measures.end(), [&](const auto& a, const auto& b) { return place(a) < place(b); });
  std::vector<RunRow> rows;
  std::string group;
  for (const auto& [dataset, metric] : measures) {
    if (group != dataset) rows.push_back({dataset, {}});
    group = dataset;
    RunRow& row = rows.emplace_back(RunRow{metric_text(metric), {}});
    for (const ComparedRun& run : runs) {
      const Degradation* found = nullptr;
      if (run.report->evaluation)
        for (const Degradation& candidate : run.report->evaluation->degradation)
          if (candidate.dataset == dataset && candidate.metric == metric) found = &candidate;
      std::string& text = row.cells.emplace_back();
      if (found == nullptr) continue;
      const int digits = metric_digits(metric);
      const qat::recipe::Figure closed = found->gap_closed();
      text = fixed(found->qat, digits) + "<small>" + signed_fixed(found->qat_minus_full(), digits) + ", PTQ " +
             signed_fixed(found->ptq_minus_full(), digits) + (closed ? ", " + fixed(100.0 * *closed, 0) + " %" : "") +
             "</small>";
    }
  }
  if (rows.empty()) return "";
  return section(
      "Evaluation",
      "QAT, as each run's own evaluation scored it; small: its gap to full precision, that of PTQ, and the share "
      "that training closes.",
      run_table("Evaluation", "", runs, rows, "n two"));
}

inline std::string comparison_curves(const std::vector<ComparedRun>& runs, PlotWriter& plots) {
  double last = 0.0;
  std::vector<std::pair<const RunReport*, std::string>> styled;
  for (const ComparedRun& run : runs) {
    if (run.report->metrics.empty()) continue;
    styled.emplace_back(run.report, run.style);
    last = std::max(last, static_cast<double>(run.report->metrics.back().step + 1));
  }
  if (styled.empty()) return "";
  std::string out;
  const auto figure = [&](const char* title, const std::function<PlotSeries(const ComparedRun&)>& series) {
    Plot plot;
    plot.title = title;
    plot.last = last;
    for (const ComparedRun& run : runs) {
      plot.series.push_back(series(run));
      if (plot.series.back().points.empty())
        plot.series.pop_back();
      else
        plot.description += " " + plot.series.back().label + ".";
    }
    if (plot.series.empty()) return;
    out += std::string("<figure><figcaption><b>") + title + "</b>, nats a token</figcaption><div class=\"chart\">" +
           plots(plot) + "</div></figure>\n";
  };
  figure("Validation loss, quantized",
         [](const ComparedRun& run) { return validation_series(*run.report, true, run.letter, run.style); });
  figure("Validation loss, float weights",
         [](const ComparedRun& run) { return validation_series(*run.report, false, run.letter, run.style); });
  figure("Training loss", [](const ComparedRun& run) {
    PlotSeries series{run.letter, run.style + " thin",
                      points_of(*run.report, [](const StepMetrics& s) { return std::optional<double>(s.loss); })};
    if (!series.points.empty()) series.label += " " + fixed(series.points.back().y, 3);
    return series;
  });
  return section("Training", "By step; letters are the runs of the first table.",
                 out + small_plots(plots, styled, last));
}

inline std::string recipe_differences(const std::vector<ComparedRun>& runs) {
  std::vector<std::string> keys;
  std::vector<std::map<std::string, std::string>> values;
  for (const ComparedRun& run : runs) {
    auto flat = flat_values(run.report->recipe);
    for (const auto& [key, value] : flat)
      if (std::find(keys.begin(), keys.end(), key) == keys.end()) keys.push_back(key);
    values.emplace_back(flat.begin(), flat.end());
  }
  std::vector<RunRow> rows;
  for (const std::string& key : keys) {
    std::set<std::string> different;
    std::vector<std::string> cells;
    for (const auto& run : values) {
      const auto found = run.find(key);
      const std::string value = found == run.end() || found->second == "null" ? "" : found->second;
      different.insert(value);
      cells.push_back(html(value));
    }
    if (different.size() > 1) rows.push_back({key, cells});
  }
  if (rows.empty()) return section("Recipes", "They do not differ in any key.", "");
  return section("Recipes", "The keys they differ in.", run_table("Differences of the recipes", "", runs, rows, ""));
}

inline std::string comparison_layers(const std::vector<ComparedRun>& runs) {
  const std::size_t most = std::min<std::size_t>(250, 1500 / runs.size());
  std::vector<std::string> names;
  for (const ComparedRun& run : runs)
    for (const ReportedLayer& layer : run.report->layers)
      if (layer.is_quantized() && names.size() < most &&
          std::find(names.begin(), names.end(), layer.name) == names.end())
        names.push_back(layer.name);
  std::vector<RunRow> rows;
  for (const std::string& name : names) {
    std::vector<std::string> cells;
    for (const ComparedRun& run : runs) {
      const auto& layers = run.report->layers;
      const auto found = std::find_if(layers.begin(), layers.end(), [&](const auto& l) { return l.name == name; });
      if (found == layers.end() || !found->is_quantized()) {
        cells.emplace_back();
        continue;
      }
      const LayerStatistics& s = found->qat ? *found->qat : *found->ptq;
      cells.push_back(decibel(sqnr_of(found->qat)) + "<small>PTQ " + decibel(sqnr_of(found->ptq)) + ", " +
                      fixed(s.bits_per_weight, 2) + " bits</small>");
    }
    rows.push_back({layer_name(name), cells});
  }
  if (rows.empty()) return "";
  return section("Layers",
                 "SQNR in dB of the packed weights after training, beside that before (PTQ) and bits a weight.",
                 run_table("Layers", names.size() == most ? "The first " + std::to_string(most) + " layers." : "", runs,
                           rows, "n two"));
}

}  // namespace detail

/// reports: 2 to 12
inline std::string comparison_page(const std::vector<RunReport>& reports) {
  const std::vector<ComparedRun> runs = detail::lettered(reports);
  PlotWriter plots;
  std::string body = "<header>\n<p class=\"over\">qat run report</p>\n<h1>" + std::to_string(runs.size()) +
                     " runs compared</h1>\n<p class=\"lede\">" + html(detail::comparison_verdict(runs)) + "</p>\n" +
                     detail::comparison_facts(runs) + "</header>\n";
  body += detail::comparison_scores(runs);
  body += detail::comparison_curves(runs, plots);
  body += detail::recipe_differences(runs);
  body += detail::comparison_layers(runs);
  std::string texts, missing;
  for (const ComparedRun& run : runs) {
    if (run.report->evaluation)
      if (const EvaluatedModel* const model = run.report->evaluation->find("QAT");
          model != nullptr && !model->sample.empty())
        texts += sample_text(*model, run.report->evaluation->prompt, run.name(), run.style);
    if (!run.report->missing.empty()) missing += "<h3>" + html(run.name()) + "</h3>\n" + list_of(run.report->missing);
  }
  if (!texts.empty())
    body += section("Sample text", "QAT's greedy continuation of the prompt.",
                    "<div class=\"texts\">" + texts + "</div>\n");
  if (!missing.empty()) body += section("What this page could not find", "", missing);
  return page_frame("Runs compared · qat run report", body + "<footer>Written by <code>qat-llm report</code>, qat " +
                                                          html(qat::recipe::detail::version_text()) + "</footer>\n");
}

}  // namespace qat_llm
