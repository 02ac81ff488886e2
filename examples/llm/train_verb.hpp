// qat-llm train: trains what a recipe or options say.
#pragma once

#include "options.hpp"
#include "recipe_options.hpp"
#include "recipe_run.hpp"

namespace qat_llm {

struct TrainVerb {
  RecipeOptions recipe;
  std::string out, json;
  bool report = false;

  void add_to(CLI::App& app) {
    CLI::App* verb = app.add_subcommand("train", "train on a text, quantization-aware where the recipe says so");
    recipe.add_to(verb);
    verb->add_option("--out", out,
                     "write the trained model here, as a Hugging Face directory; packed where scales are learned");
    verb->add_option("--json", json, "also write the results to this file");
    verb->add_flag("--report", report, "print every layer with its scheme and bytes");
    verb->footer(
        "Examples:\n"
        "  qat-llm train --recipe examples/llm/recipes/8da4w.yaml --set trainer.max_steps=100 --output-dir run\n"
        "  qat-llm train --model stories260K.bin --train-data train.txt --data valid.txt --scheme 8da4w --out trained");
    verb->callback([this] { run(); });
  }

  void run() {
    const RecipeRun run(recipe.read("train"));
    const CpuBackend backend = run.backend();
    const qat::recipe::TrainConfig config = qat::recipe::train_config(run.recipe());
    auto [model, layers] = run.prepared_model();
    if (report) print_report(layers);
    const std::string& output_dir = run.recipe().output_dir;
    if (!output_dir.empty()) {
      make_directory(output_dir);
      write_file(join_path(output_dir, "recipe.yaml"), qat::recipe::to_yaml(run.recipe()));
    }
    OrderedJson results = {{"model", run.checkpoint().path()},
                           {"train_data", run.recipe().data.train},
                           {"scheme", schemes_of(layers)},
                           {"steps", OrderedJson::array()}};
    Progress progress("train");
    qat::recipe::train(backend, model, run.text().tokens, config, [&](const qat::recipe::StepReport& s) {
      results["steps"].push_back(
          {{"step", s.step}, {"loss", s.loss}, {"grad_norm", s.grad_norm}, {"lr", s.lr}, {"seconds", s.seconds}});
      progress.show(s.step + 1, config.steps, std::string("loss ") + concat(s.loss).c_str());
      if (s.step % 100 == 0 || s.step + 1 == config.steps)
        std::printf("step %6td  loss %.4f  gradient norm %.3f  rate %.3g  %.0f ms\n", s.step, s.loss, s.grad_norm, s.lr,
                    s.seconds * 1e3);
    });
    if (run.validation()) {
      const qat::recipe::Evaluation e = evaluate(backend, model, *run.validation(), run.validation_name(), "eval");
      std::printf("nats per token %.6f on %s\n", e.nats_per_token(), run.validation_name().c_str());
      results["validation"] = to_json(e, *run.validation());
    }
    const bool learns_scales = run.recipe().qat.learn_scales;
    if (!out.empty() && !learns_scales) {
      save_float(run, model, out);
      std::printf("wrote %s: the trained weights; `qat-llm quantize --model %s --scheme ...` packs them as trained\n",
                  out.c_str(), out.c_str());
    }
    if (!output_dir.empty()) save_float(run, model, join_path(output_dir, "model"));
    if (*run.recipe().qat.enabled && (!output_dir.empty() || (!out.empty() && learns_scales))) {
      qat::recipe::convert(backend, model);
      if (!out.empty() && learns_scales) {  // a scheme would choose other scales
        save_packed(run, model, out);
        std::printf("wrote %s: packed weights, with the scales that were learned\n", out.c_str());
      }
      if (!output_dir.empty()) save_packed(run, model, join_path(output_dir, "packed"));
    }
    if (!output_dir.empty())
      std::printf("wrote %s: recipe.yaml, model%s\n", output_dir.c_str(),
                  *run.recipe().qat.enabled ? " and packed, the weights that deployment runs" : "");
    write_json(json, results);
  }

 private:
  static std::string schemes_of(const qat::recipe::Report& layers) {
    std::string text;
    for (const qat::recipe::LayerReport& line : layers)
      if (line.scheme != "float" && text.find(line.scheme) == text.npos)
        text += (text.empty() ? "" : " ") + line.scheme;
    return text;
  }
  static void save_float(const RecipeRun& run, nn::Transformer& model, const std::string& directory) {
    save_model(model, directory);
    copy_tokenizer(run.checkpoint().path(), model.config().vocab_size, directory);
  }
  static void save_packed(const RecipeRun& run, nn::Transformer& model, const std::string& directory) {
    qat::recipe::save_packed(model, directory);
    copy_tokenizer(run.checkpoint().path(), model.config().vocab_size, directory);
  }
};

}  // namespace qat_llm
