// A recipe as a value: what stays open is filled from other fields, and every training field reaches the loop.
#include "qat/recipe/recipe.hpp"

#include <doctest/doctest.h>

using namespace qat;
using namespace qat::recipe;

TEST_CASE("resolve fills what depends on other fields and keeps what is set") {
  Recipe recipe;
  CHECK(resolve(recipe).qat.enabled == false);
  CHECK(resolve(recipe).lr_scheduler.warmup_steps == 30);
  recipe.trainer.max_steps = 45;
  CHECK(resolve(recipe).lr_scheduler.warmup_steps == 4);
  recipe.qat.layers = {{"head", "qat8"}};
  CHECK(resolve(recipe).qat.enabled == true);
  recipe.qat.enabled = false;
  recipe.lr_scheduler.warmup_steps = 7;
  CHECK(resolve(recipe) == recipe);
  recipe = Recipe();
  recipe.qat.quantizer.scheme = "qat4";
  CHECK(resolve(recipe).qat.enabled == true);
  CHECK(resolve(resolve(recipe)) == resolve(recipe));
  CHECK_FALSE(resolve(recipe).trainer.seq_length);
  CHECK(resolve(recipe, 64).trainer.seq_length == 64);
  CHECK(resolve(recipe, 64).trainer.val_length == 64);
  CHECK(resolve(recipe, 2048).trainer.seq_length == 256);
  CHECK(resolve(recipe, 2048).trainer.val_length == 512);
  recipe.trainer.seq_length = 100;
  CHECK(resolve(recipe, 64).trainer.seq_length == 100);  // what is set is kept, and refused later
}

TEST_CASE("every training field reaches the loop") {
  Recipe r;
  r.trainer.max_steps = 11;
  r.trainer.batch_size = 2;
  r.trainer.seq_length = 33;
  r.trainer.accumulation = 4;
  r.trainer.clip_norm = 0.5;
  r.optimizer.lr = 0.25;
  r.optimizer.weight_decay = 0.125;
  r.optimizer.betas = {0.5, 0.75};
  r.optimizer.scale_lr = 0.0625;
  r.lr_scheduler.type = ScheduleKind::kLinear;
  r.lr_scheduler.warmup_steps = 5;
  r.lr_scheduler.min_lr = 0.015625;
  r.seed = 99;
  r.qat.delay_fake_quant_steps = 6;
  r.qat.learn_scales = true;
  r.qat.ste_mask = SteMask::kStrict;
  TrainConfig c = train_config(r);
  CHECK(c.steps == 11);
  CHECK(c.batch == 2);
  CHECK(c.length == 33);
  CHECK(c.accumulation == 4);
  CHECK(c.clip_norm == 0.5);
  CHECK(c.lr == 0.25);
  CHECK(c.weight_decay == 0.125);
  CHECK(c.beta1 == 0.5);
  CHECK(c.beta2 == 0.75);
  CHECK(c.scale_lr == 0.0625);
  CHECK(c.schedule == ScheduleKind::kLinear);
  CHECK(c.warmup_steps == 5);
  CHECK(c.lr_floor == 0.015625);
  CHECK(c.seed == 99);
  CHECK(c.delay_fake_quant_steps == 0);  // nothing is quantized
  r.qat.enabled = true;
  CHECK(train_config(r).delay_fake_quant_steps == 6);
  CHECK(prepare_options(r).learn_scales);
  CHECK(prepare_options(r).mask == SteMask::kStrict);
  const TrainConfig by_default = train_config(Recipe()), loop;
  CHECK(by_default.steps == loop.steps);
  CHECK(by_default.lr == loop.lr);
  CHECK(by_default.warmup_steps == loop.warmup_steps);
  CHECK(by_default.schedule == loop.schedule);
}
