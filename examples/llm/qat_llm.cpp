// qat-llm: evaluate, train, quantize and run Llama models. `qat-llm --help` and `qat-llm VERB --help` say how.
// Exit codes: 0 done, 2 bad input (one line on stderr says what was found and what is accepted), 1 anything else.
#include <CLI/CLI.hpp>
#include <exception>

#include "default_model.hpp"
#include "demo.hpp"
#include "generate.hpp"
#include "session.hpp"

namespace {

using namespace qat;
using namespace qat_llm;

/// Options shared by the verbs; each verb adds those it reads.
struct Options {
  std::string model, data, choices, train_data, tokenizer, scheme, layers = "linear", out, json,
                                                                   prompt = "Once upon a time";
  index_t length = 512, tokens = 200;
  int threads = 0, seeds = 1;
  std::string matmul = "fp32";
  bool no_control = false, report = false, learn_scales = false;
  SamplingOptions sampling;
  recipe::TrainConfig train;
};

std::unique_ptr<Tokenizer> tokenizer_of(const Options& o, index_t vocab_size) {
  return o.tokenizer.empty() ? load_model_tokenizer(o.model, vocab_size) : load_tokenizer(o.tokenizer);
}
EvaluationData evaluation_data(const Options& o, const Tokenizer& tokenizer, const LlamaConfig& config) {
  EvaluationData data{load_token_stream(o.data, tokenizer, config.vocab_size), o.length};
  QAT_CHECK(o.length >= 1 && o.length <= config.max_seq_len, kInvalidArgument, "--length is ", o.length,
            "; the model accepts 1 to ", config.max_seq_len);
  return data;
}
recipe::LayerRule rule_of(const Options& o) { return {o.layers, recipe::parse_scheme(o.scheme)}; }

void run_eval(const CpuBackend& backend, const Options& o) {
  const Checkpoint checkpoint(o.model);
  nn::Transformer model = checkpoint.model();
  const auto tokenizer = tokenizer_of(o, model.config().vocab_size);
  QAT_CHECK(!o.data.empty() || !o.choices.empty(), kInvalidArgument,
            "eval: nothing to score; give --data or --choices");
  recipe::Report report;
  if (!o.scheme.empty()) {
    QAT_CHECK(!checkpoint.is_packed(), kInvalidArgument, o.model,
              ": is packed already; --scheme takes a floating-point model");
    report = recipe::quantize(backend, model, {rule_of(o)});
    if (o.report) print_report(report);
  }
  OrderedJson json = {{"model", o.model}, {"data", o.data}, {"scheme", o.scheme}};
  if (!o.data.empty()) {
    const EvaluationData data = evaluation_data(o, *tokenizer, model.config());
    const recipe::Evaluation e = evaluate(backend, model, data, o.data, "eval");
    std::printf(
        "nats per token %.6f  perplexity %.4f  word perplexity %.3f  byte perplexity %.4f  bits per byte %.4f  (%td "
        "targets, %.2f s, %.0f tokens/s)\n",
        e.nats_per_token(), e.perplexity(), e.word_perplexity(data.words_per_token()),
        e.byte_perplexity(data.bytes_per_token()), e.bits_per_byte(data.bytes_per_token()), e.targets, e.seconds,
        e.tokens_per_second());
    json.update(to_json(e, data));
  }
  if (!o.choices.empty()) {
    const std::vector<ChoiceItem> items = load_choice_items(o.choices);
    const recipe::ChoiceScores s =
        recipe::score_choices(backend, model, *tokenizer, items, o.choices, Progress("choices"));
    std::printf("acc %.4f +- %.4f  acc_norm %.4f +- %.4f  (%td items, %.2f s)\n", s.acc(), s.acc_stderr(), s.acc_norm(),
                s.acc_norm_stderr(), s.items, s.seconds);
    json["choices"] = to_json(s);
    json["choices"]["file"] = o.choices;
  }
  if (!report.empty()) json["report"] = to_json(report);
  write_json(o.json, json);
}

void run_train(const CpuBackend& backend, const Options& o) {
  const Checkpoint checkpoint(o.model);
  QAT_CHECK(!checkpoint.is_packed(), kInvalidArgument, o.model, ": is packed; training needs a floating-point model");
  nn::Transformer model = checkpoint.model();
  const auto tokenizer = tokenizer_of(o, model.config().vocab_size);
  const TokenStream text = load_token_stream(o.train_data, *tokenizer, model.config().vocab_size);
  OrderedJson json = {
      {"model", o.model}, {"train_data", o.train_data}, {"scheme", o.scheme}, {"steps", OrderedJson::array()}};
  if (!o.scheme.empty()) {
    const recipe::Report report = recipe::prepare(model, {rule_of(o)}, {.learn_scales = o.learn_scales});
    if (o.report) print_report(report);
  }
  Progress progress("train");
  recipe::train(backend, model, text.tokens, o.train, [&](const recipe::StepReport& s) {
    json["steps"].push_back(
        {{"step", s.step}, {"loss", s.loss}, {"grad_norm", s.grad_norm}, {"lr", s.lr}, {"seconds", s.seconds}});
    progress.show(s.step + 1, o.train.steps, std::string("loss ") + concat(s.loss).c_str());
    if (s.step % 100 == 0 || s.step + 1 == o.train.steps)
      std::printf("step %6td  loss %.4f  gradient norm %.3f  rate %.3g  %.0f ms\n", s.step, s.loss, s.grad_norm, s.lr,
                  s.seconds * 1e3);
  });
  if (!o.data.empty()) {
    const EvaluationData data = evaluation_data(o, *tokenizer, model.config());
    const recipe::Evaluation e = evaluate(backend, model, data, o.data, "eval");
    std::printf("nats per token %.6f on %s\n", e.nats_per_token(), o.data.c_str());
    json["validation"] = to_json(e, data);
  }
  if (!o.out.empty() && o.learn_scales) {  // a scheme would choose other scales
    recipe::convert(backend, model);
    recipe::save_packed(model, o.out);
    copy_tokenizer(o.model, model.config().vocab_size, o.out);
    std::printf("wrote %s: packed weights, with the scales that were learned\n", o.out.c_str());
  } else if (!o.out.empty()) {
    save_model(model, o.out);
    copy_tokenizer(o.model, model.config().vocab_size, o.out);
    std::printf("wrote %s: the trained weights; `qat-llm quantize --model %s --scheme ...` packs them as trained\n",
                o.out.c_str(), o.out.c_str());
  }
  write_json(o.json, json);
}

void run_quantize(const CpuBackend& backend, const Options& o) {
  const Checkpoint checkpoint(o.model);
  QAT_CHECK(!checkpoint.is_packed(), kInvalidArgument, o.model, ": is packed already");
  nn::Transformer model = checkpoint.model();
  const recipe::Report report = recipe::quantize(backend, model, {rule_of(o)});
  print_report(report);
  recipe::save_packed(model, o.out);
  copy_tokenizer(o.model, model.config().vocab_size, o.out);
  write_json(o.json, {{"model", o.model}, {"out", o.out}, {"scheme", o.scheme}, {"report", to_json(report)}});
}

void run_generate(const CpuBackend& backend, const Options& o) {
  const Checkpoint checkpoint(o.model);
  nn::Transformer model = checkpoint.model();
  if (!o.scheme.empty()) {
    QAT_CHECK(!checkpoint.is_packed(), kInvalidArgument, o.model,
              ": is packed already; --scheme takes a floating-point model");
    recipe::quantize(backend, model, {rule_of(o)});
  }
  const auto tokenizer = tokenizer_of(o, model.config().vocab_size);
  const Generation g =
      generate(backend, model, *tokenizer, o.prompt, o.tokens, o.sampling, [](const std::string& piece) {
        std::fputs(piece.c_str(), stdout);
        std::fflush(stdout);
      });
  std::printf("\n");
  const double rate = g.decode_seconds > 0.0 ? static_cast<double>(g.generated) / g.decode_seconds : 0.0;
  std::fprintf(stderr, "%td tokens, %.0f tokens/s\n", g.generated, rate);
  write_json(o.json, {{"model", o.model},
                      {"scheme", o.scheme},
                      {"prompt", o.prompt},
                      {"text", g.text},
                      {"tokens", g.tokens},
                      {"prefill_seconds", g.prefill_seconds},
                      {"tokens_per_second", rate}});
}

void run_demo_verb(const CpuBackend& backend, Options o) {
  const bool is_default = o.model.empty();
  if (is_default) o.model = QAT_DEFAULT_MODEL;
  if (o.data.empty()) {
    QAT_CHECK(is_default, kInvalidArgument, "--data is missing; it is needed with --model");
    o.data = o.model + "/valid.txt";
  }
  const Checkpoint checkpoint(o.model);
  QAT_CHECK(!checkpoint.is_packed(), kInvalidArgument, o.model, ": is packed; training needs a floating-point model");
  const auto tokenizer = tokenizer_of(o, checkpoint.config().vocab_size);
  const EvaluationData data = evaluation_data(o, *tokenizer, checkpoint.config());
  TokenStream text;
  if (!o.train_data.empty()) {
    text = load_token_stream(o.train_data, *tokenizer, checkpoint.config().vocab_size);
  } else {
    QAT_CHECK(is_default, kInvalidArgument, "--train-data is missing; it is needed with --model");
    text = make_token_stream(default_train_text(), *tokenizer, checkpoint.config().vocab_size, "generated text");
  }
  DemoOptions demo{o.model, o.data, o.scheme, rule_of(o), o.train, o.seeds, !o.no_control, o.report, o.learn_scales};
  write_json(o.json, run_demo(backend, checkpoint, data, text, demo));
}

void add_model(CLI::App* verb, Options& o, bool required) {
  CLI::Option* model =
      verb->add_option("--model", o.model, "llama2.c .bin, Hugging Face Llama directory, or a packed directory");
  if (required) model->required();
  verb->add_option("--tokenizer", o.tokenizer, "tokenizer file or directory (default: the one beside the model)");
  verb->add_option("--threads", o.threads, "threads; 0 takes all")->check(CLI::Range(0, 1024));
  verb->add_option("--matmul", o.matmul, "precision of fp32 products: bf16 rounds their operands where that is faster")
      ->capture_default_str()
      ->check(CLI::IsMember({"fp32", "bf16"}));
  verb->add_option("--json", o.json, "also write the results to this file");
}
void add_scheme(CLI::App* verb, Options& o, const char* what) {
  verb->add_option("--scheme", o.scheme, what);
  verb->add_option("--layers", o.layers, "layers it is for: linear, embedding, head, first, last, or a glob over names")
      ->capture_default_str();
}
void add_training(CLI::App* verb, Options& o) {
  verb->add_option("--steps", o.train.steps)->capture_default_str();
  verb->add_option("--batch", o.train.batch, "sequences of a micro-batch")->capture_default_str();
  verb->add_option("--seq-length", o.train.length, "tokens of a training sequence")->capture_default_str();
  verb->add_option("--accumulation", o.train.accumulation, "micro-batches of a step")->capture_default_str();
  verb->add_option("--lr", o.train.lr, "peak learning rate")->capture_default_str();
  verb->add_option("--warmup", o.train.warmup_steps, "warm-up steps (default: 30, or a tenth of fewer than 300 steps)");
  verb->add_option("--schedule", o.train.schedule)
      ->transform(CLI::CheckedTransformer(std::map<std::string, ScheduleKind>{{"cosine", ScheduleKind::kCosine},
                                                                              {"linear", ScheduleKind::kLinear},
                                                                              {"constant", ScheduleKind::kConstant}}));
  verb->add_option("--weight-decay", o.train.weight_decay)->capture_default_str();
  verb->add_option("--clip", o.train.clip_norm, "gradient norm to clip at; 0: off")->capture_default_str();
  verb->add_option("--seed", o.train.seed, "of the batches")->capture_default_str();
  verb->add_flag("--learn-scales", o.learn_scales,
                 "train the scales of weights too (LSQ); train then writes packed weights");
  verb->add_option("--delay-fake-quant-steps", o.train.delay_fake_quant_steps, "steps in floating point first")
      ->capture_default_str();
}

int run(int argc, char** argv) {
  Options o;
  CLI::App app("Evaluate, train, quantize and run Llama models with qat");
  app.require_subcommand(1);
  app.footer(
      "Schemes: 8da4w, int4_weight_only, tinygemm, qat4, qat4a8 and their 2..8-bit siblings, with :groupG or :axis0;\n"
      "or weight=SPEC[,activation=SPEC] with SPEC such as int4:group32:symmetric or int8:token:asymmetric.");
  CLI::App* eval = app.add_subcommand("eval", "score a text (nats per token, perplexity, bits per byte) or choices");
  add_model(eval, o, true);
  add_scheme(eval, o, "quantize after training with this scheme first, and score the packed model");
  eval->add_option("--data", o.data, "text; documents separated by a line <|endoftext|>");
  eval->add_option("--choices", o.choices, "multiple-choice items: JSONL with ctx, endings and label, as HellaSwag's");
  eval->add_option("--length", o.length, "targets of a window")->capture_default_str();
  CLI::App* train = app.add_subcommand("train", "train on a text, quantization-aware with --scheme");
  add_model(train, o, true);
  add_scheme(train, o, "fake-quantize with this scheme while training");
  add_training(train, o);
  train->add_option("--train-data", o.train_data, "text to train on")->required();
  train->add_option("--data", o.data, "text to score afterwards");
  train->add_option("--length", o.length, "targets of a scoring window")->capture_default_str();
  train->add_option("--out", o.out, "write the trained model here, as a Hugging Face directory");
  CLI::App* quantize = app.add_subcommand("quantize", "pack a model: post-training, or as it was trained");
  add_model(quantize, o, true);
  add_scheme(quantize, o, "scheme of the packed weights");
  quantize->get_option("--scheme")->required();
  quantize->add_option("--out", o.out, "directory of the packed model")->required();
  for (CLI::App* verb : {eval, train})
    verb->add_flag("--report", o.report, "print every layer with its scheme and bytes");
  CLI::App* generate = app.add_subcommand("generate", "continue a prompt");
  add_model(generate, o, true);
  add_scheme(generate, o, "quantize with this scheme first");
  generate->add_option("--prompt", o.prompt)->capture_default_str();
  generate->add_option("--tokens", o.tokens, "at most this many new tokens")->capture_default_str();
  generate->add_option("--temperature", o.sampling.temperature, "0: greedy")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  generate->add_option("--top-p", o.sampling.top_p)->capture_default_str()->check(CLI::Range(0.0, 1.0));
  generate->add_option("--seed", o.sampling.seed)->capture_default_str();
  CLI::App* demo = app.add_subcommand("demo", "full precision, PTQ and QAT side by side");
  add_model(demo, o, false);
  add_scheme(demo, o, "scheme (default: qat4)");
  add_training(demo, o);
  demo->add_option("--data", o.data, "text to score");
  demo->add_option("--train-data", o.train_data, "text to train on");
  demo->add_option("--length", o.length, "targets of a scoring window")->capture_default_str();
  demo->add_option("--seeds", o.seeds, "runs with successive seeds; the table gives the mean")
      ->capture_default_str()
      ->check(CLI::Range(1, 100));
  demo->add_flag("--report", o.report, "print every layer with its scheme and bytes");
  demo->add_flag("--no-control", o.no_control, "leave out the full-precision control");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  }
  if (demo->parsed() && demo->count("--steps") == 0 && o.model.empty())
    o.train.steps = 300;  // enough for the default model
  for (CLI::App* verb : {train, demo})
    if (verb->parsed() && verb->count("--warmup") == 0)
      o.train.warmup_steps = std::min<index_t>(30, o.train.steps / 10);
  const CpuBackend backend(o.threads, o.matmul == "bf16" ? MatmulPrecision::kBfloat16 : MatmulPrecision::kFloat32);
  if (eval->parsed()) run_eval(backend, o);
  if (train->parsed()) run_train(backend, o);
  if (quantize->parsed()) run_quantize(backend, o);
  if (generate->parsed()) run_generate(backend, o);
  if (demo->parsed()) {
    if (o.scheme.empty()) o.scheme = "qat4";
    run_demo_verb(backend, o);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const qat::Error& e) {
    std::fprintf(stderr, "qat-llm: %s\n", e.what());
    return 2;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "qat-llm: %s\n", e.what());
    return 1;
  }
}
