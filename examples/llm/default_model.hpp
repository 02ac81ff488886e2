// The default model: its shape, its text and tokenizer, and how it is judged. examples/llm/default/ holds it trained.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "bpe_trainer.hpp"
#include "default_text.hpp"
#include "qat/data/token_stream.hpp"
#include "qat/kernels/cpu/quantize.hpp"
#include "qat/nn/transformer.hpp"
#include "qat/quant/spec.hpp"

namespace qat_llm {

inline constexpr std::int32_t kDefaultVocabSize = 1024;
inline constexpr std::size_t kDefaultTrainBytes = 6'000'000, kDefaultValidBytes = 160'000,
                             kDefaultTokenizerBytes = 1'000'000;

/// Narrow and deep: rounding errors of a narrow layer average out little, and every layer adds its own.
inline qat::LlamaConfig default_config() {
  qat::LlamaConfig c;
  c.dim = 64;
  c.hidden_dim = 192;
  c.n_layers = 5;
  c.n_heads = 4;
  c.n_kv_heads = 2;
  c.head_dim = 16;
  c.vocab_size = kDefaultVocabSize;
  c.max_seq_len = 512;
  c.norm_eps = 1e-5f;
  c.tied = true;
  c.bos_id = c.eos_id = 0;
  return c;
}

/// What the model is trained on; quantization-aware training goes on with it.
inline std::string default_train_text() { return DefaultText().text(DefaultText::kTrainBegin, kDefaultTrainBytes); }
/// Other documents about the same country.
inline std::string default_valid_text() { return DefaultText().text(DefaultText::kValidBegin, kDefaultValidBytes); }
inline std::string default_tokenizer_json() {
  const std::string text = DefaultText().text(DefaultText::kTrainBegin, kDefaultTokenizerBytes);
  return tokenizer_json(train_bpe(text, kDefaultVocabSize));
}

/// Mean negative log-likelihood of the targets of all windows.
inline double nats_per_token(const qat::CpuBackend& backend, qat::nn::Transformer& model,
                             const qat::TokenWindows& windows) {
  double nats = 0.0;
  for (qat::index_t i = 0; i < windows.count(); ++i) {
    const auto inputs = qat::view(windows.inputs(i).data(), windows.length());
    const auto targets = qat::view(windows.targets(i).data(), windows.length());
    nats += model.evaluate(backend, inputs, targets, 1).sum;
  }
  return nats / static_cast<double>(windows.count() * windows.length());
}

/// Post-training quantization in its simplest form: rounds the weights of all linear layers in place, the tied head
/// apart.
inline void round_linear_weights(const qat::CpuBackend& backend, qat::nn::Transformer& model,
                                 const qat::QuantSpec& spec) {
  for (qat::nn::Linear* layer : model.linear_layers()) {
    if (layer->weight_is_shared()) continue;
    qat::Tensor<float>& w = layer->weight().value;
    qat::kernels::fake_quantize_dynamic(backend, spec, w.data(), w.dim(0), w.dim(1), w.data());
  }
}

}  // namespace qat_llm
