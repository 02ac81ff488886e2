// Recipe files: what is written is read back, and everything else is an error with file, line and key.
#if defined(QAT_WITH_YAML)
#include "qat/recipe/recipe_yaml.hpp"
#endif

#include <doctest/doctest.h>

#include "support/files.hpp"

#if defined(QAT_WITH_YAML)

using namespace qat;
using namespace qat::recipe;

using test::contains;
using test::error_of;

namespace {

/// Random values for every key of a section, within what the key accepts.
class RandomSection {
 public:
  explicit RandomSection(std::uint64_t seed) : random_(seed) {}

  template <class T>
  void fill(T& section, int depth) {
    for (const RecipeKey<T>& key : recipe::detail::keys_of(&section))
      if (random_.next_below(4) > 0)
        std::visit([&](auto* place) { draw(*place, key.least, key.most, depth); }, key.field(section));
  }

 private:
  template <class V>
  void draw(V& value, double least, double most, int depth) {
    if constexpr (std::is_same_v<V, bool>) {
      value = random_.next_below(2) == 1;
    } else if constexpr (std::is_same_v<V, std::optional<bool>> || std::is_same_v<V, std::optional<index_t>>) {
      draw(value.emplace(), least, most, depth);
    } else if constexpr (std::is_enum_v<V>) {
      value = static_cast<V>(random_.next_below(static_cast<std::uint32_t>(kChoiceNames<V>.size())));
    } else if constexpr (std::is_same_v<V, double>) {
      const double top = most < 1e300 ? most : 1e6;
      value =
          least + static_cast<double>(random_.next_float()) * static_cast<double>(random_.next_float()) * (top - least);
    } else if constexpr (std::is_integral_v<V>) {
      const double top = most < 1e300 ? most : 1e9;
      value = static_cast<V>(least) + static_cast<V>(random_.next_below(static_cast<std::uint32_t>(top - least + 1)));
    } else if constexpr (std::is_same_v<V, std::array<double, 2>>) {
      for (double& v : value) draw(v, least, most, depth);
    } else if constexpr (std::is_same_v<V, std::string>) {
      constexpr std::string_view kAlphabet = "ab:/.-_ #'\"\\\n\t{}[]&*!|>%@`,=?~0123456789eE+\x01";
      value.clear();
      for (std::uint32_t i = 0, n = 1 + random_.next_below(12); i < n; ++i)
        value += kAlphabet[random_.next_below(static_cast<std::uint32_t>(kAlphabet.size()))];
    } else if constexpr (std::is_same_v<V, std::vector<std::string>>) {
      value.resize(random_.next_below(3));
      for (std::string& entry : value) draw(entry, least, most, depth);
    } else if constexpr (std::is_same_v<V, QuantizerRecipe>) {
      if (depth < 2) fill(value, depth + 1);
    } else if constexpr (std::is_same_v<V, InnerQuantizer>) {
      if (depth < 2) fill(value.held.emplace_back(), depth + 1);
    } else {
      value.resize(depth < 2 ? random_.next_below(3) : 0);
      for (auto& entry : value) fill(entry, depth + 1);
    }
  }
  CounterRandom random_;
};

Recipe parsed(const std::string& text) { return parse_recipe(text, "r.yaml").recipe; }

}  // namespace

TEST_CASE("what to_yaml writes is read back to the same values") {
  CHECK(parsed(to_yaml(Recipe())) == Recipe());
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    CAPTURE(seed);
    Recipe recipe;
    RandomSection(seed).fill(recipe, 0);
    const std::string text = to_yaml(recipe);
    INFO(text);
    CHECK(parsed(text) == recipe);
    CHECK(to_yaml(parsed(text)) == text);
  }
}

TEST_CASE("text of one character is read back, whatever the character") {
  for (int c = 1; c < 128; ++c) {
    Recipe recipe;
    recipe.output_dir = std::string(1, static_cast<char>(c));
    CHECK(parsed(to_yaml(recipe)) == recipe);
    recipe.output_dir = "a" + recipe.output_dir + "b";
    CHECK(parsed(to_yaml(recipe)) == recipe);
  }
  Recipe recipe;
  recipe.data.train = "Erz\xc3\xa4hlungen.txt";
  CHECK(parsed(to_yaml(recipe)) == recipe);
}

TEST_CASE("keys are found in sections, in dotted form, and by their other names") {
  const Recipe r = parsed(
      "model: {pretrained_model_name_or_path: dir}\ntraining: {max_steps: 5, micro_batch_size: 2}\n"
      "trainer:\n  accumulate_grad_batches: 3\ncheckpoint: {save_interval: 4, save_top_k: 1}\noptimizer.lr: 1e-5\n"
      "qat: {quantizer: {_target_: A, group_size: 32}, fake_quant_after_n_steps: 2}\n");
  CHECK(r.model.model_name == "dir");
  CHECK(r.trainer.max_steps == 5);
  CHECK(r.trainer.batch_size == 2);
  CHECK(r.trainer.accumulation == 3);
  CHECK(r.trainer.checkpoint_interval == 4);
  CHECK(r.trainer.keep_last == 1);
  CHECK(r.optimizer.lr == 1e-5);
  CHECK(r.qat.quantizer.group_size == 32);
  CHECK(r.qat.delay_fake_quant_steps == 2);
}

