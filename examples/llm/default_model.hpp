// The default model: its shape, its text and tokenizer. examples/llm/default/ holds it trained.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "bpe_trainer.hpp"
#include "default_text.hpp"
#include "qat/nn/llama_config.hpp"

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

}  // namespace qat_llm
