// A run as a value: model, data, task, quantization, training. One table of keys (recipe_keys.hpp) describes its fields
// to the parser (recipe_yaml.hpp), to `qat-llm recipe --print` and to docs/recipe.md.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "qat/recipe/prepare.hpp"
#include "qat/recipe/train.hpp"

namespace qat::inline v0::recipe {

enum class TaskKind {
  kLm,   ///< next-token prediction on text
  kSft,  ///< supervised fine-tuning: loss on completions alone
};
enum class OptimizerKind { kAdamW };
/// What computes a run's steps and scores.
enum class DeviceKind {
  kCpu,
  kCuda,
  kAuto,  ///< the GPU where there is one that serves, else the CPU
};

struct QuantizerRecipe;
/// A quantizer within a quantizer, or none: at most one is held.
struct InnerQuantizer {
  std::vector<QuantizerRecipe> held;
};
inline bool operator==(const InnerQuantizer& a, const InnerQuantizer& b);

/// qat.quantizer: a scheme by qat's name, or a class of torchao's with the arguments it takes. What a class means is in
/// torchao_names.hpp.
struct QuantizerRecipe {
  std::string target;  ///< `_target_`: a class by its name, with or without its module
  std::string scheme;  ///< parse_scheme()'s text
  std::optional<index_t> group_size;
  std::string weight_dtype;  ///< torch.int2 .. torch.int8
  std::string granularity;   ///< PerGroup(G) or PerAxis(0); PerToken() of activations
  std::optional<bool> is_symmetric;
  std::string mapping_type;      ///< SYMMETRIC, SYMMETRIC_NO_CLIPPING_ERR
  std::string scales_precision;  ///< torch.float32 or torch.bfloat16
  std::string precision;         ///< dtype the class computes in; qat's master weights are fp32
  std::optional<index_t> inner_k_tiles;
  bool padding_allowed = false;  ///< else layers whose rows the group size does not divide stay in floating point
  std::vector<QuantizerRecipe> quantizers;                       ///< of ComposableQATQuantizer
  InnerQuantizer base_config, activation_config, weight_config;  ///< of QATConfig
  std::string step;                                              ///< of QATConfig
  bool empty() const { return target.empty() && scheme.empty(); }
  friend bool operator==(const QuantizerRecipe&, const QuantizerRecipe&) = default;
};

inline bool operator==(const InnerQuantizer& a, const InnerQuantizer& b) { return a.held == b.held; }

/// One of qat.layers: rules after the quantizer's, later ones override.
struct LayerRecipe {
  std::string match;   ///< LayerRule::pattern
  std::string scheme;  ///< parse_scheme()'s text, or "float"
  friend bool operator==(const LayerRecipe&, const LayerRecipe&) = default;
};

struct Recipe {
  struct Model {
    std::string model_name;  ///< path, or "default" for the model that comes with qat
    std::string tokenizer;   ///< path; empty: beside the model
    friend bool operator==(const Model&, const Model&) = default;
  } model;

  struct Task {
    TaskKind type = TaskKind::kLm;
    friend bool operator==(const Task&, const Task&) = default;
  } task;

  struct Data {
    std::string train, validation;  ///< paths; "default": the default model's text
    double validation_split = 0.0;  ///< share of train's documents held out where validation is empty
    std::string chat_template = "chatml";
    bool packing = true;
    bool skip_broken = false;
    friend bool operator==(const Data&, const Data&) = default;
  } data;

  struct Qat {
    std::optional<bool> enabled;  ///< empty until resolve(): true where a quantizer or layers are given
    std::string quantizer_type;   ///< NeMo's short names: 8da4w, 4w
    QuantizerRecipe quantizer;
    std::vector<LayerRecipe> layers;
    index_t delay_fake_quant_steps = 0;
    bool learn_scales = false;
    SteMask ste_mask = SteMask::kInclusive;
    friend bool operator==(const Qat&, const Qat&) = default;
  } qat;