TEST_CASE("the three forms in which NeMo writes a quantizer mean its classes") {
  for (const char* form :
       {"qat: {enabled: true, quantizer_type: \"8da4w\", delay_fake_quant_steps: 10}",
        "qat: {enabled: true, qat_config: {_target_: nemo_automodel.components.quantization.qat.QATConfig,"
        " quantizer_type: int8_dynact_int4weight, groupsize: 256}, fake_quant_after_n_steps: 10}",
        "qat: {enabled: true, quantizer: {_target_: torchao.quantization.qat.linear.Int8DynActInt4WeightQATQuantizer,"
        " groupsize: 256, padding_allowed: false, precision: torch.bfloat16, scales_precision: torch.bfloat16},"
        " delay_fake_quant_steps: 10}"}) {
    const RecipeFile file = parse_recipe(form, "nemo.yaml");
    const std::vector<QuantizerRule> rules = quantizer_rules(file.recipe.qat, file.places);
    REQUIRE(rules.size() == 1);
    CHECK(to_string(rules[0].rule.scheme) ==
          "weight=int4:group256:symmetric:bfloat16,activation=int8:token:asymmetric:eps=1.1920929e-07");
    CHECK(rules[0].divisor == 256);
    CHECK(file.recipe.qat.delay_fake_quant_steps == 10);
  }
}

TEST_CASE("an empty document and empty sections set nothing") {
  CHECK(parsed("") == Recipe());
  CHECK(parsed("# nothing\n") == Recipe());
  CHECK(parsed("trainer:\nqat: {quantizer: , layers: }\n") == Recipe());
}

TEST_CASE("every mistake is an error with file, line and key") {
  const struct {
    const char *text, *says;
  } cases[] = {
      {"trainer:\n  max_step: 5\n",
       "r.yaml:2: key 'trainer.max_step' is unknown; the nearest key is trainer.max_steps"},
      {"max_steps: 5\n", "the nearest key is trainer.max_steps"},
      {"qat:\n  quantizer:\n    groupsise: 5\n",
       "r.yaml:3: key 'qat.quantizer.groupsise' is unknown; the nearest key is qat.quantizer.groupsize"},
      {"qat:\n  layers:\n    - match: a\n      schema: b\n",
       "r.yaml:4: key 'qat.layers[0].schema' is unknown; the nearest key is qat.layers[0].scheme"},
      {"trainer: {max_steps: many}", "r.yaml:1: trainer.max_steps is 'many'; accepted: integer >= 0"},
      {"trainer: {max_steps: \"5\"}", "is the text '5'"},
      {"trainer: {max_steps: 5.5}", "is '5.5'"},
      {"trainer: {max_steps: -1}", "accepted: integer >= 0"},
      {"trainer: {max_steps: 99999999999999999999}", "accepted: integer >= 0"},
      {"trainer: {max_steps: [1]}", "is a list"},
      {"trainer: {max_steps: }", "is empty"},
      {"trainer: {accumulation: 0}", "trainer.accumulation is '0'; accepted: integer >= 1"},
      {"optimizer: {lr: fast}", "accepted: number >= 0"},
      {"optimizer: {lr: .nan}", "accepted: number >= 0"},
      {"optimizer: {lr: nan}", "accepted: number >= 0"},
      {"optimizer: {lr: inf}", "accepted: number >= 0"},
      {"optimizer: {betas: [0.9]}", "accepted: two numbers"},
      {"optimizer: {betas: [0.9, 1]}", "accepted: two numbers"},
      {"data: {packing: yes}", "data.packing is 'yes'; accepted: true or false"},
      {"data: {packing: \"true\"}", "accepted: true or false"},
      {"data: {train: [a, b]}", "accepted: text"},
      {"data: {validation_split: 1}", "accepted: number, 0 to 0.9"},
      {"evaluation: {datasets: cloze}", "evaluation.datasets is 'cloze'; accepted: list of texts"},
      {"evaluation:\n  datasets: [cloze, {a: b}]", "r.yaml:2: evaluation.datasets[1] is a section"},
      {"task: {type: dpo}", "task.type is 'dpo'; accepted: lm, sft"},
      {"task: sft\n", "r.yaml:1: task is 'sft'; accepted: a section with keys"},
      {"qat: {quantizer: 8da4w}", "qat.quantizer is '8da4w'; accepted: section"},
      {"qat: {layers: {match: a}}", "accepted: list of sections"},
      {"qat: {layers: [a]}", "qat.layers[0] is 'a'"},
      {"seed: 1\nseed: 2\n", "r.yaml:2: seed is given twice"},
      {"trainer: {accumulation: 2, accumulate_grad_batches: 2}", "given a second time, by another name"},
      {"trainer: {max_steps: 2}\ntraining:\n  max_steps: 2\n", "r.yaml:3: trainer.max_steps is given a second time"},
      {"- a\n", "r.yaml:1: is a list; accepted: sections"},
      {"just text\n", "accepted: sections"},
      {"a: [1,\n", "r.yaml:2: is not valid YAML"},
      {"seed: *s\n", "is not valid YAML"},
      {"seed: 1\n---\nseed: 2\n", "r.yaml: has more than one document"},
      {"[a]: 1\n", "a key is a list"},
      {"qat:\n  quantizer: &q\n    quantizers: [*q]\n", "accepted: list of sections"},  // without end
  };
  for (const auto& c : cases) {
    const std::string message = error_of([&] { parsed(c.text); });
    INFO(message);
    CHECK_MESSAGE(contains(message, c.says), std::string(c.text));
  }
}

