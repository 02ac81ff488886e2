// qat-llm heal: a GGUF file in, one of the size that llama-quantize would write out, trained on that file's grid.
#pragma once

#include <algorithm>
#include <chrono>

#include "duration_text.hpp"
#include "evaluation_run.hpp"
#include "options.hpp"
#include "qat/recipe/gguf_export.hpp"

namespace qat_llm {

struct HealVerb {
  std::string in, to = "q4_0", data, validation, out, tokenizer, json;
  double minutes = 5.0, lr = 3e-4;
  index_t batch = 8, length = 0;
  std::uint64_t seed = 0;
  int threads = 0;

  void add_to(CLI::App& app) {
    CLI::App* verb =
        app.add_subcommand("heal", "a GGUF file in, a quantized GGUF file out that was trained to lose less");
    verb->add_option("IN", in, "the model: GGUF in floating point or 8 bits, or any other that qat-llm reads")
        ->required();
    verb->add_option("--to", to, "ggml's type of the linear layers: " + std::string(kGgmlTrained))
        ->capture_default_str();
    verb->add_option("--data", data, "text to train on; documents separated by a line <|endoftext|>")->required();
    verb->add_option("--validation", validation, "text to score (default: a tenth of the documents of --data)");
    verb->add_option("--minutes", minutes, "time to train")->capture_default_str()->check(CLI::PositiveNumber);
    verb->add_option("--out", out, "the GGUF file to write")->required();
    verb->add_option("--lr", lr, "peak learning rate")->capture_default_str()->check(CLI::PositiveNumber);
    verb->add_option("--batch", batch, "sequences of a step")->capture_default_str()->check(CLI::PositiveNumber);
    verb->add_option("--seq-length", length, "tokens of a sequence (default: 256, or the model's context)")
        ->check(CLI::PositiveNumber);
    verb->add_option("--seed", seed, "of the batches and of the documents held out")->capture_default_str();
    verb->add_option("--tokenizer", tokenizer, "tokenizer file or directory (default: the model's)");
    verb->add_option("--threads", threads, "threads; 0 takes all")->check(CLI::Range(0, 1024));
    verb->add_option("--json", json, "also write the results to this file");
    verb->footer(
        "Types are those of llama-quantize: linear layers in --to, embedding and head in Q8_0, rows that are no whole\n"
        "blocks in F16. The loss is that of the next token. Every figure is of a file as it is read back: IN, IN\n"
        "rounded by ggml's rules, and OUT.\n"
        "Examples:\n"
        "  qat-llm heal model-F32.gguf --to q4_0 --data text.txt --minutes 5 --out model-Q4_0.gguf");
    verb->callback([this] { run(); });
  }

  void run() {
    const GgmlTypeInfo* type = find_ggml_type_by_name(to.data(), to.size());
    const char* spec = type == nullptr ? nullptr : ggml_scheme(type->type);
    QAT_CHECK(spec != nullptr, kInvalidArgument, "--to is ", to, "; accepted: ", kGgmlTrained);
    QAT_CHECK(out.ends_with(".gguf") && out != in, kInvalidArgument, "--out is ", out,
              "; accepted: a file whose name ends in .gguf, not the model itself");
    const CpuBackend backend(threads);
    const Checkpoint checkpoint(in);
    QAT_CHECK(!checkpoint.is_packed(), kInvalidArgument, in,
              ": is packed; accepted: a model in floating point or GGUF");
    const LlamaConfig& config = checkpoint.config();
    const auto words = tokenizer.empty() ? load_model_tokenizer(in, config.vocab_size) : qat::load_tokenizer(tokenizer);
    const GgufMetadata vocabulary = gguf_tokenizer(in, tokenizer, config);
    TokenStream text;
    EvaluationData scored{{}, std::min<index_t>(512, config.max_seq_len)};
    if (validation.empty()) {
      const MappedFile file(data);
      std::tie(text, scored.stream) = split_token_stream(file.text(), *words, config.vocab_size, data, 0.1, seed);
    } else {
      text = load_token_stream(data, *words, config.vocab_size);
      scored.stream = load_token_stream(validation, *words, config.vocab_size);
    }
    const std::string name = validation.empty() ? "held-out part of " + data : validation;
    const auto score = [&](const std::string& path, const char* label) {
      nn::Transformer model = Checkpoint(path).model();
      return evaluate(backend, model, scored, name, label);
    };

    const ScratchDirectory scratch;
    const std::string rounded = join_path(scratch.path(), "rounded.gguf");
    write_gguf_llama(load_llama(in), vocabulary, rounded, file_name(in), {type->type, GgmlType::kQ8_0});
    const recipe::Evaluation before = score(in, "as it is"), ptq = score(rounded, "rounded");
    std::printf("%-28s %10s %12s %12s\n", name.c_str(), "nats", "perplexity", "bytes");
    print_row("as it is", before, in);
    print_row("rounded by ggml's rules", ptq, rounded);
    std::fflush(stdout);

    nn::Transformer model = checkpoint.model();
    const std::vector<recipe::LayerRule> layers = rules(model, *type, spec);
    recipe::prepare(model, layers);
    const index_t steps = train(backend, model, checkpoint, layers, text);
    recipe::convert(backend, model);
    recipe::GgufExportOptions options;
    options.model_name = file_name(in);
    options.float_type = GgmlType::kF16;
    recipe::export_gguf(model, vocabulary, out, options);
    const recipe::Evaluation after = score(out, "healed");
    print_row("trained", after, out);
    const double gap = ptq.nats_per_token() - before.nats_per_token(),
                 left = after.nats_per_token() - before.nats_per_token();
    if (gap > 0.0)
      std::printf("%td steps took back %.0f %% of what rounding cost: the gap goes from %.4f to %.4f nats a token.\n",
                  steps, 100.0 * (gap - left) / gap, gap, left);
    std::printf("wrote %s\n", out.c_str());
    const auto figures = [&](const recipe::Evaluation& e, const std::string& path) -> OrderedJson {
      return {{"nats_per_token", e.nats_per_token()},
              {"perplexity", e.perplexity()},
              {"bytes", static_cast<index_t>(MappedFile(path).size())}};
    };
    write_json(json, {{"in", in},
                      {"out", out},
                      {"to", to},
                      {"steps", steps},
                      {"targets", after.targets},
                      {"before", figures(before, in)},
                      {"rounded", figures(ptq, rounded)},
                      {"healed", figures(after, out)}});
  }

