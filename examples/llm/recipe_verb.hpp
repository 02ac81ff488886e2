// qat-llm recipe: checks a recipe and prints what it comes to.
#pragma once

#include "qat/io/json.hpp"
#include "recipe_options.hpp"
#include "session.hpp"

namespace qat_llm {

template <class T>
OrderedJson section_json(T section);

template <class V>
OrderedJson value_json(const V& value) {
  if constexpr (std::is_same_v<V, std::optional<bool>> || std::is_same_v<V, std::optional<index_t>>) {
    return value ? OrderedJson(*value) : OrderedJson(nullptr);
  } else if constexpr (std::is_enum_v<V>) {
    return recipe::kChoiceNames<V>[static_cast<std::size_t>(value)];
  } else if constexpr (std::is_same_v<V, recipe::QuantizerRecipe>) {
    return section_json(value);
  } else if constexpr (std::is_same_v<V, recipe::InnerQuantizer>) {
    return value.held.empty() ? OrderedJson(nullptr) : section_json(value.held.front());
  } else if constexpr (std::is_same_v<V, std::vector<recipe::QuantizerRecipe>> ||
                       std::is_same_v<V, std::vector<recipe::LayerRecipe>>) {
    OrderedJson list = OrderedJson::array();
    for (const auto& entry : value) list.push_back(section_json(entry));
    return list;
  } else {
    return value;
  }
}

/// The values of a section as JSON, nested as in a file.
template <class T>
OrderedJson section_json(T section) {
  OrderedJson json = OrderedJson::object();
  for (const auto& key : recipe::detail::keys_of(&section)) {
    OrderedJson* place = &json;
    std::string_view path = key.path;
    for (std::size_t dot; (dot = path.find('.')) != path.npos; path = path.substr(dot + 1))
      place = &(*place)[std::string(path.substr(0, dot))];
    (*place)[std::string(path)] = std::visit([](auto* value) { return value_json(*value); }, key.field(section));
  }
  return json;
}

/// docs/recipe.md.
inline std::string reference_page() {
  return "# Recipe keys\n\n"
         "Written by `qat-llm recipe --reference > docs/recipe.md`; a test compares. How to write a recipe:\n"
         "[howto/write-a-recipe.md](howto/write-a-recipe.md). A key may stand in sections (`trainer:` and below it\n"
         "`max_steps:`) or dotted (`trainer.max_steps:`), and over a file as `--set trainer.max_steps=100`. Unknown,\n"
         "repeated and wrongly typed keys are errors.\n\n" +
         recipe::recipe_reference() +
         "\n## Classes of torchao as `_target_`\n\n"
         "| class | layers | meaning here |\n| --- | --- | --- |\n"
         "| `Int8DynActInt4WeightQATQuantizer` | linear | int8 activations per token, int4 weights in groups (256) "
         "with "
         "scales in `scales_precision` (fp32) |\n"
         "| `Int4WeightOnlyQATQuantizer` | linear | tinygemm: uint4, float zero point, bf16 scales, groups (256) of "
         "32, "
         "64, 128 or 256; rows must fit `16 * inner_k_tiles` (8) columns |\n"
         "| `Int4WeightOnlyEmbeddingQATQuantizer` | embedding | int4 in groups (256) |\n"
         "| `ComposableQATQuantizer` | those of its `quantizers` | one after the other |\n"
         "| `Int8DynamicActivationIntxWeightConfig` | linear | int8 activations per token, `weight_dtype` (int8) "
         "weights, "
         "`granularity` (PerGroup(32)) |\n"
         "| `Int8DynamicActivationInt4WeightConfig` | linear | the same with int4 weights in groups (32), as torchao "
         "had it before |\n"
         "| `IntxWeightOnlyConfig` | linear | `weight_dtype` (int8) weights, `granularity` (PerAxis(0)) |\n"
         "| `Int4WeightOnlyConfig` | linear | tinygemm in groups (128); torchao trains with fp32 scales and ships bf16 "
         "ones, here both are the ones that ship |\n"
         "| `QATConfig` | linear | its `base_config`, one of the four configurations above; or its `weight_config` and "
         "`activation_config` |\n"
         "| `IntxFakeQuantizeConfig` | | inside QATConfig: `dtype`, `granularity` or `group_size`, `is_symmetric` "
         "(true) "
         "or `mapping_type`, `scale_precision` (fp32) |\n"
         "| `IntXQuantizationAwareTrainingConfig` | linear | QATConfig's older name |\n\n"
         "Defaults in parentheses. Layers whose rows the groups of a class do not divide stay in floating point, as "
         "in\n"
         "torchao, unless `padding_allowed` is true; the two Intx configurations and `scheme` take rows of any length. "
         "A\n"
         "head that shares the embedding's table is no linear layer here: a rule of `qat.layers` with `match: head`\n"
         "quantizes it. torchao's float8, MX and NVFP4 configurations are refused by name.\n";
}

struct RecipeVerb {
  std::string file, json;
  std::vector<std::string> assignments;
  bool print = false, reference = false;

  void add_to(CLI::App& app) {
    CLI::App* verb = app.add_subcommand("recipe", "check a recipe; print what it comes to");
    verb->add_option("file", file, "recipe file (default: none, which leaves every key at its default)");
    verb->add_option("--set", assignments, "KEY=VALUE over the file; may be repeated")
        ->expected(1)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    verb->add_flag("--print", print, "write the effective recipe, which reads back to the same values");
    verb->add_flag("--reference", reference, "write the reference of all keys, as in docs/recipe.md");
    verb->add_option("--json", json, "also write the effective recipe to this file, as JSON");
    verb->footer(
        "Examples:\n"
        "  qat-llm recipe examples/llm/recipes/8da4w.yaml --print\n"
        "  qat-llm recipe my.yaml --set trainer.max_steps=100    # only checks it: exit code 0 or 2");
    verb->callback([this] { run(); });
  }

  void run() {
    if (reference) std::fputs(reference_page().c_str(), stdout);
    if (reference && file.empty()) return;
    recipe::RecipeFile made;
    if (!file.empty()) made = recipe::load_recipe(file);
    for (const std::string& assignment : assignments) recipe::set_recipe_key(made, assignment);
    if (!file.empty()) recipe::check_recipe(made.recipe, made.places);
    const recipe::Recipe effective = recipe::resolve(made.recipe);
    if (print || file.empty()) std::fputs(recipe::to_yaml(effective).c_str(), stdout);
    write_json(json, {{"recipe", section_json(effective)}});
  }
};

}  // namespace qat_llm
