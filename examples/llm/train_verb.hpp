// qat-llm train: trains what a recipe or options say.
#pragma once

#include "evaluation_run.hpp"
#include "options.hpp"
#include "recipe_options.hpp"
#include "run_files.hpp"
#include "train_run.hpp"

namespace qat_llm {

struct TrainVerb {
  RecipeOptions recipe;
  std::string out, json;
  bool report = false, resume = false, overwrite = false;

  void add_to(CLI::App& app) {
    CLI::App* verb =
        app.add_subcommand("train", "train on a text or on samples, quantization-aware where the recipe says so");
    recipe.add_to(verb);
    verb->add_option("--out", out,
                     "write the trained model here, as a Hugging Face directory; packed where scales are learned");
    verb->add_option("--json", json, "also write the results to this file");
    verb->add_flag("--report", report, "print every layer with its scheme and bytes");
    verb->add_flag("--resume", resume,
                   "go on with the run that --output-dir holds, to the bit; begins where it holds none");
    verb->add_flag("--overwrite", overwrite, "begin again where --output-dir holds a run");
    verb->footer(
        "A run with --output-dir writes metrics and checkpoints there; Ctrl-C or SIGTERM finishes the step, writes a\n"
        "checkpoint and ends with exit code 128 + the signal's number.\n"
        "Examples:\n"
        "  qat-llm train --recipe examples/llm/recipes/8da4w.yaml --set trainer.max_steps=100 --output-dir run\n"
        "  qat-llm train --model stories260K.bin --train-data train.txt --data valid.txt --scheme 8da4w --out trained");
    verb->callback([this] { run(); });
  }

  void run() {
    const RecipeRun run(recipe.read("train"));
    const CpuBackend backend = run.backend();
    const qat::recipe::TrainConfig config = qat::recipe::train_config(run.recipe());
    std::pair<nn::Transformer, qat::recipe::Report> prepared = run.prepared_model();
    nn::Transformer& model = prepared.first;
    const qat::recipe::Report& layers = prepared.second;
    if (report) print_report(layers);
    const qat::recipe::Recipe::Evaluation& wanted = run.recipe().evaluation;
    EvaluationOptions evaluation;
    evaluation.datasets = find_datasets(wanted.datasets, wanted.data_dir);  // a wrong name is known before training
    evaluation.scoring.limit = wanted.limit;
    evaluation.device = run.device();
    const std::string& output_dir = run.recipe().output_dir;
    QAT_CHECK(!(resume && overwrite), kInvalidArgument,
              "train: --resume and --overwrite are both given; accepted: one");
    QAT_CHECK(!output_dir.empty() || !(resume || overwrite), kInvalidArgument,
              "train: ", resume ? "--resume" : "--overwrite",
              " is given without --output-dir, the directory of the run");
    OrderedJson results = {{"model", run.checkpoint().path()},
                           {"train_data", run.recipe().data.train},
                           {"scheme", schemes_of(layers)},
                           {"steps", OrderedJson::array()}};
    const auto on_step = [&results](const qat::recipe::StepReport& s) {
      results["steps"].push_back(
          {{"step", s.step}, {"loss", s.loss}, {"grad_norm", s.grad_norm}, {"lr", s.lr}, {"seconds", s.seconds}});
    };
    if (output_dir.empty()) {
      train_in_memory(backend, model, run, config, on_step);
    } else {
      const qat::recipe::ExistingRun existing = resume      ? qat::recipe::ExistingRun::kResume
                                                : overwrite ? qat::recipe::ExistingRun::kOverwrite
                                                            : qat::recipe::ExistingRun::kRefuse;
      train_in_directory(
          backend, model, run, config, run_options(run, existing, schemes_of(layers)),
          [&] { begin_run_files(run, existing); }, on_step);
    }
    if (run.data().has_validation()) {
      run.device().score_on(model);
      const qat::recipe::Evaluation e = run.data().score(backend, model);
      std::printf("nats per token %.6f on %s\n", e.nats_per_token(), run.data().validation_name().c_str());
      results["validation"] = run.data().to_json(e);
      model.set_scoring_device(nullptr);
    }
    const bool learns_scales = run.recipe().qat.learn_scales;
    if (!out.empty() && !learns_scales) {
      write_model_directory(out, [&](const std::string& path) { save_float(run, model, path); });
      std::printf("wrote %s: the trained weights; `qat-llm quantize --model %s --scheme ...` packs them as trained\n",
                  out.c_str(), out.c_str());
    }
    if (!output_dir.empty()) save_run_model(run, model);
    if (*run.recipe().qat.enabled && (!output_dir.empty() || (!out.empty() && learns_scales))) {
      qat::recipe::convert(backend, model, run.device().packer().get());
      if (!out.empty() && learns_scales) {  // a scheme would choose other scales
        write_model_directory(out, [&](const std::string& path) { save_packed(run, model, path); });
        std::printf("wrote %s: packed weights, with the scales that were learned\n", out.c_str());
      }
      if (!output_dir.empty()) save_run_packed(run, model);
    }
    if (!output_dir.empty())
      std::printf("wrote %s: recipe.yaml, model%s\n", output_dir.c_str(),
                  *run.recipe().qat.enabled ? " and packed, the weights that deployment runs" : "");
    write_json(json, results);
    if (!wanted.datasets.empty()) {
      qat::recipe::RecipeFile file = run.file();
      file.recipe = run.recipe();
      print_evaluation(evaluate_run(backend, output_dir, file, evaluation));
    }
  }

 private:
  template <class OnStep>
  static void train_in_memory(const CpuBackend& backend, nn::Transformer& model, const RecipeRun& run,
                              const qat::recipe::TrainConfig& config, const OnStep& on_step) {
    if (config.steps == 0) return;
    Progress progress("train");
    qat::recipe::Trainer trainer(backend, model, run.data().batches(), config, run.training_device(model, config));
    while (!trainer.done()) {
      const qat::recipe::StepReport s = trainer.step();
      on_step(s);
      progress.show(s.step + 1, config.steps, std::string("loss ") + concat(s.loss).c_str());
      if (s.step % 100 == 0 || s.step + 1 == config.steps)
        std::printf("step %6td  loss %.4f  gradient norm %.3f  rate %.3g  %.0f ms\n", s.step, s.loss, s.grad_norm, s.lr,
                    s.seconds * 1e3);
    }
    trainer.finish();
  }
};

}  // namespace qat_llm
