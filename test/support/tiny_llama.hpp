// A small Llama checkpoint with every tensor different, for tests of files and models.
#pragma once

#include "qat/base/random.hpp"
#include "qat/io/llama_weights.hpp"

namespace qat::test {

/// dim 16, 2 layers, 4 heads, 2 kv heads; fits a llama2.c checkpoint.
inline LlamaConfig tiny_llama_config(bool tied = true) {
  LlamaConfig c;
  c.dim = 16;
  c.hidden_dim = 24;
  c.n_layers = 2;
  c.n_heads = 4;
  c.n_kv_heads = 2;
  c.head_dim = 4;
  c.vocab_size = 40;
  c.max_seq_len = 8;
  c.tied = tied;
  return c;
}

inline LlamaWeights tiny_llama(const LlamaConfig& config, std::uint64_t seed = 1) {
  LlamaWeights weights;
  weights.config = config;
  CounterRandom random(seed);
  for (const auto& [name, shape] : llama_tensor_shapes(config)) {
    Tensor<float> tensor(shape);
    for (float& value : tensor) value = random.next_float() - 0.5f;
    weights.tensors.emplace(name, std::move(tensor));
  }
  return weights;
}

/// Same configuration, names, shapes and bits.
inline bool same_weights(const LlamaWeights& a, const LlamaWeights& b) {
  if (a.tensors.size() != b.tensors.size() || a.tensors.empty()) return false;
  for (const auto& [name, tensor] : a.tensors) {
    const auto it = b.tensors.find(name);
    if (it == b.tensors.end() || it->second.shape() != tensor.shape()) return false;
    if (std::memcmp(it->second.data(), tensor.data(), static_cast<std::size_t>(tensor.size_bytes())) != 0) return false;
  }
  return true;
}

}  // namespace qat::test
