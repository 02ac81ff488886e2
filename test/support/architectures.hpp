// One model of every architecture, for laws that hold for all of them.
#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "qat/nn/llama_config.hpp"

namespace qat::test {

struct NamedConfig {
  std::string name;
  LlamaConfig config;
};

/// Sizes of `base`, which says n_kv_heads for grouped queries, in every form.
inline std::vector<NamedConfig> architectures(const LlamaConfig& base) {
  std::vector<NamedConfig> all;
  const auto add = [&](const char* name, Architecture architecture, bool tied) -> LlamaConfig& {
    all.push_back({name, with_architecture(base, architecture)});
    all.back().config.tied = tied;
    return all.back().config;
  };
  add("llama", Architecture::kLlama, true);
  LlamaConfig& biased = add("llama with biases", Architecture::kLlama, false);
  biased.qkv_bias = biased.out_bias = biased.mlp_bias = true;
  add("mistral", Architecture::kMistral, false).window = 5;
  add("qwen2", Architecture::kQwen2, true);
  add("qwen3", Architecture::kQwen3, false);
  add("gemma", Architecture::kGemma, true);
  add("gpt2", Architecture::kGpt2, true);
  return all;
}

}  // namespace qat::test
