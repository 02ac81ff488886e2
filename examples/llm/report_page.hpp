// The page of one run.
#pragma once

#include "report_sections.hpp"

namespace qat_llm {

namespace detail {

inline std::vector<Fact> facts_of(const RunReport& report) {
  const TrainingSpeed speed = training_speed(report);
  const WeightBytes bytes = weight_bytes(report);
  const double steps = report.metrics.empty() ? 0.0 : static_cast<double>(report.metrics.back().step + 1);
  std::vector<Fact> facts;
  if (const Degradation* const row = leading_row(report)) {
    facts.push_back(
        {"Gap to full precision", signed_fixed(row->qat_minus_full(), 4), metric_text(row->metric) + ", QAT"});
    facts.push_back(
        {"Gap without training", signed_fixed(row->ptq_minus_full(), 4), metric_text(row->metric) + ", PTQ"});
  } else if (const StepMetrics* const scored = last_validation(report, true)) {
    facts.push_back({"Quantized, at the end", fixed(*scored->validation_quantized, 4), "nats a token, validation"});
    facts.push_back({"Its float weights", fixed(*scored->validation_float, 4), "nats a token, validation"});
  }
  if (bytes.packed > 0.0)
    facts.push_back({"Weights", bytes_text(bytes.packed),
                     report.scheme.empty() ? std::string() : "of " + bytes_text(bytes.floating) + " in fp32"});
  facts.push_back({"Steps", count_text(steps),
                   report.finished() ? "all of them" : "of " + count_text(static_cast<double>(report.steps))});
  facts.push_back({"Training time", duration_text(speed.seconds),
                   speed.seconds < 3600.0 ? "min:s, steps alone" : "h:min:s, steps alone"});
  facts.push_back({"Training speed", count_text(speed.tokens_per_second), "tokens/s, median step"});
  if (speed.peak_memory > 0.0) facts.push_back({"Memory", bytes_text(speed.peak_memory), "of the process, at most"});
  return facts;
}

inline std::string training_section(const RunReport& report, PlotWriter& plots) {
  if (report.metrics.empty()) return "";
  const double last = static_cast<double>(report.metrics.back().step + 1);
  Plot loss;
  loss.title = "Loss over training steps";
  loss.last = last;
  loss.series.push_back(
      {"", "train", points_of(report, [](const StepMetrics& s) { return std::optional<double>(s.loss); })});
  loss.series.back().label = "training " + fixed(report.metrics.back().loss, 3);
  for (const bool quantized : {false, true}) {
    PlotSeries series =
        validation_series(report, quantized, quantized ? "quantized" : "float", quantized ? "qat" : "float");
    if (!series.points.empty()) loss.series.push_back(std::move(series));
  }
  loss.markers = markers_of(report);
  double unusable = 0.0;
  for (const StepMetrics& step : report.metrics) unusable += (std::isfinite)(step.loss) ? 0.0 : 1.0;
  loss.description = "In nats a token:";
  for (const PlotSeries& series : loss.series) loss.description += " " + series.label + ",";
  loss.description.back() = '.';
  for (const PlotMarker& marker : loss.markers) loss.description += " " + marker.text + ".";
  std::string sub = "Nats a token at each step";
  sub += report.metrics.size() > 300 ? ": the line is the mean of neighbouring steps, the band their range." : ".";
  if (loss.series.size() > 2)
    sub += " Dots are validation: of the float weights, and of the same weights quantized as they would ship.";
  else if (loss.series.size() > 1)
    sub += " Dots are validation.";
  if (unusable > 0.0) sub += " It was not finite at " + count_text(unusable) + (unusable == 1.0 ? " step." : " steps.");
  const std::string main_plot = "<figure><figcaption><b>Loss</b>, nats a token</figcaption><div class=\"chart\">" +
                                plots(loss) + "</div></figure>\n";
  return section("Training", sub, main_plot + small_plots(plots, {{&report, "float"}}, last));
}

inline std::string layers_section(const RunReport& report) {
  bool any = false;
  for (const ReportedLayer& layer : report.layers) any = any || layer.is_quantized();
  if (!any) return "";
  return section(
             "Layers",
             "Sizes, and how near packed weights are to the float weights they were made from: SQNR, the power of the "
             "weights over that of their error. PTQ packs the weights training began with, QAT those it ended with. "
             "Training lowers the loss that the error causes; the error itself it may well leave as it is.",
             layer_table(report)) +
         section("Codes and scales",
                 "What the packed weights hold: bars after training (QAT), outline before it (PTQ). Each layer's "
                 "tallest bar fills its box.",
                 layer_histograms(report));
}

inline std::string samples_section(const RunReport& report) {
  if (!report.evaluation) return "";
  std::string out;
  for (const EvaluatedModel& model : report.evaluation->models)
    if (!model.sample.empty()) {
      const std::string style = model_style(model.name);
      out += sample_text(model, report.evaluation->prompt, model.name, style.empty() ? "float" : style);
    }
  return out.empty() ? ""
                     : section("Sample text", "One prompt, continued greedily by each model.",
                               "<div class=\"texts\">" + out + "</div>\n");
}

/// Who worked on the run, and what it was made from.
inline std::string origins(const RunReport& report) {
  using Rows = std::vector<std::pair<std::string, std::string>>;
  std::string out;
  const qat::Json& processes = qat::recipe::detail::member_or_null(report.description, {"processes"});
  if (processes.is_array())
    for (const qat::Json& process : processes)
      if (process.is_object()) {
        const qat::Json& first = qat::recipe::detail::member_or_null(process, {"first_step"});
        Rows rows = flat_values(nlohmann::ordered_json(process));
        std::erase_if(rows, [](const auto& row) { return row.first == "first_step"; });
        out += pair_table("Trained from step " + first.dump(), rows);
      }
  if (report.evaluation) {
    const EvaluationTable& e = *report.evaluation;
    out += pair_table("Evaluated", Rows{{"qat", e.version},
                                        {"processor", e.processor},
                                        {"threads", std::to_string(e.threads)},
                                        {"target", e.target},
                                        {"compiler", e.compiler}});
  }
  Rows files = {{"run", report.directory}, {"model", report.model}};
  const qat::Json& data = qat::recipe::detail::member_or_null(report.description, {"train_data"});
  if (data.is_string()) files.emplace_back("training data", data.get<std::string>());
  if (report.evaluation)
    for (const auto& d : report.evaluation->datasets) files.emplace_back(d.name, d.file);
  out += pair_table("Files", files);
  const std::pair<const char*, const char*> parts[] = {{"data", "Training data, with its checksum (XXH64)"},
                                                       {"model", "Model, with the checksum of its first weights"},
                                                       {"training", "Training, as run.json states it"}};
  for (const auto& [part, caption] : parts) {
    if (part == std::string("training") && report.recipe.is_object()) continue;  // the recipe says the same
    Rows rows = flat_values(
        nlohmann::ordered_json(qat::recipe::detail::member_or_null(report.description, {"identity", part})));
    std::erase_if(rows, [](const auto& row) { return row.second == "null"; });
    out += pair_table(caption, rows);
  }
  return out;
}

/// A table for each section of the recipe.
inline std::string recipe_section(const RunReport& report, const nlohmann::ordered_json& defaults) {
  if (!report.recipe.is_object()) return "";
  const auto standard = flat_values(defaults);
  const std::map<std::string, std::string> known(standard.begin(), standard.end());
  struct Group {
    std::string name;
    std::vector<std::pair<std::string, std::string>> rows;
    std::set<std::string> chosen;
  };
  std::vector<Group> groups;
  for (auto& [path, value] : flat_values(report.recipe)) {
    if (value.empty() || value == "null" || value == "[]") continue;
    const std::size_t dot = path.find('.');
    const std::string name = dot == path.npos ? "run" : path.substr(0, dot),
                      key = dot == path.npos ? path : path.substr(dot + 1);
    if (groups.empty() || groups.back().name != name) groups.push_back({name, {}, {}});
    const auto found = known.find(path);
    if (found == known.end() || found->second != value) groups.back().chosen.insert(key);
    groups.back().rows.emplace_back(key, value);
  }
  std::string tables;
  for (const Group& group : groups) tables += pair_table(group.name, group.rows, group.chosen);
  return section("Recipe", "Every key that has a value; bold: other than the default.",
                 "<div class=\"columns\">" + tables + "</div>\n");
}

}  // namespace detail

/// defaults: the recipe's keys at their defaults, which the page tells the run's own choices apart by.
inline std::string report_page(const RunReport& report, const nlohmann::ordered_json& defaults) {
  PlotWriter plots;
  const std::string scheme = report.scheme.empty() ? "floating point" : scheme_name(report);
  std::string body = "<header>\n<p class=\"over\">qat run report · " + html(report.directory) + "</p>\n<h1>" +
                     html(model_name(report)) + " <span>" + html(scheme) + "</span></h1>\n<p class=\"lede\">" +
                     html(verdict(report)) + "</p>\n" + fact_list(detail::facts_of(report)) + "</header>\n";
  body += section("Evaluation",
                  report.evaluation ? "Full precision, the same model quantized without training (PTQ), and after "
                                      "quantization-aware training (QAT)."
                                    : "",
                  report.evaluation ? gap_strips(*report.evaluation) + evaluation_table(*report.evaluation)
                                    : "<p class=\"empty\">" +
                                          html_with_code("There is no evaluation yet: `qat-llm eval --run " +
                                                         report.directory + "` makes it.") +
                                          "</p>\n");
  body += detail::training_section(report, plots);
  body += detail::layers_section(report);
  body += detail::samples_section(report);
  body += detail::recipe_section(report, defaults);
  body += section("Origins", "Machines, versions, files and checksums.",
                  "<div class=\"columns\">" + detail::origins(report) + "</div>\n");
  if (!report.missing.empty()) body += section("What this page could not find", "", list_of(report.missing));
  return page_frame(model_name(report) + ", " + scheme + " · qat run report",
                    body + "<footer>Written by <code>qat-llm report</code>, qat " +
                        html(qat::recipe::detail::version_text()) + "</footer>\n");
}

}  // namespace qat_llm
