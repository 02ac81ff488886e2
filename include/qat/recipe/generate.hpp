// Text generation with a key/value cache: the prompt at once, then token by token.
#pragma once

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "qat/data/text_stream.hpp"
#include "qat/data/token_stream.hpp"  // check_token_ids
#include "qat/nn/sampler.hpp"
#include "qat/nn/transformer.hpp"

namespace qat::inline v0::recipe {

/// Why a text ends.
enum class GenerationEnd {
  kCount,    ///< as many tokens as were asked for
  kToken,    ///< one of the model's end tokens
  kContext,  ///< the model's context is full
};

struct Generation {
  std::vector<std::int32_t> tokens;  ///< prompt included
  std::string text;                  ///< of all of them
  index_t prompt_tokens = 0, prompt_bytes = 0;
  GenerationEnd end = GenerationEnd::kCount;
  double prefill_seconds = 0.0;
  double decode_seconds = 0.0;  ///< of decode_steps steps with one token each, sampling included
  index_t decode_steps = 0;

  index_t generated() const { return static_cast<index_t>(tokens.size()) - prompt_tokens; }
  std::string completion() const { return text.substr(static_cast<std::size_t>(prompt_bytes)); }
  /// Tokens a second; 0 where there were none.
  double prefill_rate() const { return rate(prompt_tokens, prefill_seconds); }
  double decode_rate() const { return rate(decode_steps, decode_seconds); }

 private:
  static double rate(index_t count, double seconds) {
    return seconds > 0.0 ? static_cast<double>(count) / seconds : 0.0;
  }
};

/// Continues a prompt by up to `count` tokens. on_text(std::string) gets the text in pieces of whole characters as it
/// grows, the prompt's first. The same options give the same text on any number of threads.
/// @throws qat::Error for a prompt without tokens or beyond the context, options that Sampler refuses, count below 0
template <class OnText>
Generation generate(const CpuBackend& backend, nn::Transformer& model, const Tokenizer& tokenizer,
                    const std::string& prompt, index_t count, const nn::SamplingOptions& options, OnText&& on_text) {
  using Clock = std::chrono::steady_clock;
  const auto seconds_since = [](Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  const LlamaConfig& config = model.config();
  nn::Sampler sampler(options);
  QAT_CHECK(count >= 0, kInvalidArgument, "generate: ", count, " tokens are asked for; accepted: none below 0");
  Generation g;
  g.tokens = tokenizer.encode(prompt, tokenizer.bos_id() >= 0);
  check_token_ids(g.tokens, config.vocab_size, "prompt");
  g.prompt_tokens = static_cast<index_t>(g.tokens.size());
  QAT_CHECK(g.prompt_tokens > 0, kInvalidArgument, "generate: the prompt has no token; give a text");
  QAT_CHECK(g.prompt_tokens <= config.max_seq_len, kInvalidArgument, "generate: the prompt has ", g.prompt_tokens,
            " tokens; the model's context is ", config.max_seq_len);
  TextStream stream(tokenizer);
  const auto show = [&](std::string piece) {
    if (piece.empty()) return;
    g.text += piece;
    on_text(std::move(piece));
  };
  std::string begin;
  for (const std::int32_t token : g.tokens) begin += stream.push(token);
  show(std::move(begin));
  g.prompt_bytes = static_cast<index_t>(g.text.size());

  nn::KvCache cache(config, 1, (std::min)(config.max_seq_len, g.prompt_tokens + count));
  auto start = Clock::now();
  Tensor<float> logits =
      model.decode(backend, cache, view(static_cast<const std::int32_t*>(g.tokens.data()), g.prompt_tokens));
  g.prefill_seconds = seconds_since(start);
  start = Clock::now();
  while (g.generated() < count) {
    const std::int32_t token = sampler(std::as_const(logits).flat());
    if (config.ends_text(token) || token == config.bos_id || token == tokenizer.eos_id()) {
      g.end = GenerationEnd::kToken;
      break;
    }
    g.tokens.push_back(token);
    show(stream.push(token));
    if (g.generated() == count) break;
    if (cache.length == cache.capacity) {
      g.end = GenerationEnd::kContext;
      break;
    }
    logits = model.decode(backend, cache, view(static_cast<const std::int32_t*>(&token), 1));
    ++g.decode_steps;
  }
  g.decode_seconds = seconds_since(start);
  show(stream.finish());
  return g;
}

}  // namespace qat::inline v0::recipe
