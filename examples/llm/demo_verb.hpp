// qat-llm demo: full precision, PTQ and QAT side by side, from a recipe; the run, its evaluation and a page about it.
#pragma once

#include "demo.hpp"
#include "eval_verb.hpp"
#include "recipe_options.hpp"
#include "report_verb.hpp"

namespace qat_llm {

struct DemoVerb {
  RecipeOptions recipe;
  DemoOptions options;
  std::string json;
  bool no_control = false;

  void add_to(CLI::App& app) {
    CLI::App* verb = app.add_subcommand("demo", "full precision, PTQ and QAT side by side, and a page about the run");
    recipe.add_to(verb);
    verb->add_option("--json", json, "also write the results to this file");
    verb->add_option("--seeds", options.seeds, "runs with successive seeds; the table gives the mean")
        ->capture_default_str()
        ->check(CLI::Range(1, 100));
    verb->add_flag("--report", options.report, "print every layer with its scheme and bytes");
    verb->add_flag("--no-control", no_control, "leave out the full-precision control");
    verb->footer(
        "Without --recipe it is examples/llm/recipes/demo.yaml. The run of the first seed is kept in --output-dir\n"
        "(qat-demo), in place of the run that is there: metrics, models, evaluation.json and report.html.\n"
        "Examples:\n"
        "  qat-llm demo\n"
        "  qat-llm demo --model stories260K.bin --data valid.txt --train-data train.txt --scheme 8da3w --lr 1e-3");
    verb->callback([this] { run(); });
  }

  void run() {
    const bool is_default = recipe.file.empty();
    if (is_default) recipe.file = join_path(parent_directory(QAT_DEFAULT_MODEL), "recipes/demo.yaml");
    if (is_default && recipe.given.contains("--model"))
      for (const char* option : {"--train-data", "--data"})
        QAT_CHECK(recipe.given.contains(option), kInvalidArgument, "demo: ", option,
                  " is missing; it is needed with --model");
    qat::recipe::RecipeFile file = recipe.read("demo");
    if (file.recipe.output_dir.empty()) file.recipe.output_dir = "qat-demo";
    const RecipeRun run(std::move(file));
    QAT_CHECK(run.recipe().task.type == qat::recipe::TaskKind::kLm && run.data().has_validation() &&
                  *run.recipe().qat.enabled,
              kInvalidArgument, recipe.file,
              ": is no recipe for the demo; accepted: task.type lm, a scheme, and data.validation");
    options.control = !no_control;
    OrderedJson results = run_demo(run, options);
    const std::string& directory = run.recipe().output_dir;
    EvalVerb evaluation;
    evaluation.run_directory = directory;
    evaluation.run();
    ReportVerb page;
    page.runs = {directory};
    page.run();
    results["page"] = page.out;
    write_json(json, results);
  }
};

}  // namespace qat_llm
