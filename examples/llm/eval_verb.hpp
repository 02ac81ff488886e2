// qat-llm eval: a text in nats per token, multiple-choice items in accuracy; models side by side.
#pragma once

#include "evaluation_run.hpp"
#include "options.hpp"

namespace qat_llm {

struct EvalVerb {
  ModelOptions model;
  SchemeOptions scheme;
  std::vector<std::string> models, datasets;
  std::string run_directory, data, choices, data_directory;
  EvaluationOptions options;
  bool report = false;

  void add_to(CLI::App& app) {
    CLI::App* verb = app.add_subcommand(
        "eval", "score a model on a text (nats per token, perplexity, bits per byte) or on choices; compare models");
    verb->add_option("--model", models,
                     "llama2.c .bin, Hugging Face Llama directory, or a packed directory; several are compared")
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
        ->expected(1);
    verb->add_option("--run", run_directory,
                     "compare full precision, PTQ and QAT of this run; writes evaluation.json there");
    model.add_common_to(verb);
    model.add_device_to(verb, "what computes scores; cuda: an NVIDIA GPU, in bfloat16; auto: where it serves");
    scheme.add_to(verb, "quantize after training with this scheme, and score the packed model");
    verb->add_option("--datasets", datasets,
                     "data sets by name (wikitext-2, hellaswag, cloze, tinystories) or file, separated by commas; "
                     "prints the evaluation table")
        ->delimiter(',');
    verb->add_option("--data-dir", data_directory,
                     "where named data sets are (default: $QAT_DATA, else ../shared/data beside the checkout)");
    verb->add_option("--data", data, "text; documents separated by a line <|endoftext|>");
    verb->add_option("--choices", choices, "multiple-choice items: JSONL with ctx, endings and label, as HellaSwag's");
    verb->add_option("--length", options.scoring.length,
                     "targets of a window of text (default: 512, or the model's context where that is shorter)")
        ->check(CLI::PositiveNumber);
    verb->add_option("--limit", options.scoring.limit,
                     "windows, articles or items at most; prints the evaluation table")
        ->check(CLI::PositiveNumber);
    verb->add_flag("--skip-broken", options.scoring.skip_broken, "leave out lines of choices that are not valid");
    verb->add_option("--prompt", options.prompt, "what the table's sample texts continue")->capture_default_str();
    verb->add_flag("--report", report, "print every layer with its scheme and bytes");
    verb->footer(
        "Examples:\n"
        "  qat-llm eval --model stories260K.bin --data valid.txt\n"
        "  qat-llm eval --model stories260K.bin --data valid.txt --scheme 8da4w --report\n"
        "  qat-llm eval --model packed --choices hellaswag.jsonl --json scores.json\n"
        "  qat-llm eval --run run --datasets tinystories,cloze\n"
        "  qat-llm eval --model stories260K.bin --model run/packed --datasets wikitext-2 --limit 10");
    verb->callback([this] { run(); });
  }

  void run() {
    options.device = model.run_device();
    QAT_CHECK(models.empty() != run_directory.empty(), kInvalidArgument,
              "eval: ", models.empty() ? "no model is given" : "--model and --run are both given",
              "; accepted: --model, once or several times, or --run");
    if (!run_directory.empty()) {
      compare_run();
    } else if (models.size() > 1 || !datasets.empty() || options.scoring.limit > 0) {
      compare_models();
    } else {
      model.model = models.front();
      score();
    }
  }

 private:
  std::vector<std::string> dataset_names() const {
    std::vector<std::string> names = datasets;
    for (const std::string& file : {data, choices})
      if (!file.empty()) names.push_back(file);
    return names;
  }
  void show(const recipe::EvaluationTable& table) const {
    print_evaluation(table);
    if (!model.json.empty()) recipe::write_evaluation(model.json, table);
  }

