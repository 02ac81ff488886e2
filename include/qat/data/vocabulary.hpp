// A tokenizer as plain data, in the terms of GGUF: what llama.cpp needs to tokenize by itself.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace qat::inline v0 {

/// Kinds of tokens, as sentencepiece and GGUF number them.
enum class TokenType : std::int32_t { kNormal = 1, kUnknown, kControl, kUserDefined, kUnused, kByte };

/// Spaces in `tokens` of model "llama" are U+2581; tokens of model "gpt2" are spelled in GPT-2's alphabet of bytes.
struct Vocabulary {
  std::string model;  ///< "llama": pieces merge by score; "gpt2": bytes merge by `merges`
  std::string pre;    ///< how text is split: "default" for "llama", else "gpt-2", "llama-bpe", "qwen2" or "smollm"
  std::vector<std::string> tokens;                ///< by id
  std::vector<float> scores;                      ///< of each token; empty for "gpt2"
  std::vector<TokenType> types;                   ///< of each token
  std::vector<std::string> merges;                ///< "left right" by rank; empty for "llama"
  std::int32_t bos = -1, eos = -1, unknown = -1;  ///< -1: none
  std::int32_t eot = -1, eom = -1;                ///< end a turn, and a message within one; -1: none
  bool add_bos = false;                           ///< before every text
  bool add_eos = false;                           ///< after every text
  bool add_space_prefix = false;                  ///< text begins with a space that decoding drops
};

}  // namespace qat::inline v0
