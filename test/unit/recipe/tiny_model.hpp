// A small random Llama and tokens for the tests of the loop.
#pragma once

#include <cstring>
#include <vector>

#include "qat/recipe/prepare.hpp"
#include "support/files.hpp"
#include "support/two_threads.hpp"

namespace qat_test {

using namespace qat;

/// 2 layers, ragged feed-forward width (84 = 2 * 32 + 20), grouped queries.
inline LlamaConfig tiny_config(bool tied) {
  LlamaConfig c;
  c.dim = 64;
  c.hidden_dim = 84;
  c.n_layers = 2;
  c.n_heads = 4;
  c.n_kv_heads = 2;
  c.head_dim = 16;
  c.vocab_size = 50;
  c.max_seq_len = 64;
  c.tied = tied;
  return c;
}
inline nn::Transformer tiny_model(bool tied = false, std::uint64_t seed = 1) {
  nn::Transformer model(tiny_config(tied));
  model.randomize(seed, 0.2f);
  return model;
}
/// Norms and biases away from one and zero, so that leaving one out shows.
inline nn::Transformer random_model(const LlamaConfig& config) {
  nn::Transformer model(config);
  model.randomize(1, 0.2f);
  CounterRandom random(2);
  for (Parameter* p : model.parameters())
    if (p->value.rank() == 1)
      for (float& w : p->value) w += 0.4f * random.next_float() - 0.2f;
  return model;
}
inline std::vector<std::int32_t> tiny_tokens(index_t n, std::uint64_t seed = 7) {
  CounterRandom random(seed);
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(n));
  for (std::int32_t& t : tokens) t = static_cast<std::int32_t>(random.next_below(50));
  return tokens;
}
inline View<const std::int32_t, 1> view_of(const std::vector<std::int32_t>& tokens) {
  return view(tokens.data(), static_cast<index_t>(tokens.size()));
}

using test::contains;
using test::error_of;
using test::two_threads;

/// [60, vocab]: two sequences of 30 tokens.
inline Tensor<float> logits(nn::Transformer& model, const CpuBackend& backend = two_threads()) {
  const auto tokens = tiny_tokens(60);
  return model.forward(backend, view_of(tokens), 2);
}
inline bool same_bits(const Tensor<float>& a, const Tensor<float>& b) {
  return a.size() > 0 && a.shape() == b.shape() &&
         std::memcmp(a.data(), b.data(), static_cast<std::size_t>(a.size_bytes())) == 0;
}

}  // namespace qat_test
