// A recipe's run: its model, tokenizer and data in memory, and the layers it quantizes.
#pragma once

#include <optional>

#include "default_model.hpp"
#include "qat/recipe/recipe_yaml.hpp"
#include "session.hpp"

namespace qat_llm {

/// What a recipe names, loaded. `default` stands for the model that comes with qat, and for its text.
class RecipeRun {
 public:
  /// @throws qat::Error naming the key or the file
  explicit RecipeRun(recipe::RecipeFile file)
      : file_(checked(std::move(file))),
        checkpoint_(is_default(file_.recipe.model.model_name) ? QAT_DEFAULT_MODEL : file_.recipe.model.model_name),
        recipe_(recipe::resolve(file_.recipe, checkpoint_.config().max_seq_len)) {
    QAT_CHECK(!checkpoint_.is_packed(), kInvalidArgument, checkpoint_.path(),
              ": is packed; training needs a floating-point model");
    const LlamaConfig& config = checkpoint_.config();
    tokenizer_ = recipe_.model.tokenizer.empty() ? load_model_tokenizer(checkpoint_.path(), config.vocab_size)
                                                 : load_tokenizer(recipe_.model.tokenizer);
    check_length("trainer.seq_length", *recipe_.trainer.seq_length);
    check_length("trainer.val_length", *recipe_.trainer.val_length);
    load_text(*recipe_.trainer.val_length);
  }

  const recipe::RecipeFile& file() const { return file_; }
  const recipe::Recipe& recipe() const { return recipe_; }
  const Checkpoint& checkpoint() const { return checkpoint_; }
  const Tokenizer& tokenizer() const { return *tokenizer_; }
  const TokenStream& text() const { return text_; }
  const std::optional<EvaluationData>& validation() const { return validation_; }
  /// Names the validation data in output.
  const std::string& validation_name() const { return validation_name_; }

  /// The model with the recipe's fake quantization in its layers.
  std::pair<nn::Transformer, recipe::Report> prepared_model() const {
    nn::Transformer model = checkpoint_.model();
    const std::vector<recipe::LayerRule> rules = recipe::layer_rules(recipe_, model, file_.places);
    recipe::Report report = recipe::detail::located(
        file_.places("qat"), [&] { return recipe::prepare(model, rules, recipe::prepare_options(recipe_)); });
    return {std::move(model), std::move(report)};
  }
  CpuBackend backend() const { return CpuBackend(static_cast<int>(recipe_.trainer.threads), recipe_.trainer.matmul); }

 private:
  static recipe::RecipeFile checked(recipe::RecipeFile file) {
    recipe::check_recipe(file.recipe, file.places);
    return file;
  }
  static bool is_default(const std::string& name) { return name == "default"; }
  void check_length(const char* key, index_t length) const {
    QAT_CHECK(length <= checkpoint_.config().max_seq_len, kInvalidArgument, file_.places(key), " is ", length,
              "; the model accepts 1 to ", checkpoint_.config().max_seq_len);
  }
  void load_text(index_t val_length) {
    const index_t vocabulary = checkpoint_.config().vocab_size;
    const recipe::Recipe::Data& data = recipe_.data;
    if (data.validation_split > 0.0) {
      const MappedFile file(data.train);
      auto [train, held] =
          split_token_stream(file.text(), *tokenizer_, vocabulary, data.train, data.validation_split, recipe_.seed);
      text_ = std::move(train);
      validation_ = EvaluationData{std::move(held), val_length};
      validation_name_ = "held-out part of " + data.train;
      return;
    }
    if (is_default(data.train)) {
      text_ = make_token_stream(default_train_text(), *tokenizer_, vocabulary, "default text");
    } else if (!data.train.empty()) {
      text_ = load_token_stream(data.train, *tokenizer_, vocabulary);
    }
    if (data.validation.empty()) return;
    validation_name_ = is_default(data.validation) ? join_path(QAT_DEFAULT_MODEL, "valid.txt") : data.validation;
    validation_ = EvaluationData{load_token_stream(validation_name_, *tokenizer_, vocabulary), val_length};
  }

  recipe::RecipeFile file_;
  Checkpoint checkpoint_;
  recipe::Recipe recipe_;
  std::unique_ptr<Tokenizer> tokenizer_;
  TokenStream text_;
  std::optional<EvaluationData> validation_;
  std::string validation_name_;
};

}  // namespace qat_llm
