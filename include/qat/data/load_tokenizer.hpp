// Finds and loads the tokenizer of a model, whatever its format.
#pragma once

#include <memory>
#include <string>

#include "qat/data/bpe_tokenizer.hpp"
#include "qat/data/byte_tokenizer.hpp"
#include "qat/data/gguf_vocabulary.hpp"
#include "qat/data/llama2c_tokenizer.hpp"
#include "qat/data/tokenizer.hpp"
#if defined(QAT_WITH_SENTENCEPIECE)
#include "qat/data/sentencepiece_tokenizer.hpp"
#endif

namespace qat::inline v0 {

/// The tokenizer file of a directory: tokenizer.json, tokenizer.model, vocab.json (with merges.txt), tokenizer.bin or
/// tokenizer.gguf, the first that is there; "" where there is none.
inline std::string find_tokenizer(const std::string& directory) {
  for (const char* name : {"tokenizer.json", "tokenizer.model", "vocab.json", "tokenizer.bin", "tokenizer.gguf"})
    if (const std::string file = join_path(directory, name); file_exists(file)) return file;
  return "";
}

/// "bytes", a file (tokenizer.json, a sentencepiece .model, a llama2.c tokenizer .bin, a .gguf that holds one) or a
/// directory that holds, in this order of preference, tokenizer.json, tokenizer.model, vocab.json with merges.txt, or
/// tokenizer.bin.
inline std::unique_ptr<Tokenizer> load_tokenizer(const std::string& path) {
  constexpr const char* kAccepted =
      "accepted: 'bytes', tokenizer.json, a sentencepiece .model, vocab.json with merges.txt, a llama2.c tokenizer "
      ".bin, a .gguf, or a directory with tokenizer.json, tokenizer.model, vocab.json, tokenizer.bin or tokenizer.gguf";
  if (path == "bytes") return std::make_unique<ByteTokenizer>();
  if (is_directory(path)) {
    const std::string file = find_tokenizer(path);
    QAT_CHECK(!file.empty(), kBadFile, path, ": has no tokenizer; ", kAccepted);
    return load_tokenizer(file);
  }
  if (!file_exists(path)) raise(ErrorCode::kIo, path, ": does not exist; ", kAccepted);
  if (file_name(path) == "vocab.json")
    return std::make_unique<BpeTokenizer>(
        BpeTokenizer::from_gpt2_files(path, join_path(parent_directory(path), "merges.txt")));
  if (path.ends_with(".json")) return std::make_unique<BpeTokenizer>(path);
  if (path.ends_with(".gguf"))
    return std::make_unique<BpeTokenizer>(BpeTokenizer::from_vocabulary(read_vocabulary(Gguf::open(path)), path));
  if (path.ends_with(".bin")) return std::make_unique<Llama2cTokenizer>(path);
  if (path.ends_with(".model")) {
#if defined(QAT_WITH_SENTENCEPIECE)
    return std::make_unique<SentencePieceTokenizer>(path);
#else
    raise(ErrorCode::kUnsupported, path,
          ": this program was built without sentencepiece (libsentencepiece-dev, -DQAT_WITH_SENTENCEPIECE)");
#endif
  }
  raise(ErrorCode::kUnsupported, path, ": is no tokenizer by its name; ", kAccepted);
}

namespace detail {
inline std::vector<std::string> names_beside_llama2c(index_t vocab_size) {
  const std::string sized = "tok" + std::to_string(vocab_size);
  return {sized + ".bin", sized + ".model", "tokenizer.bin", "tokenizer.json", "tokenizer.model"};
}
}  // namespace detail

/// The tokenizer that belongs to a model: in its directory for a Hugging Face model; the file itself for a .gguf that
/// has one; beside a llama2.c .bin as tok<vocab_size>.bin, tok<vocab_size>.model, tokenizer.bin, tokenizer.json or
/// tokenizer.model. "" where there is none.
inline std::string find_model_tokenizer(const std::string& model_path, index_t vocab_size) {
  if (is_directory(model_path)) return find_tokenizer(model_path);
  if (model_path.ends_with(".gguf")) return has_vocabulary(Gguf::open(model_path)) ? model_path : "";
  for (const std::string& name : detail::names_beside_llama2c(vocab_size))
    if (const std::string file = join_path(parent_directory(model_path), name); file_exists(file)) return file;
  return "";
}

/// Loads it.
/// @throws qat::Error naming where it was looked for
inline std::unique_ptr<Tokenizer> load_model_tokenizer(const std::string& model_path, index_t vocab_size) {
  if (is_directory(model_path) || model_path.ends_with(".gguf")) return load_tokenizer(model_path);
  const std::string file = find_model_tokenizer(model_path, vocab_size);
  if (!file.empty()) return load_tokenizer(file);
  std::string looked_for;
  for (const std::string& name : detail::names_beside_llama2c(vocab_size))
    looked_for += (looked_for.empty() ? "" : ", ") + name;
  raise(ErrorCode::kBadFile, model_path, ": no tokenizer beside it; accepted: ", looked_for, " in the same directory");
}

}  // namespace qat::inline v0
