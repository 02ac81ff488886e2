// The keys of a recipe file: path, type, default, accepted values and one line of documentation each. Parser, printer
// and the reference page all read these tables.
#pragma once

#include <variant>

#include "qat/recipe/recipe.hpp"

namespace qat::inline v0::recipe {

/// Where the value of a key is. The type of the pointer is the type of the key.
using RecipeField =
    std::variant<bool*, index_t*, std::uint64_t*, double*, std::string*, std::optional<bool>*, std::optional<index_t>*,
                 std::array<double, 2>*, TaskKind*, OptimizerKind*, ScheduleKind*, MatmulPrecision*, SteMask*,
                 DeviceKind*, std::vector<std::string>*, std::vector<LayerRecipe>*, QuantizerRecipe*, InnerQuantizer*,
                 std::vector<QuantizerRecipe>*>;

/// One key of a section that is held in a T.
template <class T>
struct RecipeKey {
  const char* path;  ///< dots between levels: "trainer.max_steps"
  RecipeField (*field)(T&);
  const char* doc;                      ///< what it is, in which unit
  const char* aliases = "";             ///< other paths, separated by spaces
  double least = -1e300, most = 1e300;  ///< of numbers
};

/// Names of an enumeration's values, in their order.
template <class E>
inline constexpr std::array<const char*, 0> kChoiceNames{};
template <>
inline constexpr std::array kChoiceNames<TaskKind>{"lm", "sft"};
template <>
inline constexpr std::array kChoiceNames<OptimizerKind>{"adamw"};
template <>
inline constexpr std::array kChoiceNames<ScheduleKind>{"constant", "linear", "cosine"};
template <>
inline constexpr std::array kChoiceNames<MatmulPrecision>{"fp32", "bf16"};
template <>
inline constexpr std::array kChoiceNames<DeviceKind>{"cpu", "cuda", "auto"};
template <>
inline constexpr std::array kChoiceNames<SteMask>{"inclusive", "strict", "pass_through"};

namespace detail {
template <auto Section, auto Member, class T>
RecipeField field_at(T& recipe) {
  return &(recipe.*Section.*Member);
}
template <auto Member, class T>
RecipeField field_at(T& recipe) {
  return &(recipe.*Member);
}
}  // namespace detail

/// Keys of a recipe, in the order they are printed.
inline const std::vector<RecipeKey<Recipe>>& recipe_keys() {
  using R = Recipe;
  using detail::field_at;
  static const std::vector<RecipeKey<Recipe>> keys = {
      {"model.model_name", field_at<&R::model, &R::Model::model_name>,
       "llama2.c .bin or GGUF file, Hugging Face directory, or `default`: the model that comes with qat",
       "model.pretrained_model_name_or_path"},
      {"model.tokenizer", field_at<&R::model, &R::Model::tokenizer>,
       "tokenizer file or directory; empty: the one beside the model"},
      {"task.type", field_at<&R::task, &R::Task::type>,
       "`lm` predicts every next token of a text, `sft` the completions of prompts"},
      {"data.train", field_at<&R::data, &R::Data::train>,
       "lm: text, documents separated by a line `<|endoftext|>`; sft: JSONL with `prompt` and `completion`, or with "
       "`messages`; `default`: the default model's text, or questions (sft); `default_chat`: conversations about the "
       "same"},
      {"data.validation", field_at<&R::data, &R::Data::validation>, "what is scored, in the form of data.train"},
      {"data.validation_split", field_at<&R::data, &R::Data::validation_split>,
       "share of the documents or samples of data.train that is held out and scored where data.validation is empty", "",
       0.0, 0.9},
      {"data.chat_template", field_at<&R::data, &R::Data::chat_template>,
       "how `messages` become text: `chatml`, `llama3`, `plain`, or a text with {role} and {content} for one message"},
      {"data.packing", field_at<&R::data, &R::Data::packing>,
       "sft: a micro-batch takes samples as long as they fit into batch_size * seq_length tokens, else batch_size "
       "samples; "
       "they never see each other"},
      {"data.skip_broken", field_at<&R::data, &R::Data::skip_broken>,
       "sft: leave out lines that are not valid, and say how many"},
      {"qat.enabled", field_at<&R::qat, &R::Qat::enabled>,
       "train quantization-aware; unset: true where qat.quantizer or qat.layers is given"},
      {"qat.quantizer_type", field_at<&R::qat, &R::Qat::quantizer_type>,
       "NeMo's short names of its two classes: 8da4w (or int8_dynact_int4weight) and 4w (or int4_weight_only)",
       "qat.quantizer.quantizer_type qat.qat_config.quantizer_type"},
      {"qat.quantizer", field_at<&R::qat, &R::Qat::quantizer>,
       "how linear layers (of embedding classes: the embedding) are quantized", "qat.qat_config"},
      {"qat.layers", field_at<&R::qat, &R::Qat::layers>, "rules for single layers; later ones override earlier ones"},
      {"qat.delay_fake_quant_steps", field_at<&R::qat, &R::Qat::delay_fake_quant_steps>,
       "steps trained in floating point first", "qat.fake_quant_after_n_steps", 0},
      {"qat.learn_scales", field_at<&R::qat, &R::Qat::learn_scales>, "train the scales of weights too (LSQ)"},
      {"qat.ste_mask", field_at<&R::qat, &R::Qat::ste_mask>,
       "which codes pass their gradient: with the extreme ones (as published), without (PyTorch 2.15), all"},
      {"trainer.max_steps", field_at<&R::trainer, &R::Trainer::max_steps>, "optimizer steps", "training.max_steps", 0},
      {"trainer.batch_size", field_at<&R::trainer, &R::Trainer::batch_size>, "sequences of a micro-batch",
       "training.micro_batch_size", 1},
      {"trainer.seq_length", field_at<&R::trainer, &R::Trainer::seq_length>,
       "tokens of a sequence (sft: of a sample at most); unset: 256, or the model's context where that is shorter", "",
       1},
      {"trainer.accumulation", field_at<&R::trainer, &R::Trainer::accumulation>,
       "micro-batches of a step; their gradients are averaged",
       "trainer.accumulate_grad_batches training.gradient_accumulation_steps", 1},
      {"trainer.clip_norm", field_at<&R::trainer, &R::Trainer::clip_norm>, "gradient norm to clip at; 0: off",
       "trainer.gradient_clip_val", 0},
      {"trainer.ema_decay", field_at<&R::trainer, &R::Trainer::ema_decay>,
       "decay of a moving average of weights and learned scales, which is what is scored and written as the model; 0: "
       "off",
       "", 0, 0.999999},
      {"trainer.val_check_interval", field_at<&R::trainer, &R::Trainer::val_check_interval>,
       "steps between validations; 0: at the end only", "training.val_check_interval", 0},
      {"trainer.val_length", field_at<&R::trainer, &R::Trainer::val_length>,
       "targets of a scoring window; unset: 512, or the model's context where that is shorter", "", 1},
      {"trainer.val_windows", field_at<&R::trainer, &R::Trainer::val_windows>,
       "windows (sft: samples) scored at most in a validation during training; 0: all", "", 0},
      {"trainer.checkpoint_interval", field_at<&R::trainer, &R::Trainer::checkpoint_interval>,
       "steps between checkpoints; 0: none before the end", "checkpoint.save_interval", 0},
      {"trainer.keep_last", field_at<&R::trainer, &R::Trainer::keep_last>, "checkpoints kept; 0: all",
       "checkpoint.save_top_k", 0},
      {"trainer.matmul", field_at<&R::trainer, &R::Trainer::matmul>,
       "precision of fp32 products: bf16 rounds their operands where the processor gains from it, and is fp32 "
       "elsewhere"},
      {"trainer.threads", field_at<&R::trainer, &R::Trainer::threads>, "threads; 0: all", "", 0, 1024},
      {"trainer.device", field_at<&R::trainer, &R::Trainer::device>,
       "what computes steps and scores; cuda needs an NVIDIA GPU and a Llama, and trains in bfloat16; auto: cuda where "
       "it "
       "serves, else cpu"},
      {"optimizer.type", field_at<&R::optimizer, &R::Optimizer::type>, "decoupled weight decay, as torch.optim.AdamW"},
      {"optimizer.lr", field_at<&R::optimizer, &R::Optimizer::lr>, "peak learning rate", "", 0},
      {"optimizer.weight_decay", field_at<&R::optimizer, &R::Optimizer::weight_decay>, "of every weight", "", 0},
      {"optimizer.betas", field_at<&R::optimizer, &R::Optimizer::betas>, "decay of both moments", "", 0, 0.999999999},
      {"optimizer.scale_lr", field_at<&R::optimizer, &R::Optimizer::scale_lr>,
       "learning rate of learned scales, over optimizer.lr", "", 0},
      {"lr_scheduler.type", field_at<&R::lr_scheduler, &R::LrScheduler::type>, "after the warm-up"},
      {"lr_scheduler.warmup_steps", field_at<&R::lr_scheduler, &R::LrScheduler::warmup_steps>,
       "linear warm-up; unset: 30, or a tenth of fewer than 300 steps", "", 0},
      {"lr_scheduler.min_lr", field_at<&R::lr_scheduler, &R::LrScheduler::min_lr>, "where linear and cosine end", "",
       0},
      {"evaluation.datasets", field_at<&R::evaluation, &R::Evaluation::datasets>,
       "scored at the end of the run for full precision, PTQ and QAT, into output_dir/evaluation.json: wikitext-2, "
       "hellaswag, cloze, tinystories, or files (JSONL: choices, else text)"},
      {"evaluation.data_dir", field_at<&R::evaluation, &R::Evaluation::data_dir>,
       "where named data sets are; empty: $QAT_DATA, else ../shared/data beside the checkout"},
      {"evaluation.limit", field_at<&R::evaluation, &R::Evaluation::limit>,
       "windows, articles or items of a data set at most; 0: all", "", 0},
      {"seed", field_at<&R::seed>, "of batches, shuffling and the validation split", "", 0},
      {"output_dir", field_at<&R::output_dir>, "directory of everything the run writes"},
  };
  return keys;
}

/// Keys of qat.quantizer and of the entries of its `quantizers`.
inline const std::vector<RecipeKey<QuantizerRecipe>>& quantizer_keys() {
  using Q = QuantizerRecipe;
  using detail::field_at;
  static const std::vector<RecipeKey<QuantizerRecipe>> keys = {
      {"_target_", field_at<&Q::target>, "a torchao class by name, with or without its module"},
      {"scheme", field_at<&Q::scheme>,
       "instead of a class: 8da4w, int4_weight_only, tinygemm, qat4, qat4a8 and their "
       "siblings of 2 to 8 bits, with :groupG or :axis0; or weight=SPEC,activation=SPEC"},
      {"groupsize", field_at<&Q::group_size>, "weights of a row that share a scale", "group_size", 1},
      {"weight_dtype", field_at<&Q::weight_dtype>, "of the Intx configurations: torch.int2 to torch.int8", "dtype"},
      {"granularity", field_at<&Q::granularity>,
       "of the Intx configurations: PerGroup(G) or PerAxis(0); of an activation PerToken(); or per_group, per_channel, "
       "per_token",
       "weight_granularity"},
      {"mapping_type", field_at<&Q::mapping_type>,
       "of the Intx configurations: SYMMETRIC or SYMMETRIC_NO_CLIPPING_ERR; of IntxFakeQuantizeConfig also ASYMMETRIC",
       "weight_mapping_type"},
      {"is_symmetric", field_at<&Q::is_symmetric>, "of IntxFakeQuantizeConfig, instead of mapping_type"},
      {"scales_precision", field_at<&Q::scales_precision>, "type scales are held in: torch.float32 or torch.bfloat16",
       "scale_precision"},
      {"precision", field_at<&Q::precision>, "torch.float32 or torch.bfloat16; qat trains fp32 weights either way"},
      {"inner_k_tiles", field_at<&Q::inner_k_tiles>, "of Int4WeightOnlyQATQuantizer, a matter of its layout: 2, 4 or 8",
       "", 2, 8},
      {"padding_allowed", field_at<&Q::padding_allowed>,
       "of classes: quantize layers too whose row length groupsize does not divide"},
      {"quantizers", field_at<&Q::quantizers>, "of ComposableQATQuantizer: what it applies, in order"},
      {"base_config", field_at<&Q::base_config>,
       "of QATConfig: one of the configurations for quantization after training, with its `_target_`"},
      {"activation_config", field_at<&Q::activation_config>,
       "of QATConfig: an IntxFakeQuantizeConfig, instead of base_config"},
      {"weight_config", field_at<&Q::weight_config>, "of QATConfig: an IntxFakeQuantizeConfig, instead of base_config"},
      {"step", field_at<&Q::step>, "of QATConfig: prepare, which is what a run does"},
  };
  return keys;
}

/// Keys of an entry of qat.layers.
inline const std::vector<RecipeKey<LayerRecipe>>& layer_keys() {
  using detail::field_at;
  static const std::vector<RecipeKey<LayerRecipe>> keys = {
      {"match", field_at<&LayerRecipe::match>,
       "linear, embedding, head, first, last, or a glob over layer names such as layers.*.mlp.*"},
      {"scheme", field_at<&LayerRecipe::scheme>, "as qat.quantizer.scheme, or `float`"},
  };
  return keys;
}

}  // namespace qat::inline v0::recipe
