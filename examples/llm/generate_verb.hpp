// qat-llm generate: continues a prompt.
#pragma once

#include "options.hpp"
#include "qat/data/chat_template.hpp"
#include "qat/recipe/generate.hpp"

namespace qat_llm {

struct GenerateVerb {
  ModelOptions model;
  SchemeOptions scheme;
  std::string prompt = "Once upon a time", prompt_file, chat_template;
  index_t tokens = 200;
  nn::SamplingOptions sampling;

  void add_to(CLI::App& app) {
    CLI::App* verb = app.add_subcommand("generate", "continue a prompt");
    model.add_to(verb, true);
    scheme.add_to(verb, "quantize with this scheme first");
    CLI::Option* text = verb->add_option("--prompt", prompt)->capture_default_str();
    verb->add_option("--prompt-file", prompt_file, "take the prompt from this file, as it is")->excludes(text);
    verb->add_option("--chat-template", chat_template,
                     "take the prompt as a user's message and write the assistant's: chatml, llama3, plain, or a text "
                     "with {role} and {content}");
    verb->add_option("--tokens", tokens, "at most this many new tokens")->capture_default_str();
    verb->add_option("--temperature", sampling.temperature,
                     "logits are divided by it; 0: the most likely token, always")
        ->capture_default_str();
    verb->add_option("--top-k", sampling.top_k, "draw from this many most likely tokens; 0: from all")
        ->capture_default_str();
    verb->add_option("--top-p", sampling.top_p,
                     "of those, draw from the fewest most likely ones that together have this probability")
        ->capture_default_str();
    verb->add_option("--seed", sampling.seed, "of the draws: the same text on any number of threads")
        ->capture_default_str();
    verb->footer(
        "The text goes to stdout as it is made, the figures to stderr. It ends at the model's end token, after "
        "--tokens\n"
        "tokens or where the model's context is full.\n"
        "Examples:\n"
        "  qat-llm generate --model packed --prompt 'Once upon a time'\n"
        "  qat-llm generate --model packed --temperature 0.8 --top-p 0.9 --seed 7 --tokens 300\n"
        "  qat-llm generate --model stories260K.bin --scheme 8da4w --prompt-file prompt.txt --json result.json");
    verb->callback([this] { run(); });
  }

  void run() {
    const CpuBackend backend = model.backend();
    const Checkpoint checkpoint(model.model);
    nn::Transformer network = checkpoint.model();
    quantize_if_asked(backend, checkpoint, network, scheme);
    const auto tokenizer = model.load_tokenizer(network.config().vocab_size);
    if (!prompt_file.empty()) prompt = MappedFile(prompt_file).text();
    if (!chat_template.empty()) {
      const ChatTemplate chat(chat_template);
      prompt = chat.opening("user") + prompt + chat.closing() + chat.opening("assistant");
    }
    const recipe::Generation g =
        recipe::generate(backend, network, *tokenizer, prompt, tokens, sampling, [](const std::string& piece) {
          std::fputs(piece.c_str(), stdout);
          std::fflush(stdout);
        });
    std::printf("\n");
    static constexpr const char* kEnds[] = {"count", "end token", "context"};
    const char* const end = kEnds[static_cast<int>(g.end)];
    std::fprintf(stderr, "prompt of %td tokens: %.0f tokens/s; %td new tokens (end: %s): %.0f tokens/s\n",
                 g.prompt_tokens, g.prefill_rate(), g.generated(), end, g.decode_rate());
    write_json(model.json, {{"model", model.model},
                            {"scheme", scheme.scheme},
                            {"prompt", prompt},
                            {"text", g.text},
                            {"completion", g.completion()},
                            {"tokens", g.tokens},
                            {"prompt_tokens", g.prompt_tokens},
                            {"generated_tokens", g.generated()},
                            {"end", end},
                            {"prefill_seconds", g.prefill_seconds},
                            {"decode_seconds", g.decode_seconds},
                            {"prefill_tokens_per_second", g.prefill_rate()},
                            {"tokens_per_second", g.decode_rate()}});
  }
};

}  // namespace qat_llm
