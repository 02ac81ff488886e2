// What a recipe trains on and is scored on: a text, or samples for supervised fine-tuning.
#pragma once

#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "default_model.hpp"
#include "default_samples.hpp"
#include "qat/data/sft_batches.hpp"
#include "qat/recipe/recipe_check.hpp"
#include "qat/recipe/run.hpp"
#include "session.hpp"

namespace qat_llm {

/// Loaded data of a recipe that is resolved for its model. Batches and scorers borrow it.
class TrainingData {
 public:
  /// @throws qat::Error naming the file, and the line of a broken sample
  TrainingData(const recipe::Recipe& recipe, const Tokenizer& tokenizer, const LlamaConfig& config)
      : recipe_(recipe), is_sft_(recipe.task.type == recipe::TaskKind::kSft) {
    if (is_sft_) {
      load_samples(tokenizer, config);
    } else {
      load_text(tokenizer, config.vocab_size);
    }
  }
  TrainingData(const TrainingData&) = delete;
  TrainingData& operator=(const TrainingData&) = delete;

  std::unique_ptr<BatchSource> batches() const { return batches(recipe_.seed); }
  std::unique_ptr<BatchSource> batches(std::uint64_t seed) const {
    const index_t batch = recipe_.trainer.batch_size, length = *recipe_.trainer.seq_length;
    if (is_sft_) return std::make_unique<SftBatches>(samples_, batch, length, recipe_.data.packing, seed);
    return std::make_unique<BatchSampler>(text_.tokens, batch, length, seed);
  }
  /// Tells batches apart from those of other data.
  Json identity() const {
    if (!is_sft_) return recipe::data_identity(text_.tokens);
    std::vector<std::int32_t> all;
    for (const SftSample& s : samples_) {
      all.push_back(static_cast<std::int32_t>(s.inputs.size()));
      all.insert(all.end(), s.inputs.begin(), s.inputs.end());
      all.insert(all.end(), s.targets.begin(), s.targets.end());
    }
    Json identity = recipe::data_identity(all);
    identity["samples"] = samples_.size();
    identity["packing"] = recipe_.data.packing;
    return identity;
  }

  bool has_validation() const { return !validation_name_.empty(); }
  /// Names the validation data in output.
  const std::string& validation_name() const { return validation_name_; }
  /// Nats per token of all validation data; of completions where the task is sft.
  recipe::Evaluation score(const CpuBackend& backend, nn::Transformer& model) const {
    if (is_sft_) return recipe::evaluate_samples(backend, model, held_samples_, Progress("eval"));
    return evaluate(backend, model, held_text_, validation_name_, "eval");
  }
  OrderedJson to_json(const recipe::Evaluation& e) const {
    if (!is_sft_) return qat_llm::to_json(e, held_text_);
    return {{"nats_per_token", e.nats_per_token()},
            {"perplexity", e.perplexity()},
            {"samples", held_samples_.size()},
            {"targets", e.targets},
            {"seconds", e.seconds}};
  }
  /// The text that is scored; empty where the task is sft.
  const EvaluationData& validation_text() const { return held_text_; }
  /// What is scored while training: trainer.val_windows windows or samples. Empty without validation data.
  recipe::Scorer scorer() const {
    if (!has_validation()) return {};
    const auto most = static_cast<std::size_t>(recipe_.trainer.val_windows);
    if (is_sft_) {
      std::span<const SftSample> samples = held_samples_;
      if (most > 0 && most < samples.size()) samples = samples.first(most);
      return [samples](const CpuBackend& backend, nn::Transformer& model) {
        return recipe::evaluate_samples(backend, model, samples, [](index_t, index_t) {});
      };
    }
    std::span<const std::int32_t> tokens = held_text_.stream.tokens;
    const auto length = static_cast<std::size_t>(held_text_.length);
    if (most > 0 && most < tokens.size() / length) tokens = tokens.first(most * length + 1);
    return recipe::window_scorer(TokenWindows::contiguous(tokens, held_text_.length, validation_name_));
  }

 private:
  void load_text(const Tokenizer& tokenizer, index_t vocabulary) {
    const recipe::Recipe::Data& data = recipe_.data;
    held_text_.length = *recipe_.trainer.val_length;
    if (data.validation_split > 0.0) {
      const MappedFile file(data.train);
      std::tie(text_, held_text_.stream) =
          split_token_stream(file.text(), tokenizer, vocabulary, data.train, data.validation_split, recipe_.seed);
      validation_name_ = "held-out part of " + data.train;
      return;
    }
    if (is_default(data.train)) {
      text_ = make_token_stream(default_train_text(), tokenizer, vocabulary, "default text");
    } else if (!data.train.empty()) {
      text_ = load_token_stream(data.train, tokenizer, vocabulary);
    }
    if (data.validation.empty()) return;
    validation_name_ = validation_path(data.validation);
    held_text_.stream = load_token_stream(validation_name_, tokenizer, vocabulary);
  }

  void load_samples(const Tokenizer& tokenizer, const LlamaConfig& config) {
    const recipe::Recipe::Data& data = recipe_.data;
    SftOptions options;
    options.longest = *recipe_.trainer.seq_length;
    options.vocab_size = config.vocab_size;
    options.eos_id = tokenizer.eos_id() >= 0 ? tokenizer.eos_id() : static_cast<std::int32_t>(config.eos_id);
    options.chat_template = data.chat_template;
    options.skip_broken = data.skip_broken;
    const auto load = [&](const std::string& path, bool to_train) {
      SftData loaded;
      if (is_default(path) || path == "default_chat") {
        const DefaultSamples samples(!is_default(path));
        loaded = make_sft_data(to_train ? samples.train() : samples.valid(), path, tokenizer, options);
      } else {
        loaded = load_sft_data(path, tokenizer, options);
      }
      if (loaded.skipped > 0)
        std::fprintf(stderr, "qat-llm: left out %td line%s; the first: %s\n", loaded.skipped,
                     loaded.skipped == 1 ? "" : "s", loaded.first_skipped.c_str());
      return std::move(loaded.samples);
    };
    if (!data.train.empty()) samples_ = load(data.train, true);
    if (data.validation_split > 0.0) {
      std::tie(samples_, held_samples_) =
          split_samples(std::move(samples_), data.validation_split, recipe_.seed, data.train);
      validation_name_ = "held-out part of " + data.train;
    } else if (!data.validation.empty()) {
      held_samples_ = load(data.validation, false);
      validation_name_ = data.validation;
    }
  }

  const recipe::Recipe& recipe_;
  bool is_sft_;
  TokenStream text_;
  EvaluationData held_text_{{}, 0};
  std::vector<SftSample> samples_, held_samples_;
  std::string validation_name_;
};

}  // namespace qat_llm
