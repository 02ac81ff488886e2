// A decoder-only transformer as values: what a checkpoint's header says and the model needs to know.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "qat/kernels/activation_kind.hpp"
#include "qat/ops/rope_config.hpp"

namespace qat::inline v0 {

/// Families of checkpoints, by the names of their keys and tensors. What a family computes otherwise is said by the
/// other fields of LlamaConfig.
enum class Architecture { kLlama, kMistral, kQwen2, kQwen3, kGemma, kGpt2 };

enum class NormKind {
  kRms,         ///< x / rms(x) * w
  kRmsPlusOne,  ///< x / rms(x) * (1 + w): Gemma
  kLayerNorm,   ///< (x - mean(x)) / std(x) * w + b: GPT-2
};

/// Sizes in elements. head_dim is independent of dim: q_proj is (n_heads * head_dim, dim).
/// Tensors carry Hugging Face names and its half-rotated RoPE: pairs (i, i + head_dim / 2). Files with interleaved
/// pairs (llama2.c) have the rows of q_proj and k_proj permuted when they are read and written.
struct LlamaConfig {
  index_t dim = 0;         ///< hidden_size
  index_t hidden_dim = 0;  ///< intermediate_size
  index_t n_layers = 0;    ///< num_hidden_layers
  index_t n_heads = 0;     ///< num_attention_heads
  index_t n_kv_heads = 0;  ///< num_key_value_heads, divides n_heads
  index_t head_dim = 0;    ///< even with rotary positions; dim / n_heads unless the checkpoint says otherwise
  index_t vocab_size = 0;
  index_t max_seq_len = 0;  ///< max_position_embeddings, tokens
  float norm_eps = 1e-5f;   ///< rms_norm_eps, layer_norm_epsilon
  RopeConfig rope;
  bool tied = true;  ///< tie_word_embeddings: the head is the embedding
  std::int32_t bos_id = 1;
  std::int32_t eos_id = 2;
  std::vector<std::int32_t> more_eos_ids;  ///< others that end a text: Llama 3's end of a turn

  Architecture architecture = Architecture::kLlama;
  NormKind norm = NormKind::kRms;
  Activation activation = Activation::kSilu;
  bool gated = true;      ///< feed-forward: down(activation(gate(x)) * up(x)), else down(activation(up(x)))
  bool qkv_bias = false;  ///< of q_proj, k_proj, v_proj
  bool out_bias = false;  ///< of o_proj
  bool mlp_bias = false;  ///< of the feed-forward layers
  bool qk_norm = false;   ///< each query and key head is normalized (kRms) before its rotation: Qwen3
  index_t window = 0;     ///< sliding_window: a token sees itself and the window - 1 before it; 0: all before it
  bool learned_positions = false;  ///< a table of max_seq_len rows is added to the embedding; no rotary positions
  float embedding_scale = 1.0f;    ///< of the looked-up rows, before positions: Gemma's sqrt(hidden_size)

  friend bool operator==(const LlamaConfig&, const LlamaConfig&) = default;

  /// Whether generation stops at a token.
  bool ends_text(std::int32_t token) const {
    return token == eos_id || std::find(more_eos_ids.begin(), more_eos_ids.end(), token) != more_eos_ids.end();
  }
  /// A token that ends a text too; the first one is eos_id.
  void add_eos(std::int32_t token) {
    if (token < 0 || ends_text(token)) return;
    if (eos_id < 0)
      eos_id = token;
    else
      more_eos_ids.push_back(token);
  }
};

/// What an architecture fixes, whatever its sizes: norms, activation, biases, positions. dim must be set.
inline LlamaConfig with_architecture(LlamaConfig c, Architecture architecture) {
  c.architecture = architecture;
  switch (architecture) {
    case Architecture::kLlama:
    case Architecture::kMistral:
      break;
    case Architecture::kQwen2:
      c.qkv_bias = true;
      break;
    case Architecture::kQwen3:
      c.qk_norm = true;
      break;
    case Architecture::kGemma:
      c.norm = NormKind::kRmsPlusOne;
      c.activation = Activation::kGeluTanh;
      c.embedding_scale = static_cast<float>(std::sqrt(static_cast<double>(c.dim)));
      break;
    case Architecture::kGpt2:
      c.norm = NormKind::kLayerNorm;
      c.activation = Activation::kGeluTanh;
      c.gated = false;
      c.qkv_bias = c.out_bias = c.mlp_bias = true;
      c.learned_positions = true;
      c.n_kv_heads = c.n_heads;
      break;
  }
  return c;
}

/// Whether all is so that an architecture fixes; sizes, rotary positions and the window are free.
inline bool has_form_of(const LlamaConfig& c, Architecture architecture) {
  LlamaConfig form;
  form.dim = c.dim;
  form.n_heads = form.n_kv_heads = c.n_heads;
  form = with_architecture(form, architecture);
  return c.norm == form.norm && c.activation == form.activation && c.gated == form.gated &&
         c.qkv_bias == form.qkv_bias && c.out_bias == form.out_bias && c.mlp_bias == form.mlp_bias &&
         c.qk_norm == form.qk_norm && c.learned_positions == form.learned_positions &&
         c.embedding_scale == form.embedding_scale && (!c.learned_positions || c.n_kv_heads == c.n_heads);
}

/// Whether the model is a Llama but for its sizes and rotary positions.
inline bool has_llama_form(const LlamaConfig& c) { return has_form_of(c, Architecture::kLlama) && c.window == 0; }

}  // namespace qat::inline v0