TEST_CASE("single keys are set over a file, and say so in errors") {
  RecipeFile file =
      parse_recipe("trainer:\n  max_steps: 5\nqat: {quantizer: {_target_: A, groupsize: 32}}\n", "r.yaml");
  set_recipe_key(file, "trainer.max_steps=7");
  set_recipe_key(file, "training.max_steps=8");
  set_recipe_key(file, "optimizer.betas=[0.5, 0.6]");
  set_recipe_key(file, "qat.quantizer.group_size=64");
  set_recipe_key(file, "output_dir=out=1");
  CHECK(file.recipe.trainer.max_steps == 8);
  CHECK(file.recipe.optimizer.betas[1] == 0.6);
  CHECK(file.recipe.qat.quantizer.target == "A");
  CHECK(file.recipe.qat.quantizer.group_size == 64);
  CHECK(file.recipe.output_dir == "out=1");
  CHECK(file.places("trainer.max_steps") == "--set training.max_steps=8: trainer.max_steps");
  CHECK(file.places("seed") == "r.yaml: seed");
  set_recipe_key(file, "qat.quantizer={scheme: qat4}");
  CHECK(file.recipe.qat.quantizer.target.empty());
  set_recipe_key(file, "qat.layers=[{match: head, scheme: float}]");
  set_recipe_key(file, "qat.layers=[{match: first, scheme: float}]");
  REQUIRE(file.recipe.qat.layers.size() == 1);
  CHECK(file.recipe.qat.layers[0].match == "first");
  const auto refused = [&](const char* text) { return error_of([&] { set_recipe_key(file, text); }); };
  CHECK(contains(refused("trainer.max_step=7"), "--set trainer.max_step=7: key 'trainer.max_step' is unknown"));
  CHECK(contains(refused("trainer.max_steps"), "accepted: KEY=VALUE"));
  CHECK(contains(refused("=7"), "accepted: KEY=VALUE"));
  CHECK(contains(refused("trainer.max_steps=[7"), "is not valid YAML"));
  CHECK(contains(refused("trainer..max_steps=7"), "is unknown"));
  CHECK(contains(refused("trainer.max_steps=-7"), "accepted: integer >= 0"));
}

TEST_CASE("an option's text is taken as it is") {
  RecipeFile file;
  for (const char* text : {"a: b", "[x]", "null", "~", "#", "true", "a\\n\"b\"", "-", ""}) {
    set_recipe_text(file, "data.train", text, "--train-data");
    CHECK(file.recipe.data.train == text);
  }
  set_recipe_text(file, "trainer.max_steps", "12", "--steps 12");
  CHECK(file.recipe.trainer.max_steps == 12);
  CHECK(file.places("trainer.max_steps") == "--steps 12: trainer.max_steps");
  CHECK(error_of([&] { set_recipe_text(file, "trainer.max_steps", "1x", "--steps 1x"); }) ==
        "--steps 1x: trainer.max_steps is '1x'; accepted: integer >= 0");
}

TEST_CASE("a recipe is read from a file") {
  const test::TempDir directory;
  test::write_bytes(directory / "a.yaml", "seed: 12\n");
  CHECK(load_recipe(directory / "a.yaml").recipe.seed == 12);
  test::write_bytes(directory / "b.yaml", "");
  CHECK(contains(error_of([&] { load_recipe(directory / "b.yaml"); }), "b.yaml: is empty"));
  CHECK(contains(error_of([&] { load_recipe(directory / "c.yaml"); }), "c.yaml: cannot open"));
}

#endif
