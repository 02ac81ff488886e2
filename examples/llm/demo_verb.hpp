// qat-llm demo: full precision, PTQ and QAT side by side.
#pragma once

#include "default_model.hpp"
#include "demo.hpp"
#include "options.hpp"

namespace qat_llm {

struct DemoVerb {
  ModelOptions model;
  SchemeOptions scheme;
  std::string data, train_data;
  index_t length = 512;
  int seeds = 1;
  bool no_control = false, report = false, learn_scales = false;
  recipe::TrainConfig train;
  CLI::App* verb = nullptr;

  void add_to(CLI::App& app) {
    verb = app.add_subcommand("demo", "full precision, PTQ and QAT side by side");
    model.add_to(verb, false);
    scheme.add_to(verb, "scheme (default: qat4)");
    verb->add_option("--steps", train.steps)->capture_default_str();
    verb->add_option("--batch", train.batch, "sequences of a micro-batch")->capture_default_str();
    verb->add_option("--seq-length", train.length, "tokens of a training sequence")->capture_default_str();
    verb->add_option("--accumulation", train.accumulation, "micro-batches of a step")->capture_default_str();
    verb->add_option("--lr", train.lr, "peak learning rate")->capture_default_str();
    verb->add_option("--warmup", train.warmup_steps, "warm-up steps (default: 30, or a tenth of fewer than 300 steps)");
    verb->add_option("--schedule", train.schedule)
        ->transform(
            CLI::CheckedTransformer(std::map<std::string, ScheduleKind>{{"cosine", ScheduleKind::kCosine},
                                                                        {"linear", ScheduleKind::kLinear},
                                                                        {"constant", ScheduleKind::kConstant}}));
    verb->add_option("--weight-decay", train.weight_decay)->capture_default_str();
    verb->add_option("--clip", train.clip_norm, "gradient norm to clip at; 0: off")->capture_default_str();
    verb->add_option("--seed", train.seed, "of the batches")->capture_default_str();
    verb->add_flag("--learn-scales", learn_scales, "train the scales of weights too (LSQ)");
    verb->add_option("--delay-fake-quant-steps", train.delay_fake_quant_steps, "steps in floating point first")
        ->capture_default_str();
    verb->add_option("--data", data, "text to score");
    verb->add_option("--train-data", train_data, "text to train on");
    verb->add_option("--length", length, "targets of a scoring window")->capture_default_str();
    verb->add_option("--seeds", seeds, "runs with successive seeds; the table gives the mean")
        ->capture_default_str()
        ->check(CLI::Range(1, 100));
    verb->add_flag("--report", report, "print every layer with its scheme and bytes");
    verb->add_flag("--no-control", no_control, "leave out the full-precision control");
    verb->footer(
        "Examples:\n"
        "  qat-llm demo\n"
        "  qat-llm demo --model stories260K.bin --data valid.txt --train-data train.txt --scheme 8da3w --lr 1e-3");
    verb->callback([this] { run(); });
  }

  void run() {
    const bool is_default = model.model.empty();
    if (is_default) model.model = QAT_DEFAULT_MODEL;
    if (is_default && verb->count("--steps") == 0) train.steps = 300;  // enough for the default model
    if (verb->count("--warmup") == 0) train.warmup_steps = std::min<index_t>(30, train.steps / 10);
    if (scheme.scheme.empty()) scheme.scheme = "qat4";
    if (data.empty()) {
      QAT_CHECK(is_default, kInvalidArgument, "--data is missing; it is needed with --model");
      data = model.model + "/valid.txt";
    }
    const CpuBackend backend = model.backend();
    const Checkpoint checkpoint(model.model);
    QAT_CHECK(!checkpoint.is_packed(), kInvalidArgument, model.model,
              ": is packed; training needs a floating-point model");
    const auto tokenizer = model.load_tokenizer(checkpoint.config().vocab_size);
    const EvaluationData scored = load_evaluation_data(data, length, *tokenizer, checkpoint.config());
    TokenStream text;
    if (!train_data.empty()) {
      text = load_token_stream(train_data, *tokenizer, checkpoint.config().vocab_size);
    } else {
      QAT_CHECK(is_default, kInvalidArgument, "--train-data is missing; it is needed with --model");
      text = make_token_stream(default_train_text(), *tokenizer, checkpoint.config().vocab_size, "generated text");
    }
    const DemoOptions options{model.model, data,        scheme.scheme, scheme.rule(), train,
                              seeds,       !no_control, report,        learn_scales};
    write_json(model.json, run_demo(backend, checkpoint, scored, text, options));
  }
};

}  // namespace qat_llm
