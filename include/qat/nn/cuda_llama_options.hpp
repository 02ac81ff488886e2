// What CudaLlama is asked for.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "qat/nn/cuda_weights.hpp"
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

}  // namespace qat::inline v0::nn