 private:
  static void print_row(const char* label, const recipe::Evaluation& e, const std::string& path) {
    std::printf("%-28s %10.4f %12.4f %12zu\n", label, e.nats_per_token(), e.perplexity(), MappedFile(path).size());
  }

  /// What llama-quantize does to each layer: rows that are no whole blocks stay in floating point.
  static std::vector<recipe::LayerRule> rules(nn::Transformer& model, const GgmlTypeInfo& type, const char* spec) {
    std::vector<recipe::LayerRule> rules;
    const LayerScheme linear{parse_spec(spec), {}}, table{parse_spec(ggml_scheme(GgmlType::kQ8_0)), {}};
    for (const recipe::detail::NamedLayer& layer : recipe::detail::layers_of(model)) {
      const bool is_table = layer.embedding != nullptr || layer.is_head;
      if (layer.linear == nullptr && layer.embedding == nullptr) continue;
      const GgmlTypeInfo& stored = is_table ? info(GgmlType::kQ8_0) : type;
      if (layer.weight->value.dim(1) % stored.block == 0) rules.push_back({layer.name, is_table ? table : linear});
    }
    return rules;
  }

  /// As many steps as the first ones say that the time holds, and none after it. Returns how many there were.
  index_t train(const CpuBackend& backend, nn::Transformer& model, const Checkpoint& checkpoint,
                const std::vector<recipe::LayerRule>& layers, const TokenStream& text) const {
    using Clock = std::chrono::steady_clock;
    const auto begun = Clock::now();
    const auto seconds = [&] { return std::chrono::duration<double>(Clock::now() - begun).count(); };
    const double budget = 60.0 * minutes;
    const index_t context = checkpoint.config().max_seq_len;
    recipe::TrainConfig config;
    config.batch = batch;
    config.length = length > 0 ? length : std::min<index_t>(256, context);
    QAT_CHECK(config.length <= context, kInvalidArgument, "--seq-length is ", config.length,
              "; the model accepts 1 to ", context);
    config.lr = lr;
    config.seed = seed;
    config.warmup_steps = 0;
    constexpr index_t kTrial = 4;
    double step_seconds = 0.0;
    {  // how long a step takes: on weights of their own, at a rate that moves nothing
      nn::Transformer trial = checkpoint.model();
      recipe::prepare(trial, layers);
      config.steps = kTrial;
      recipe::Trainer trainer(backend, trial, text.tokens, config);
      trainer.step();  // the first one allocates
      const double start = seconds();
      while (!trainer.done()) trainer.step();
      step_seconds = (seconds() - start) / (kTrial - 1);
    }
    config.steps = std::max<index_t>(1, static_cast<index_t>(0.97 * (budget - seconds()) / step_seconds));
    config.warmup_steps = std::min<index_t>(30, config.steps / 10);
    std::printf("training %td steps of %td x %td tokens, about %s\n", config.steps, config.batch, config.length,
                duration_text(step_seconds * static_cast<double>(config.steps)).c_str());
    std::fflush(stdout);
    Progress progress("heal");
    recipe::Trainer trainer(backend, model, text.tokens, config);
    while (!trainer.done()) {
      const recipe::StepReport s = trainer.step();
      const double left = std::max(0.0, budget - seconds());
      progress.show(s.step + 1, config.steps,
                    std::string("loss ") + concat(s.loss).c_str() + ", " + duration_text(left) + " left");
      if (left > 0.0 || trainer.done()) continue;
      std::fprintf(stderr, "qat-llm: the time is over after %td of %td steps\n", s.step + 1, config.steps);
      trainer.finish();
      return s.step + 1;
    }
    trainer.finish();
    return config.steps;
  }
};

}  // namespace qat_llm
