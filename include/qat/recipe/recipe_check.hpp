// What a recipe's values must be to each other, before a model or data is read.
#pragma once

#include <map>
#include <string>

#include "qat/recipe/torchao_names.hpp"

namespace qat::inline v0::recipe {

/// Where the keys of a recipe stand, for errors.
struct RecipePlaces {
  std::string source = "recipe";             ///< file, or what the recipe was made of
  std::map<std::string, std::string> lines;  ///< key -> "recipe.yaml:7" or "--set"
  /// "recipe.yaml:7: trainer.max_steps"; a key that is not in the file is named with the file alone.
  std::string operator()(const std::string& key) const {
    const auto found = lines.find(key);
    return (found == lines.end() ? source : found->second) + ": " + key;
  }
};

/// @throws qat::Error naming the keys that contradict each other, or the one that is missing
inline void check_recipe(const Recipe& written, const RecipePlaces& where) {
  const Recipe recipe = resolve(written);
  const auto needs = [&](bool holds, const char* key, auto... what) {
    if (!holds) raise(ErrorCode::kInvalidArgument, where(key), what...);
  };
  const auto& [model, task, data, qat, trainer, optimizer, scheduler, evaluation, seed, output_dir] = recipe;
  needs(!model.model_name.empty(), "model.model_name", " is missing; accepted: a path, or default");
  needs(!data.train.empty() || trainer.max_steps == 0, "data.train", " is missing; accepted: a path");
  needs(!data.chat_template.empty(), "data.chat_template", " is empty; accepted: chatml, llama3, plain, or a text");
  needs(task.type == TaskKind::kSft || (data.train != "default_chat" && data.validation != "default_chat"), "task.type",
        " is lm, but default_chat is samples; accepted: sft");
  needs(data.validation.empty() || data.validation_split == 0.0, "data.validation_split", " is ", data.validation_split,
        " and data.validation is ", data.validation, "; accepted: one of them");
  needs(data.validation_split == 0.0 || (data.train != "default" && data.train != "default_chat"),
        "data.validation_split", " is ", data.validation_split, ", but data.train: ", data.train,
        " has a validation part of its own: data.validation: ", data.train);
  needs(trainer.val_check_interval == 0 || !data.validation.empty() || data.validation_split > 0.0,
        "trainer.val_check_interval", " is ", trainer.val_check_interval,
        ", but there is nothing to score; give data.validation or data.validation_split");
  needs(trainer.checkpoint_interval == 0 || !output_dir.empty(), "trainer.checkpoint_interval", " is ",
        trainer.checkpoint_interval, ", but output_dir is missing; checkpoints are written there");
  needs(*scheduler.warmup_steps <= trainer.max_steps, "lr_scheduler.warmup_steps", " is ", *scheduler.warmup_steps,
        ", beyond trainer.max_steps, ", trainer.max_steps);
  needs(scheduler.min_lr <= optimizer.lr, "lr_scheduler.min_lr", " is ", scheduler.min_lr, ", above optimizer.lr, ",
        optimizer.lr);
  needs(!*qat.enabled || !qat.quantizer.empty() || !qat.quantizer_type.empty() || !qat.layers.empty(), "qat.enabled",
        " is true, but nothing says how to quantize; give qat.quantizer.scheme, such as 8da4w");
  needs(*qat.enabled || !qat.learn_scales, "qat.learn_scales", " is true, but qat.enabled is false");
  needs(*qat.enabled || qat.delay_fake_quant_steps == 0, "qat.delay_fake_quant_steps", " is ",
        qat.delay_fake_quant_steps, ", but qat.enabled is false");
  needs(qat.delay_fake_quant_steps == 0 || qat.delay_fake_quant_steps < trainer.max_steps, "qat.delay_fake_quant_steps",
        " is ", qat.delay_fake_quant_steps, ", beyond trainer.max_steps, ", trainer.max_steps,
        ": no step would be fake-quantized");
  needs(evaluation.datasets.empty() || *qat.enabled, "evaluation.datasets",
        " compares a quantized model with full precision, but qat.enabled is false");
  needs(evaluation.datasets.empty() || !output_dir.empty(), "evaluation.datasets",
        " is given without output_dir, where evaluation.json is written");
  quantizer_rules(qat, where);
  single_layer_rules(qat, where);
}

}  // namespace qat::inline v0::recipe
