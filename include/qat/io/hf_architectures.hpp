// How Hugging Face spells each architecture: keys of config.json and names of tensors, as tables.
// Source: transformers 4.x and 5.x, configuration_*.py and modeling_*.py of each.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "qat/io/llama_weights.hpp"

namespace qat::inline v0 {

/// One tensor of a model and where a file has it. Roles of one name are stacked there along the outputs, in the order
/// of the table.
struct HfTensor {
  std::string_view role;    ///< the model's name; {} stands for the layer
  std::string_view name;    ///< the file's
  bool transposed = false;  ///< stored (in, out)
};

/// An option that changes what a model computes, with the value (JSON) that it must have if it is there.
struct HfOption {
  const char* key;
  const char* accepted;
};

struct HfArchitecture {
  Architecture architecture;
  const char* model_type;
  const char* class_name;
  // Keys, and what transformers takes where one is absent (0: derived from others).
  const char *dim, *hidden_dim, *layers, *heads, *positions, *eps, *activation;
  index_t default_positions, default_head_dim;
  double default_eps;
  bool default_tied;
  std::int32_t default_bos, default_eos;
  std::span<const char* const> activations;  ///< names of the one it has, the first is written
  std::span<const HfOption> options;
  std::span<const HfTensor> tensors;          ///< empty: the file's names are the model's
  std::string_view prefix;                    ///< of names, which old files leave out
  std::span<const std::string_view> buffers;  ///< ends of names of tensors that are no parameters
};

namespace detail {

inline constexpr const char* kSiluNames[] = {"silu"};
inline constexpr const char* kGemmaNames[] = {"gelu_pytorch_tanh"};
inline constexpr const char* kGpt2Names[] = {"gelu_new", "gelu_pytorch_tanh"};
inline constexpr std::string_view kRotaryBuffers[] = {".rotary_emb.inv_freq"};
inline constexpr std::string_view kMaskBuffers[] = {".attn.bias", ".attn.masked_bias"};

inline constexpr HfOption kLlamaOptions[] = {{"sliding_window", "null"}, {"partial_rotary_factor", "1.0"}};
inline constexpr HfOption kRotaryOptions[] = {{"partial_rotary_factor", "1.0"}};
inline constexpr HfOption kGemmaOptions[] = {{"partial_rotary_factor", "1.0"},
                                             {"use_bidirectional_attention", "false"}};
inline constexpr HfOption kGpt2Options[] = {
    {"scale_attn_weights", "true"}, {"scale_attn_by_inverse_layer_idx", "false"}, {"add_cross_attention", "false"}};

inline constexpr HfTensor kGpt2Tensors[] = {
    {"model.embed_tokens.weight", "transformer.wte.weight"},
    {"model.embed_positions.weight", "transformer.wpe.weight"},
    {"model.layers.{}.input_layernorm.weight", "transformer.h.{}.ln_1.weight"},
    {"model.layers.{}.input_layernorm.bias", "transformer.h.{}.ln_1.bias"},
    {"model.layers.{}.self_attn.q_proj.weight", "transformer.h.{}.attn.c_attn.weight", true},
    {"model.layers.{}.self_attn.k_proj.weight", "transformer.h.{}.attn.c_attn.weight", true},
    {"model.layers.{}.self_attn.v_proj.weight", "transformer.h.{}.attn.c_attn.weight", true},
    {"model.layers.{}.self_attn.q_proj.bias", "transformer.h.{}.attn.c_attn.bias"},
    {"model.layers.{}.self_attn.k_proj.bias", "transformer.h.{}.attn.c_attn.bias"},
    {"model.layers.{}.self_attn.v_proj.bias", "transformer.h.{}.attn.c_attn.bias"},
    {"model.layers.{}.self_attn.o_proj.weight", "transformer.h.{}.attn.c_proj.weight", true},
    {"model.layers.{}.self_attn.o_proj.bias", "transformer.h.{}.attn.c_proj.bias"},
    {"model.layers.{}.post_attention_layernorm.weight", "transformer.h.{}.ln_2.weight"},
    {"model.layers.{}.post_attention_layernorm.bias", "transformer.h.{}.ln_2.bias"},
    {"model.layers.{}.mlp.up_proj.weight", "transformer.h.{}.mlp.c_fc.weight", true},
    {"model.layers.{}.mlp.up_proj.bias", "transformer.h.{}.mlp.c_fc.bias"},
    {"model.layers.{}.mlp.down_proj.weight", "transformer.h.{}.mlp.c_proj.weight", true},
    {"model.layers.{}.mlp.down_proj.bias", "transformer.h.{}.mlp.c_proj.bias"},
    {"model.norm.weight", "transformer.ln_f.weight"},
    {"model.norm.bias", "transformer.ln_f.bias"},
    {"lm_head.weight", "lm_head.weight"},
};

/// An architecture with Llama's keys and names.
constexpr HfArchitecture llama_like(Architecture architecture, const char* model_type, const char* class_name,
                                    index_t positions, std::span<const HfOption> options) {
  return {architecture,
          model_type,
          class_name,
          "hidden_size",
          "intermediate_size",
          "num_hidden_layers",
          "num_attention_heads",
          "max_position_embeddings",
          "rms_norm_eps",
          "hidden_act",
          positions,
          0,
          1e-6,
          false,
          1,
          2,
          kSiluNames,
          options,
          {},
          {},
          kRotaryBuffers};
}

inline constexpr auto kHfArchitectures = [] {
  struct Table {
    HfArchitecture rows[6];
  } t{{llama_like(Architecture::kLlama, "llama", "LlamaForCausalLM", 2048, kLlamaOptions),
       llama_like(Architecture::kMistral, "mistral", "MistralForCausalLM", 131072, kRotaryOptions),
       llama_like(Architecture::kQwen2, "qwen2", "Qwen2ForCausalLM", 32768, kRotaryOptions),
       llama_like(Architecture::kQwen3, "qwen3", "Qwen3ForCausalLM", 32768, kRotaryOptions),
       llama_like(Architecture::kGemma, "gemma", "GemmaForCausalLM", 8192, kGemmaOptions),
       {Architecture::kGpt2,
        "gpt2",
        "GPT2LMHeadModel",
        "n_embd",
        "n_inner",
        "n_layer",
        "n_head",
        "n_positions",
        "layer_norm_epsilon",
        "activation_function",
        1024,
        0,
        1e-5,
        true,
        50256,
        50256,
        kGpt2Names,
        kGpt2Options,
        kGpt2Tensors,
        "transformer.",
        kMaskBuffers}}};
  HfArchitecture& qwen2 = t.rows[2];
  HfArchitecture& qwen3 = t.rows[3];
  HfArchitecture& gemma = t.rows[4];
  qwen2.default_bos = qwen2.default_eos = qwen3.default_bos = qwen3.default_eos = -1;
  qwen3.default_head_dim = 128;
  gemma.default_head_dim = 256;
  gemma.default_tied = true;
  gemma.default_bos = 2;
  gemma.default_eos = 1;
  gemma.activations = kGemmaNames;
  return t;
}();

}  // namespace detail

inline std::span<const HfArchitecture> hf_architectures() { return detail::kHfArchitectures.rows; }
inline const HfArchitecture& hf_architecture(Architecture architecture) {
  for (const HfArchitecture& a : hf_architectures())
    if (a.architecture == architecture) return a;
  raise(ErrorCode::kInvalidArgument, "hf_architecture: unknown value ", static_cast<int>(architecture));
}

/// A tensor of a file with the parts of the model that it holds, stacked along the outputs.
struct HfStoredTensor {
  std::string name;
  std::vector<std::string> roles;
  bool transposed = false;  ///< stored (in, out)
};

/// Every tensor that a checkpoint of this configuration has.
inline std::vector<HfStoredTensor> hf_stored_tensors(const LlamaConfig& c) {
  const std::span<const HfTensor> table = hf_architecture(c.architecture).tensors;
  const std::map<std::string, Shape> shapes = llama_tensor_shapes(c);
  std::vector<HfStoredTensor> all;
  std::map<std::string, std::size_t> index;  // of a name in all
  if (table.empty()) {
    for (const auto& [role, shape] : shapes) all.push_back({role, {role}});
    return all;
  }
  const auto in_layer = [](std::string_view pattern, index_t layer) {
    const std::size_t place = pattern.find("{}");
    if (place == pattern.npos) return std::string(pattern);
    return std::string(pattern.substr(0, place)) + std::to_string(layer) + std::string(pattern.substr(place + 2));
  };
  for (const HfTensor& t : table) {
    const bool per_layer = t.role.find("{}") != t.role.npos;
    for (index_t layer = 0; layer < (per_layer ? c.n_layers : 1); ++layer) {
      const std::string role = in_layer(t.role, layer), name = in_layer(t.name, layer);
      if (!shapes.contains(role)) continue;
      const auto [place, first] = index.emplace(name, all.size());
      if (first) all.push_back({name, {}, t.transposed});
      all[place->second].roles.push_back(role);
    }
  }
  return all;
}

/// Its shape, from those of its parts.
inline Shape hf_stored_shape(const HfStoredTensor& stored, const std::map<std::string, Shape>& shapes) {
  const Shape& first = shapes.at(stored.roles.front());
  index_t rows = 0;
  for (const std::string& role : stored.roles) rows += shapes.at(role)[0];
  if (first.rank() == 1) return {rows};
  return stored.transposed ? Shape{first[1], rows} : Shape{rows, first[1]};
}

}  // namespace qat::inline v0
