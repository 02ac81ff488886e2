// Settings that contradict each other, each with the key it names.
#include "qat/recipe/recipe_check.hpp"

#include <doctest/doctest.h>

#include "support/files.hpp"

using namespace qat;
using namespace qat::recipe;

using test::contains;
using test::error_of;

namespace {
Recipe good() {
  Recipe r;
  r.model.model_name = "m";
  r.data.train = "t";
  r.qat.quantizer.scheme = "8da4w";
  return r;
}
}  // namespace

TEST_CASE("a recipe that says what it needs is accepted") {
  CHECK(error_of([] { check_recipe(good(), {}); }) == "(no error)");
  Recipe r = good();
  r.trainer.max_steps = 0;  // nothing to train: no data needed
  r.data.train.clear();
  CHECK(error_of([&] { check_recipe(r, {}); }) == "(no error)");
}

TEST_CASE("each contradiction is refused by the key that can mend it") {
  const struct {
    void (*change)(Recipe&);
    const char *key, *says;
  } cases[] = {
      {[](Recipe& r) { r.model.model_name.clear(); }, "model.model_name", "is missing"},
      {[](Recipe& r) { r.data.train.clear(); }, "data.train", "is missing"},
      {[](Recipe& r) { r.data.chat_template.clear(); }, "data.chat_template", "is empty"},
      {[](Recipe& r) { r.data.validation = "v", r.data.validation_split = 0.1; }, "data.validation_split",
       "one of them"},
      {[](Recipe& r) { r.data.train = "default", r.data.validation_split = 0.1; }, "data.validation_split", "default"},
      {[](Recipe& r) { r.data.train = "default_chat"; }, "task.type", "accepted: sft"},
      {[](Recipe& r) { r.data.train = "default_chat", r.task.type = TaskKind::kSft, r.data.validation_split = 0.1; },
       "data.validation_split", "data.validation: default_chat"},
      {[](Recipe& r) { r.trainer.val_check_interval = 5; }, "trainer.val_check_interval", "nothing to score"},
      {[](Recipe& r) { r.trainer.checkpoint_interval = 5; }, "trainer.checkpoint_interval", "output_dir is missing"},
      {[](Recipe& r) { r.lr_scheduler.warmup_steps = 601; }, "lr_scheduler.warmup_steps", "trainer.max_steps, 600"},
      {[](Recipe& r) { r.lr_scheduler.min_lr = 1.0; }, "lr_scheduler.min_lr", "above optimizer.lr"},
      {[](Recipe& r) { r.evaluation.datasets = {"cloze"}; }, "evaluation.datasets", "without output_dir"},
      {[](Recipe& r) { r.evaluation.datasets = {"cloze"}, r.qat.enabled = false; }, "evaluation.datasets",
       "qat.enabled is false"},
      {[](Recipe& r) { r.qat.quantizer = {}, r.qat.enabled = true; }, "qat.enabled", "nothing says how to quantize"},
      {[](Recipe& r) { r.qat.quantizer = {}, r.qat.learn_scales = true; }, "qat.learn_scales", "qat.enabled is false"},
      {[](Recipe& r) { r.qat.enabled = false, r.qat.delay_fake_quant_steps = 3; }, "qat.delay_fake_quant_steps",
       "qat.enabled is false"},
      {[](Recipe& r) { r.qat.delay_fake_quant_steps = 600; }, "qat.delay_fake_quant_steps", "beyond trainer.max_steps"},
      {[](Recipe& r) { r.qat.quantizer.scheme = "8da9w"; }, "qat.quantizer", "is unknown, accepted"},
      {[](Recipe& r) { r.qat.quantizer.group_size = 32; }, "qat.quantizer", "groupsize is set"},
      {[](Recipe& r) { r.qat.quantizer = {}, r.qat.quantizer.group_size = 32; }, "qat.quantizer", "neither"},
      {[](Recipe& r) { r.qat.quantizer_type = "8da4w"; }, "qat.quantizer_type", "one of them"},
      {[](Recipe& r) {
         r.qat.layers = {{"head", "qat4"}, {"", "qat4"}};
       },
       "qat.layers[1]", "match is missing"},
      {[](Recipe& r) {
         r.qat.layers = {{"head", ""}};
       },
       "qat.layers[0]", "scheme is missing"},
      {[](Recipe& r) {
         r.qat.layers = {{"head", "int4"}};
       },
       "qat.layers[0]", "is unknown, accepted"},
  };
  for (const auto& c : cases) {
    Recipe r = good();
    c.change(r);
    RecipePlaces places;
    const std::string unplaced = error_of([&] { check_recipe(r, places); });
    CHECK(unplaced.starts_with("recipe: " + std::string(c.key)));
    CHECK(contains(unplaced, c.says));
    places.source = "r.yaml";
    places.lines[c.key] = "r.yaml:7";
    CHECK(error_of([&] { check_recipe(r, places); }).starts_with("r.yaml:7: " + std::string(c.key)));
  }
}
