// qat-llm report: a page that shows a run, or compares several.
#pragma once

#include "options.hpp"
#include "recipe_verb.hpp"
#include "report_comparison.hpp"

namespace qat_llm {

struct ReportVerb {
  std::vector<std::string> runs;
  std::string out, json, model;
  int threads = 0;

  void add_to(CLI::App& app) {
    CLI::App* verb = app.add_subcommand("report", "a page that shows a run, or compares several");
    verb->add_option("run", runs, "directories of runs (--output-dir of train)")->required()->expected(1, 12);
    verb->add_option("--out", out, "the page (default: report.html in RUN; comparison.html in the first of several)");
    verb->add_option("--json", json, "also write everything the page shows to this file");
    verb->add_option("--model", model, "the model that was trained, where it is not any more at the run's own path");
    verb->add_option("--threads", threads, "threads; 0 takes all")->check(CLI::Range(0, 1024));
    verb->footer(
        "The page is one HTML file that loads nothing. `qat-llm eval --run RUN` before it gives it the evaluation "
        "table\n"
        "and sample texts.\n"
        "Examples:\n"
        "  qat-llm report run\n"
        "  qat-llm report run1 run2 --out comparison.html --json comparison.json");
    verb->callback([this] { run(); });
  }

  void run() {
    const CpuBackend backend(threads);
    std::vector<RunReport> reports;
    OrderedJson results = OrderedJson::array();
    for (const std::string& directory : runs) {
      RunReport& report = reports.emplace_back(recipe::gather_run_report(backend, directory, model));
      const std::string file = join_path(directory, "recipe.yaml");
      if (file_exists(file)) {
        report.recipe = section_json(recipe::load_recipe(file).recipe);
      } else {
        report.missing.push_back("The recipe: " + file + " is absent.");
      }
      results.push_back(recipe::to_json(report));
      results.back()["verdict"] = verdict(report);
    }
    const bool single = reports.size() == 1;
    if (out.empty()) out = join_path(runs.front(), single ? "report.html" : "comparison.html");
    const std::string page =
        single ? report_page(reports.front(), section_json(recipe::Recipe())) : comparison_page(reports);
    write_file(out, page);
    write_json(json, {{"format", "qat-report"}, {"version", 1}, {"runs", results}});
    for (const RunReport& report : reports) std::printf("%s: %s\n", report.directory.c_str(), verdict(report).c_str());
    std::printf("wrote %s\n", out.c_str());
  }
};

}  // namespace qat_llm