  struct Trainer {
    index_t max_steps = 600;
    index_t batch_size = 8;             ///< sequences of a micro-batch
    std::optional<index_t> seq_length;  ///< empty until resolve(): 256, or the model's context where shorter
    index_t accumulation = 1;
    double clip_norm = 1.0;             ///< 0: off
    double ema_decay = 0.0;             ///< 0: off
    index_t val_check_interval = 0;     ///< steps; 0: at the end only
    std::optional<index_t> val_length;  ///< targets of a scoring window; empty until resolve(): 512, or the context
    index_t val_windows = 0;            ///< windows scored at most during training; 0: all
    index_t checkpoint_interval = 0;    ///< steps; 0: none before the end
    index_t keep_last = 2;              ///< checkpoints kept; 0: all
    MatmulPrecision matmul = MatmulPrecision::kFloat32;
    index_t threads = 0;  ///< 0: all
    DeviceKind device = DeviceKind::kCpu;
    friend bool operator==(const Trainer&, const Trainer&) = default;
  } trainer;

  struct Optimizer {
    OptimizerKind type = OptimizerKind::kAdamW;
    double lr = 3e-4;
    double weight_decay = 0.0;
    std::array<double, 2> betas{0.9, 0.95};
    double scale_lr = 0.1;  ///< of learned scales, over lr
    friend bool operator==(const Optimizer&, const Optimizer&) = default;
  } optimizer;

  struct LrScheduler {
    ScheduleKind type = ScheduleKind::kCosine;
    std::optional<index_t> warmup_steps;  ///< empty until resolve(): 30, or a tenth of fewer than 300 steps
    double min_lr = 0.0;
    friend bool operator==(const LrScheduler&, const LrScheduler&) = default;
  } lr_scheduler;

  struct Evaluation {
    std::vector<std::string> datasets;  ///< names or files: find_dataset()
    std::string data_dir;               ///< empty: the program's own
    index_t limit = 0;                  ///< windows, articles or items at most; 0: all
    friend bool operator==(const Evaluation&, const Evaluation&) = default;
  } evaluation;

  std::uint64_t seed = 0;  ///< of batches, shuffling and the validation split
  std::string output_dir;  ///< everything a run writes
  friend bool operator==(const Recipe&, const Recipe&) = default;
};

/// Fills what depends on other fields and, where the model's context is known, on it: every optional of the result but
/// the quantizer's then has a value. context: tokens; 0: not known yet
inline Recipe resolve(Recipe recipe, index_t context = 0) {
  const auto fill = [&](std::optional<index_t>& length, index_t most) {
    if (!length && context > 0) length = most < context ? most : context;
  };
  fill(recipe.trainer.seq_length, 256);
  fill(recipe.trainer.val_length, 512);
  if (!recipe.qat.enabled)
    recipe.qat.enabled =
        !recipe.qat.quantizer.empty() || !recipe.qat.quantizer_type.empty() || !recipe.qat.layers.empty();
  if (!recipe.lr_scheduler.warmup_steps)
    recipe.lr_scheduler.warmup_steps = recipe.trainer.max_steps < 300 ? recipe.trainer.max_steps / 10 : 30;
  return recipe;
}

/// What the training loop takes. written: resolved for the model
inline TrainConfig train_config(const Recipe& written) {
  const Recipe recipe = resolve(written);
  TrainConfig c;
  c.steps = recipe.trainer.max_steps;
  c.batch = recipe.trainer.batch_size;
  c.length = recipe.trainer.seq_length.value_or(256);
  c.accumulation = recipe.trainer.accumulation;
  c.lr = recipe.optimizer.lr;
  c.lr_floor = recipe.lr_scheduler.min_lr;
  c.warmup_steps = *recipe.lr_scheduler.warmup_steps;
  c.schedule = recipe.lr_scheduler.type;
  c.beta1 = recipe.optimizer.betas[0];
  c.beta2 = recipe.optimizer.betas[1];
  c.weight_decay = recipe.optimizer.weight_decay;
  c.scale_lr = recipe.optimizer.scale_lr;
  c.clip_norm = recipe.trainer.clip_norm;
  c.ema_decay = recipe.trainer.ema_decay;
  c.seed = recipe.seed;
  c.delay_fake_quant_steps = *recipe.qat.enabled ? recipe.qat.delay_fake_quant_steps : 0;
  return c;
}

inline PrepareOptions prepare_options(const Recipe& recipe) {
  PrepareOptions options;
  options.mask = recipe.qat.ste_mask;
  options.learn_scales = recipe.qat.learn_scales;
  return options;
}

}  // namespace qat::inline v0::recipe
