// Text generation with a key/value cache: greedy, or sampled with temperature and top-p by the counter generator.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>

#include "session.hpp"

namespace qat_llm {

struct SamplingOptions {
  float temperature = 0.0f;  ///< 0: greedy
  float top_p = 1.0f;        ///< sample from the most likely tokens that together have this probability
  std::uint64_t seed = 0;
};

/// The next token for logits (V).
inline std::int32_t choose_token(const Tensor<float>& logits, const SamplingOptions& options, CounterRandom& random) {
  const auto best = static_cast<std::int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
  if (options.temperature <= 0.0f) return best;
  std::vector<double> p(static_cast<std::size_t>(logits.size()));
  for (std::size_t i = 0; i < p.size(); ++i)
    p[i] = std::exp((static_cast<double>(logits[static_cast<index_t>(i)]) - static_cast<double>(logits[best])) /
                    static_cast<double>(options.temperature));
  std::vector<std::int32_t> order(p.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
    return p[static_cast<std::size_t>(a)] > p[static_cast<std::size_t>(b)];
  });
  const double total = std::accumulate(p.begin(), p.end(), 0.0);
  double kept = 0.0;
  std::size_t count = 0;
  while (count < order.size() && kept < static_cast<double>(options.top_p) * total)
    kept += p[static_cast<std::size_t>(order[count++])];
  double draw = static_cast<double>(random.next_float()) * kept;
  for (std::size_t i = 0; i < count; ++i) {
    draw -= p[static_cast<std::size_t>(order[i])];
    if (draw < 0.0) return order[i];
  }
  return order[count > 0 ? count - 1 : 0];
}

struct Generation {
  std::string text;
  std::vector<std::int32_t> tokens;  ///< prompt included
  index_t generated = 0;
  double prefill_seconds = 0.0, decode_seconds = 0.0;
};

/// Continues the prompt by up to `count` tokens; stops at the end token. on_text(piece) gets the text as it grows.
template <class OnText>
Generation generate(const CpuBackend& backend, nn::Transformer& model, const Tokenizer& tokenizer,
                    const std::string& prompt, index_t count, const SamplingOptions& options, OnText&& on_text) {
  using Clock = std::chrono::steady_clock;
  Generation g;
  g.tokens = tokenizer.encode(prompt, tokenizer.bos_id() >= 0);
  check_token_ids(g.tokens, model.config().vocab_size, "prompt");
  QAT_CHECK(!g.tokens.empty(), kInvalidArgument, "generate: the prompt has no token; give a text");
  QAT_CHECK(static_cast<index_t>(g.tokens.size()) <= model.config().max_seq_len, kInvalidArgument,
            "generate: the prompt has ", g.tokens.size(), " tokens; the model's context is ",
            model.config().max_seq_len);
  const index_t limit = model.config().max_seq_len, wanted = static_cast<index_t>(g.tokens.size()) + count;
  nn::KvCache cache(model.config(), 1, std::min(limit, wanted));
  CounterRandom random(options.seed);
  auto start = Clock::now();
  Tensor<float> logits = model.decode(
      backend, cache, view(static_cast<const std::int32_t*>(g.tokens.data()), static_cast<index_t>(g.tokens.size())));
  g.prefill_seconds = std::chrono::duration<double>(Clock::now() - start).count();
  start = Clock::now();
  for (; g.generated < count; ++g.generated) {
    const std::int32_t token = choose_token(logits, options, random);
    if (token == model.config().eos_id || token == model.config().bos_id) break;
    g.tokens.push_back(token);
    const std::string all = tokenizer.decode(g.tokens);
    on_text(all.substr(std::min(all.size(), g.text.size())));
    g.text = all;
    if (static_cast<index_t>(g.tokens.size()) >= cache.capacity) {
      ++g.generated;
      break;
    }
    logits = model.decode(backend, cache, view(static_cast<const std::int32_t*>(&token), 1));
  }
  g.decode_seconds = std::chrono::duration<double>(Clock::now() - start).count();
  return g;
}

}  // namespace qat_llm
