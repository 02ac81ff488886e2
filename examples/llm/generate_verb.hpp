// qat-llm generate: continues a prompt.
#pragma once

#include "generate.hpp"
#include "options.hpp"

namespace qat_llm {

struct GenerateVerb {
  ModelOptions model;
  SchemeOptions scheme;
  std::string prompt = "Once upon a time";
  index_t tokens = 200;
  SamplingOptions sampling;

  void add_to(CLI::App& app) {
    CLI::App* verb = app.add_subcommand("generate", "continue a prompt");
    model.add_to(verb, true);
    scheme.add_to(verb, "quantize with this scheme first");
    verb->add_option("--prompt", prompt)->capture_default_str();
    verb->add_option("--tokens", tokens, "at most this many new tokens")->capture_default_str();
    verb->add_option("--temperature", sampling.temperature, "0: greedy")
        ->capture_default_str()
        ->check(CLI::NonNegativeNumber);
    verb->add_option("--top-p", sampling.top_p)->capture_default_str()->check(CLI::Range(0.0, 1.0));
    verb->add_option("--seed", sampling.seed)->capture_default_str();
    verb->footer(
        "Examples:\n"
        "  qat-llm generate --model packed --prompt 'Once upon a time'\n"
        "  qat-llm generate --model packed --temperature 0.8 --top-p 0.9 --seed 7 --tokens 300");
    verb->callback([this] { run(); });
  }

  void run() {
    const CpuBackend backend = model.backend();
    const Checkpoint checkpoint(model.model);
    nn::Transformer network = checkpoint.model();
    quantize_if_asked(backend, checkpoint, network, scheme);
    const auto tokenizer = model.load_tokenizer(network.config().vocab_size);
    const Generation g = generate(backend, network, *tokenizer, prompt, tokens, sampling, [](const std::string& piece) {
      std::fputs(piece.c_str(), stdout);
      std::fflush(stdout);
    });
    std::printf("\n");
    const double rate = g.decode_seconds > 0.0 ? static_cast<double>(g.generated) / g.decode_seconds : 0.0;
    std::fprintf(stderr, "%td tokens, %.0f tokens/s\n", g.generated, rate);
    write_json(model.json, {{"model", model.model},
                            {"scheme", scheme.scheme},
                            {"prompt", prompt},
                            {"text", g.text},
                            {"tokens", g.tokens},
                            {"prefill_seconds", g.prefill_seconds},
                            {"tokens_per_second", rate}});
  }
};

}  // namespace qat_llm
