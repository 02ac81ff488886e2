// How fast a model reads a prompt and writes a text, one sequence at a time.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <span>

#include "qat/nn/transformer.hpp"

namespace qat::inline v0::recipe {

struct GenerationSpeed {
  double prefill_tokens_per_second = 0.0;  ///< the prompt at once, into an empty cache
  double decode_tokens_per_second = 0.0;   ///< token by token behind it
};

/// The best of up to three passes, of one where three would take more than some seconds. prompt: at least one token;
/// prompt and steps together fit into the model's context.
inline GenerationSpeed measure_generation(const CpuBackend& backend, nn::Transformer& model,
                                          std::span<const std::int32_t> prompt, index_t steps) {
  using Clock = std::chrono::steady_clock;
  const auto seconds_since = [](Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  QAT_CHECK(!prompt.empty() && steps >= 1 && std::ssize(prompt) + steps <= model.config().max_seq_len, kInvalidArgument,
            "measure_generation: ", prompt.size(), " tokens and ", steps, " steps; the model's context is ",
            model.config().max_seq_len);
  GenerationSpeed best;
  const auto begin = Clock::now();
  for (int pass = 0; pass < 3 && (pass == 0 || seconds_since(begin) < 2.0); ++pass) {
    nn::KvCache cache(model.config(), 1, std::ssize(prompt) + steps);
    auto start = Clock::now();
    model.decode(backend, cache, view(prompt.data(), std::ssize(prompt)));
    best.prefill_tokens_per_second =
        (std::max)(best.prefill_tokens_per_second, static_cast<double>(prompt.size()) / seconds_since(start));
    start = Clock::now();
    for (index_t i = 0; i < steps; ++i)
      model.decode(backend, cache, view(prompt.data() + i % std::ssize(prompt), index_t{1}));
    best.decode_tokens_per_second =
        (std::max)(best.decode_tokens_per_second, static_cast<double>(steps) / seconds_since(start));
  }
  return best;
}

}  // namespace qat::inline v0::recipe
