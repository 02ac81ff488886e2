// Shape of a Llama-family transformer: what a checkpoint's header says and the model needs to know.
#pragma once

#include "qat/base/config.hpp"
#include "qat/ops/rope_config.hpp"

namespace qat::inline v0 {

/// Sizes in elements. head_dim is independent of dim: q_proj is (n_heads * head_dim, dim).
/// Tensors carry Hugging Face names and its half-rotated RoPE: pairs (i, i + head_dim / 2). Files with interleaved
/// pairs (llama2.c) have the rows of q_proj and k_proj permuted when they are read and written.
struct LlamaConfig {
  index_t dim = 0;         ///< hidden_size
  index_t hidden_dim = 0;  ///< intermediate_size
  index_t n_layers = 0;    ///< num_hidden_layers
  index_t n_heads = 0;     ///< num_attention_heads
  index_t n_kv_heads = 0;  ///< num_key_value_heads, divides n_heads
  index_t head_dim = 0;    ///< even; dim / n_heads unless the checkpoint says otherwise
  index_t vocab_size = 0;
  index_t max_seq_len = 0;  ///< max_position_embeddings, tokens
  float norm_eps = 1e-5f;   ///< rms_norm_eps
  RopeConfig rope;
  bool tied = true;  ///< tie_word_embeddings: the head is the embedding
  std::int32_t bos_id = 1;
  std::int32_t eos_id = 2;

  friend bool operator==(const LlamaConfig&, const LlamaConfig&) = default;
};

}  // namespace qat::inline v0
