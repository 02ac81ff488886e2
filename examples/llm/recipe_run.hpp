// A recipe's run: its model, tokenizer and data in memory, and the layers it quantizes.
#pragma once

#include <algorithm>
#include <optional>

#include "qat/recipe/recipe_yaml.hpp"
#include "run_device.hpp"
#include "training_data.hpp"

namespace qat_llm {

/// What a recipe names, loaded. `default` stands for the model that comes with qat, and for its text.
class RecipeRun {
 public:
  RecipeRun(const RecipeRun&) = delete;
  RecipeRun& operator=(const RecipeRun&) = delete;
  /// @throws qat::Error naming the key or the file
  explicit RecipeRun(recipe::RecipeFile file)
      : file_(checked(std::move(file))),
        checkpoint_(model_path(file_.recipe.model.model_name)),
        recipe_(recipe::resolve(file_.recipe, checkpoint_.config().max_seq_len)),
        device_(recipe_.trainer.device) {
    QAT_CHECK(!checkpoint_.is_packed(), kInvalidArgument, checkpoint_.path(),
              ": is packed; training needs a floating-point model");
    const LlamaConfig& config = checkpoint_.config();
    tokenizer_ = recipe_.model.tokenizer.empty() ? load_model_tokenizer(checkpoint_.path(), config.vocab_size)
                                                 : load_tokenizer(recipe_.model.tokenizer);
    check_length("trainer.seq_length", *recipe_.trainer.seq_length);
    check_length("trainer.val_length", *recipe_.trainer.val_length);
    data_.emplace(recipe_, *tokenizer_, config);
  }

  const recipe::RecipeFile& file() const { return file_; }
  const recipe::Recipe& recipe() const { return recipe_; }
  const Checkpoint& checkpoint() const { return checkpoint_; }
  const TrainingData& data() const { return *data_; }
  const RunDevice& device() const { return device_; }
  /// What trains a prepared model; null: the CPU.
  std::shared_ptr<recipe::TrainingDevice> training_device(nn::Transformer& model,
                                                          const recipe::TrainConfig& config) const {
    return device_.trainer(model, config, std::max(*recipe_.trainer.seq_length, *recipe_.trainer.val_length));
  }

  /// The model with the recipe's fake quantization in its layers.
  std::pair<nn::Transformer, recipe::Report> prepared_model() const {
    nn::Transformer model = checkpoint_.model();
    const std::vector<recipe::LayerRule> rules = layer_rules(model);
    recipe::Report report = recipe::detail::located(
        file_.places("qat"), [&] { return recipe::prepare(model, rules, recipe::prepare_options(recipe_)); });
    return {std::move(model), std::move(report)};
  }
  std::vector<recipe::LayerRule> layer_rules(nn::Transformer& model) const {
    return recipe::layer_rules(recipe_, model, file_.places);
  }
  CpuBackend backend() const { return CpuBackend(static_cast<int>(recipe_.trainer.threads), recipe_.trainer.matmul); }

 private:
  static recipe::RecipeFile checked(recipe::RecipeFile file) {
    recipe::check_recipe(file.recipe, file.places);
    return file;
  }
  void check_length(const char* key, index_t length) const {
    QAT_CHECK(length <= checkpoint_.config().max_seq_len, kInvalidArgument, file_.places(key), " is ", length,
              "; the model accepts 1 to ", checkpoint_.config().max_seq_len);
  }
  recipe::RecipeFile file_;
  Checkpoint checkpoint_;
  recipe::Recipe recipe_;
  RunDevice device_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::optional<TrainingData> data_;  // borrows the recipe: this stays where it is
};

}  // namespace qat_llm
