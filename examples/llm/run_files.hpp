// What a recipe's run leaves in its directory beside metrics and checkpoints: the recipe, and the model in both forms.
#pragma once

#include <unistd.h>

#include "qat/recipe/packed_checkpoint.hpp"
#include "recipe_run.hpp"

namespace qat_llm {

/// The schemes of the layers that are not in floating point, each once.
inline std::string schemes_of(const recipe::Report& layers) {
  std::vector<std::string> schemes;
  for (const recipe::LayerReport& line : layers)
    if (line.scheme != "float") schemes.push_back(line.scheme);
  return recipe::joined_once(schemes, " ");
}

inline recipe::RunOptions run_options(const RecipeRun& run, recipe::ExistingRun existing, const std::string& schemes) {
  const recipe::Recipe::Trainer& trainer = run.recipe().trainer;
  recipe::RunOptions options;
  options.directory = run.recipe().output_dir;
  options.existing = existing;
  options.checkpoint_every = trainer.checkpoint_interval;
  options.validate_every = trainer.val_check_interval;
  options.keep_last = trainer.keep_last;
  options.description["model"] = run.checkpoint().path();
  options.description["train_data"] = run.recipe().data.train;
  options.description["scheme"] = schemes;
  return options;
}

/// Once the directory is this run's: its recipe, and nothing of a run that it replaces.
inline void begin_run_files(const RecipeRun& run, recipe::ExistingRun existing) {
  const std::string& directory = run.recipe().output_dir;
  if (existing == recipe::ExistingRun::kOverwrite) {
    for (const char* name : {"model", "packed"})
      if (is_directory(join_path(directory, name))) retire_directory(join_path(directory, name));
    for (const char* name : {"evaluation.json", "report.html"}) ::unlink(join_path(directory, name).c_str());
  }
  write_file(join_path(directory, "recipe.yaml"), recipe::to_yaml(run.recipe()));
}

inline void save_float(const RecipeRun& run, nn::Transformer& model, const std::string& directory) {
  save_model(model, directory);
  copy_tokenizer(run.checkpoint().path(), model.config().vocab_size, directory, run.recipe().model.tokenizer);
}
inline void save_packed(const RecipeRun& run, nn::Transformer& model, const std::string& directory) {
  recipe::save_packed(model, directory);
  copy_tokenizer(run.checkpoint().path(), model.config().vocab_size, directory, run.recipe().model.tokenizer);
}
/// RUN/model: the trained float weights. Before convert().
inline void save_run_model(const RecipeRun& run, nn::Transformer& model) {
  replace_directory(join_path(run.recipe().output_dir, "model"),
                    [&](const std::string& path) { save_float(run, model, path); });
}
/// RUN/packed: what deployment runs. After convert().
inline void save_run_packed(const RecipeRun& run, nn::Transformer& model) {
  replace_directory(join_path(run.recipe().output_dir, "packed"),
                    [&](const std::string& path) { save_packed(run, model, path); });
}

}  // namespace qat_llm