  void compare_run() {
    QAT_CHECK(scheme.scheme.empty(), kInvalidArgument,
              "eval: --scheme and --run are both given; a run has its schemes");
    const recipe::RecipeFile file = recipe::load_recipe(join_path(run_directory, "recipe.yaml"));
    const recipe::Recipe::Evaluation& wanted = file.recipe.evaluation;
    std::vector<std::string> names = dataset_names();
    if (names.empty()) names = wanted.datasets;
    if (names.empty() && file.recipe.task.type == recipe::TaskKind::kLm && !file.recipe.data.validation.empty())
      names.push_back(validation_path(file.recipe.data.validation));
    options.datasets = find_datasets(names, data_directory.empty() ? wanted.data_dir : data_directory);
    options.tokenizer = model.tokenizer;
    if (options.scoring.limit == 0) options.scoring.limit = wanted.limit;
    show(evaluate_run(model.backend(), run_directory, file, options));
    std::printf("\nwrote %s\n", join_path(run_directory, "evaluation.json").c_str());
  }

  void compare_models() {
    options.datasets = find_datasets(dataset_names(), data_directory);
    options.tokenizer = model.tokenizer;
    const CpuBackend backend = model.backend();
    const ScratchDirectory scratch;
    std::vector<EvaluationRow> rows;
    for (const std::string& path : models) {
      rows.push_back({path, path, path});
      if (scheme.scheme.empty()) continue;
      const Checkpoint checkpoint(path);
      nn::Transformer network = checkpoint.model();
      quantize_if_asked(backend, checkpoint, network, scheme);
      const std::string packed = join_path(scratch.path(), std::to_string(rows.size()));
      recipe::save_packed(network, packed);
      rows.push_back({path + ", PTQ", packed, path});
    }
    std::set<std::string> seen;
    for (const EvaluationRow& row : rows)
      QAT_CHECK(seen.insert(row.name).second, kInvalidArgument, "eval: --model ", row.name, " is given twice");
    show(evaluate_rows(backend, rows, options));
  }

  /// One model, and nothing but its scores.
  void score() {
    const CpuBackend backend = model.backend();
    const Checkpoint checkpoint(model.model);
    nn::Transformer network = checkpoint.model();
    const auto tokenizer = model.load_tokenizer(network.config().vocab_size);
    QAT_CHECK(!data.empty() || !choices.empty(), kInvalidArgument,
              "eval: nothing to score; give --datasets, --data or --choices");
    const index_t longest = network.config().max_seq_len;
    const index_t length = options.scoring.length > 0 ? options.scoring.length : std::min(index_t{512}, longest);
    const recipe::Report layers = quantize_if_asked(backend, checkpoint, network, scheme);
    if (report && !layers.empty()) print_report(layers);
    options.device.score_on(network);
    OrderedJson json = {{"model", model.model}, {"data", data}, {"scheme", scheme.scheme}};
    if (!data.empty()) {
      const EvaluationData text = load_evaluation_data(data, length, *tokenizer, network.config());
      const recipe::Evaluation e = evaluate(backend, network, text, data, "eval");
      std::printf(
          "nats per token %.6f  perplexity %.4f  word perplexity %.3f  byte perplexity %.4f  bits per byte %.4f  (%td "
          "targets, %.2f s, %.0f tokens/s)\n",
          e.nats_per_token(), e.perplexity(), e.word_perplexity(text.words_per_token()),
          e.byte_perplexity(text.bytes_per_token()), e.bits_per_byte(text.bytes_per_token()), e.targets, e.seconds,
          e.tokens_per_second());
      json.update(to_json(e, text));
    }
    if (!choices.empty()) {
      SkippedLines skipped;
      const std::vector<ChoiceItem> items =
          load_choice_items(choices, options.scoring.skip_broken ? &skipped : nullptr);
      if (skipped.count > 0)
        std::fprintf(stderr, "qat-llm: left out %td line%s; the first: %s\n", skipped.count,
                     skipped.count == 1 ? "" : "s", skipped.first.c_str());
      const recipe::ChoiceScores s =
          recipe::score_choices(backend, network, *tokenizer, items, choices, Progress("choices"));
      std::printf("acc %.4f +- %.4f  acc_norm %.4f +- %.4f  (%td items, %.2f s)\n", s.acc(), s.acc_stderr(),
                  s.acc_norm(), s.acc_norm_stderr(), s.items, s.seconds);
      json["choices"] = to_json(s);
      json["choices"]["file"] = choices;
    }
    if (!layers.empty()) json["report"] = to_json(layers);
    write_json(model.json, json);
  }
};

}  // namespace qat_llm
