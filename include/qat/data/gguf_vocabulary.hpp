// The tokenizer in the metadata of a GGUF file, read and written.
// Source: https://github.com/ggml-org/ggml, docs/gguf.md (tokenizer.ggml.*); llama.cpp, src/llama-vocab.cpp (defaults).
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "qat/data/vocabulary.hpp"
#include "qat/io/gguf.hpp"
#include "qat/io/gguf_writer.hpp"

namespace qat::inline v0 {

inline bool has_vocabulary(const Gguf& file) { return file.find("tokenizer.ggml.tokens") != nullptr; }

/// @throws qat::Error (kBadFile) naming the key that is missing or of another type or length
inline Vocabulary read_vocabulary(const Gguf& file) {
  const std::string prefix = "tokenizer.ggml.";
  Vocabulary out;
  out.model = file.string(prefix + "model");
  const bool scored = out.model == "llama";
  QAT_CHECK(scored || out.model == "gpt2", kUnsupported, file.path(), ": key 'tokenizer.ggml.model' is ",
            printable(out.model), "; accepted: llama, gpt2");
  out.pre = file.string_or(prefix + "pre", "default");
  const auto& tokens = file.strings(prefix + "tokens");
  out.tokens.assign(tokens.begin(), tokens.end());
  const auto expect_count = [&](const std::string& key, std::size_t count) {
    QAT_CHECK(count == tokens.size(), kBadFile, file.path(), ": key ", printable(key), " has ", count,
              " elements; accepted: ", tokens.size(), ", one for each token");
  };
  if (const std::string key = prefix + "scores"; scored) {
    const GgufValue& scores = file.numbers(key);
    expect_count(key, scores.count);
    for (std::size_t i = 0; i < scores.count; ++i) out.scores.push_back(static_cast<float>(scores.number(i)));
  }
  if (const std::string key = prefix + "token_type"; file.find(key) != nullptr) {
    const GgufValue& types = file.integers(key);
    expect_count(key, types.count);
    for (std::size_t i = 0; i < types.count; ++i) {
      const std::int64_t type = types.integer(i);
      QAT_CHECK(type >= 0 && type <= 6, kBadFile, file.path(), ": key ", printable(key), " gives token ", i,
                " the type ", type, "; accepted: 0 to 6");
      out.types.push_back(type == 0 ? TokenType::kNormal : static_cast<TokenType>(type));
    }
  }
  if (!scored) {
    const auto& merges = file.strings(prefix + "merges");
    out.merges.assign(merges.begin(), merges.end());
  }
  const auto token = [&](const char* name, std::int32_t& id) {
    const std::string key = prefix + name;
    if (file.find(key) == nullptr) return;
    const std::int64_t value = file.integer(key);
    QAT_CHECK(value >= 0 && value < static_cast<std::int64_t>(tokens.size()), kBadFile, file.path(), ": key ",
              printable(key), " is ", value, "; accepted: 0 to ", tokens.size() - 1);
    id = static_cast<std::int32_t>(value);
  };
  token("bos_token_id", out.bos);
  token("eos_token_id", out.eos);
  token("unknown_token_id", out.unknown);
  token("eot_token_id", out.eot);
  token("eom_token_id", out.eom);
  out.add_bos = file.boolean_or(prefix + "add_bos_token", scored || out.pre == "llama-bpe");
  out.add_eos = file.boolean_or(prefix + "add_eos_token", false);
  out.add_space_prefix = file.boolean_or(prefix + "add_space_prefix", scored);
  return out;
}

/// Names tokens that end a text beside eos, as llama.cpp stops at them: the first that is spelled so ends a message
/// (eom), the first of the others a turn (eot). A file holds no more of them.
inline void set_end_tokens(Vocabulary& vocabulary, std::span<const std::int32_t> ids) {
  for (const std::int32_t id : ids) {
    if (id < 0 || id >= static_cast<std::int32_t>(vocabulary.tokens.size()) || id == vocabulary.eos) continue;
    const bool message = vocabulary.tokens[static_cast<std::size_t>(id)].find("eom") != std::string::npos;
    std::int32_t& place = message ? vocabulary.eom : vocabulary.eot;
    if (place < 0) place = id;
  }
}

/// Adds the keys from which llama.cpp makes the same tokenizer.
inline void add_vocabulary(GgufMetadata& metadata, const Vocabulary& vocabulary) {
  const std::string prefix = "tokenizer.ggml.";
  metadata.add(prefix + "model", vocabulary.model);
  metadata.add(prefix + "pre", vocabulary.pre);
  metadata.add(prefix + "tokens", vocabulary.tokens);
  if (!vocabulary.scores.empty()) metadata.add(prefix + "scores", vocabulary.scores);
  std::vector<std::int32_t> types;
  for (const TokenType type : vocabulary.types) types.push_back(static_cast<std::int32_t>(type));
  metadata.add(prefix + "token_type", types);
  if (vocabulary.model == "gpt2") metadata.add(prefix + "merges", vocabulary.merges);
  const auto token = [&](const char* name, std::int32_t id) {
    if (id >= 0) metadata.add(prefix + name, static_cast<std::uint32_t>(id));
  };
  token("bos_token_id", vocabulary.bos);
  token("eos_token_id", vocabulary.eos);
  token("unknown_token_id", vocabulary.unknown);
  token("eot_token_id", vocabulary.eot);
  token("eom_token_id", vocabulary.eom);
  metadata.add(prefix + "add_bos_token", vocabulary.add_bos);
  metadata.add(prefix + "add_eos_token", vocabulary.add_eos);
  metadata.add(prefix + "add_space_prefix", vocabulary.add_space_prefix);
}

}  // namespace qat::inline v0
