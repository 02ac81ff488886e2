// Recipes as text; that they read back is in recipe_yaml_test.cpp.
#include "qat/recipe/recipe_text.hpp"

#include <doctest/doctest.h>

#include "support/files.hpp"

using namespace qat;
using namespace qat::recipe;

using test::contains;

TEST_CASE("numbers are the shortest that read back, text is quoted where YAML could read it otherwise") {
  CHECK(recipe::detail::number_text(0.1) == "0.1");
  CHECK(recipe::detail::number_text(1.0) == "1");
  CHECK(recipe::detail::number_text(1e-5) == "1e-05");
  for (const char* plain : {"data/train.txt", "layers.*.mlp.*", "weight=int4:group32:symmetric", "PerGroup(32)"})
    CHECK(recipe::detail::yaml_text(plain) == plain);
  for (const char* quoted : {"", "true", "No", "null", "12", "8da4w", "-x", "a b", "a: b", "a:", "#", "~", "*x", "&x"})
    CHECK(recipe::detail::yaml_text(quoted) == "\"" + std::string(quoted) + "\"");
  CHECK(recipe::detail::yaml_text("a\"\\\n\x01") == "\"a\\\"\\\\\\n\\x01\"");
}

TEST_CASE("values that are unset are not written, sections without values neither") {
  Recipe recipe;
  const std::string text = to_yaml(recipe);
  CHECK(contains(text, "trainer:\n  max_steps: 600\n"));
  CHECK(contains(text, "\nseed: 0\n"));
  for (const char* absent : {"model:", "quantizer", "layers", "warmup_steps", "output_dir", "enabled"})
    CHECK_FALSE(contains(text, absent));
  recipe.qat.layers = {{"head", "qat8"}, {"first", "float"}};
  CHECK(contains(to_yaml(recipe), "qat:\n  layers:\n    - match: head\n      scheme: qat8\n    - match: first\n"));
  recipe.evaluation.datasets = {"cloze", "a,b", "my file.jsonl"};
  CHECK(contains(to_yaml(recipe), "evaluation:\n  datasets: [cloze, \"a,b\", \"my file.jsonl\"]\n"));
  CHECK(contains(to_yaml(resolve(recipe)), "  warmup_steps: 30\n"));
}

TEST_CASE("the reference page has a row for every key, with its default and its range") {
  const std::string page = recipe_reference();
  for (const auto& key : recipe_keys()) CHECK(contains(page, "| `" + std::string(key.path) + "` |"));
  for (const auto& key : quantizer_keys()) CHECK(contains(page, "| `" + std::string(key.path) + "` |"));
  for (const auto& key : layer_keys()) CHECK(contains(page, "| `" + std::string(key.path) + "` |"));
  CHECK(contains(page, "| `trainer.accumulation` | integer >= 1 | `1` |"));
  CHECK(contains(page, "| `lr_scheduler.type` | constant, linear, cosine | `cosine` |"));
  CHECK(contains(page, "also `trainer.accumulate_grad_batches`, `training.gradient_accumulation_steps`"));
}
