// qat-llm eval: a text in nats per token, multiple-choice items in accuracy.
#pragma once

#include "options.hpp"

namespace qat_llm {

struct EvalVerb {
  ModelOptions model;
  SchemeOptions scheme;
  std::string data, choices;
  index_t length = 512;
  bool report = false;

  void add_to(CLI::App& app) {
    CLI::App* verb = app.add_subcommand("eval", "score a text (nats per token, perplexity, bits per byte) or choices");
    model.add_to(verb, true);
    scheme.add_to(verb, "quantize after training with this scheme first, and score the packed model");
    verb->add_option("--data", data, "text; documents separated by a line <|endoftext|>");
    verb->add_option("--choices", choices, "multiple-choice items: JSONL with ctx, endings and label, as HellaSwag's");
    verb->add_option("--length", length, "targets of a window")->capture_default_str();
    verb->add_flag("--report", report, "print every layer with its scheme and bytes");
    verb->footer(
        "Examples:\n"
        "  qat-llm eval --model stories260K.bin --data valid.txt\n"
        "  qat-llm eval --model stories260K.bin --data valid.txt --scheme 8da4w --report\n"
        "  qat-llm eval --model packed --choices hellaswag.jsonl --json scores.json");
    verb->callback([this] { run(); });
  }

  void run() {
    const CpuBackend backend = model.backend();
    const Checkpoint checkpoint(model.model);
    nn::Transformer network = checkpoint.model();
    const auto tokenizer = model.load_tokenizer(network.config().vocab_size);
    QAT_CHECK(!data.empty() || !choices.empty(), kInvalidArgument, "eval: nothing to score; give --data or --choices");
    const recipe::Report layers = quantize_if_asked(backend, checkpoint, network, scheme);
    if (report && !layers.empty()) print_report(layers);
    OrderedJson json = {{"model", model.model}, {"data", data}, {"scheme", scheme.scheme}};
    if (!data.empty()) {
      const EvaluationData text = load_evaluation_data(data, length, *tokenizer, network.config());
      const recipe::Evaluation e = evaluate(backend, network, text, data, "eval");
      std::printf(
          "nats per token %.6f  perplexity %.4f  word perplexity %.3f  byte perplexity %.4f  bits per byte %.4f  (%td "
          "targets, %.2f s, %.0f tokens/s)\n",
          e.nats_per_token(), e.perplexity(), e.word_perplexity(text.words_per_token()),
          e.byte_perplexity(text.bytes_per_token()), e.bits_per_byte(text.bytes_per_token()), e.targets, e.seconds,
          e.tokens_per_second());
      json.update(to_json(e, text));
    }
    if (!choices.empty()) {
      const std::vector<ChoiceItem> items = load_choice_items(choices);
      const recipe::ChoiceScores s =
          recipe::score_choices(backend, network, *tokenizer, items, choices, Progress("choices"));
      std::printf("acc %.4f +- %.4f  acc_norm %.4f +- %.4f  (%td items, %.2f s)\n", s.acc(), s.acc_stderr(),
                  s.acc_norm(), s.acc_norm_stderr(), s.items, s.seconds);
      json["choices"] = to_json(s);
      json["choices"]["file"] = choices;
    }
    if (!layers.empty()) json["report"] = to_json(layers);
    write_json(model.json, json);
  }
};

}  // namespace qat_llm
