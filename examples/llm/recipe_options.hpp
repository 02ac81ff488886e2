// Recipes on the command line: a file, single keys, and the short options that stand for keys.
#pragma once

#include <CLI/CLI.hpp>
#include <map>

#include "qat/recipe/recipe_yaml.hpp"

namespace qat_llm {

using namespace qat;

/// A short option and the key it sets.
struct KeyOption {
  const char* name;
  const char* key;
};

/// --recipe, --set and the short options, which go over the file's keys; --set goes over both.
struct RecipeOptions {
  std::string file, scheme, layers = "linear";
  std::vector<std::string> assignments;
  std::map<std::string, std::string> given;  ///< short option -> its text
  bool learn_scales = false;

  static constexpr KeyOption kKeys[] = {{"--model", "model.model_name"},
                                        {"--tokenizer", "model.tokenizer"},
                                        {"--train-data", "data.train"},
                                        {"--data", "data.validation"},
                                        {"--length", "trainer.val_length"},
                                        {"--steps", "trainer.max_steps"},
                                        {"--batch", "trainer.batch_size"},
                                        {"--seq-length", "trainer.seq_length"},
                                        {"--accumulation", "trainer.accumulation"},
                                        {"--clip", "trainer.clip_norm"},
                                        {"--ema-decay", "trainer.ema_decay"},
                                        {"--matmul", "trainer.matmul"},
                                        {"--threads", "trainer.threads"},
                                        {"--device", "trainer.device"},
                                        {"--lr", "optimizer.lr"},
                                        {"--weight-decay", "optimizer.weight_decay"},
                                        {"--schedule", "lr_scheduler.type"},
                                        {"--warmup", "lr_scheduler.warmup_steps"},
                                        {"--delay-fake-quant-steps", "qat.delay_fake_quant_steps"},
                                        {"--seed", "seed"},
                                        {"--output-dir", "output_dir"},
                                        {"--checkpoint-every", "trainer.checkpoint_interval"},
                                        {"--validate-every", "trainer.val_check_interval"},
                                        {"--keep-last", "trainer.keep_last"}};

  void add_to(CLI::App* verb) {
    verb->add_option("--recipe", file, "recipe file (YAML); its keys: docs/recipe.md");
    verb->add_option("--set", assignments, "KEY=VALUE over the file, such as trainer.max_steps=100; may be repeated")
        ->expected(1)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    for (const KeyOption& option : kKeys) {
      const auto* key = recipe::detail::find_key(recipe::recipe_keys(), option.key);
      recipe::Recipe standard;
      verb->add_option_function<std::string>(
              option.name, [this, &option](const std::string& text) { given[option.name] = text; },
              std::string(option.key) + ": " + key->doc)
          ->type_name(recipe::detail::accepted_text(*key, key->field(standard)));
    }
    verb->add_option("--scheme", scheme, "qat.quantizer.scheme, or a rule of qat.layers with --layers");
    verb->add_option("--layers", layers, "layers that --scheme is for")->capture_default_str();
    verb->add_flag("--learn-scales", learn_scales, "qat.learn_scales");
  }

  /// The recipe that the options make; not yet checked. verb: names it in errors where there is no file
  recipe::RecipeFile read(const char* verb) const {
    recipe::RecipeFile made;
    made.places.source = verb;
    if (!file.empty()) made = recipe::load_recipe(file);
    for (const KeyOption& option : kKeys)
      if (const auto text = given.find(option.name); text != given.end())
        recipe::set_recipe_text(made, option.key, text->second, std::string(option.name) + " " + text->second);
    if (!scheme.empty()) {
      made.recipe.qat.quantizer = {};
      made.recipe.qat.quantizer_type.clear();
      if (layers == "linear") {
        made.recipe.qat.quantizer.scheme = scheme;
      } else {
        made.recipe.qat.layers = {{layers, scheme}};
      }
      made.places.lines["qat.quantizer"] = made.places.lines["qat.layers[0]"] = "--scheme " + scheme;
    }
    if (learn_scales) recipe::set_recipe_text(made, "qat.learn_scales", "true", "--learn-scales");
    for (const std::string& assignment : assignments) recipe::set_recipe_key(made, assignment);
    return made;
  }
};

}  // namespace qat_llm
