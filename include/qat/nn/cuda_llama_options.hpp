// What CudaLlama is asked for.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "qat/nn/cuda_weights.hpp"
#include "qat/nn/llama_config.hpp"
#include "qat/quantizer/layer_scheme.hpp"

namespace qat::inline v0::nn {

/// What a step of CudaLlama works on and how.
struct CudaLlamaOptions : CudaOptimizerOptions {
  index_t batch = 1, length = 1;  ///< of a step, at most: sequences, tokens of each
  index_t longest = 0;            ///< tokens of the longest sequence that score() takes; 0: length
  /// Schemes of the linear layers of blocks; not of embedding and head. Activations: rows of one scale, as
  /// int8:token:asymmetric.
  std::optional<QuantSpec> weight, activation;
  /// Instead of those: schemes of layers by name, as "model.layers.0.mlp.up_proj", "model.embed_tokens" or "lm_head".
  std::map<std::string, LayerScheme> schemes;
};

/// The sequences of one pass, and what becomes of their gradients.
struct CudaLlamaPass {
  index_t batch, length;    ///< up to those of the options
  float factor;             ///< of the gradients: 1 / targets for those of a mean
  bool accumulate = false;  ///< they are added to those of the pass before
};

namespace detail {
/// What a model has that is not trained on a GPU, or null.
inline const char* foreign_part(const LlamaConfig& c) {
  if (c.norm == NormKind::kLayerNorm) return "layer norms (GPT-2)";
  if (c.norm == NormKind::kRmsPlusOne) return "norms with weights beside 1 (Gemma)";
  LlamaConfig plain = c;
  plain.window = 0;
  plain.qkv_bias = plain.out_bias = plain.mlp_bias = plain.qk_norm = false;
  return has_llama_form(plain) ? nullptr : "another activation, scaled embeddings or learned positions";
}
}  // namespace detail

/// longest: tokens of a sequence
/// @throws qat::Error (kUnsupported) for a model that CudaLlama does not train or score, saying what it has
inline void check_cuda_model(const LlamaConfig& c, index_t longest) {
  const char* const foreign = detail::foreign_part(c);
  QAT_CHECK(
      foreign == nullptr, kUnsupported, "CudaLlama: the model has ", foreign,
      "; accepted: what Llama has, with or without biases and normalized heads, as Llama, Mistral, SmolLM, Qwen2, "
      "Qwen3");
  QAT_CHECK(c.window == 0 || longest <= c.window, kUnsupported, "CudaLlama: a sequence has ", longest,
            " tokens, the model's attention a window of ", c.window, "; accepted: sequences within the window");
  QAT_CHECK(c.dim % 8 == 0 && c.hidden_dim % 8 == 0 && c.head_dim % 8 == 0 && c.head_dim <= 128, kUnsupported,
            "CudaLlama: dim is ", c.dim, ", hidden_dim ", c.hidden_dim, ", head_dim ", c.head_dim,
            "; accepted: multiples of 8, head_dim up to 128");
}

}  // namespace qat::inline v0::nn
