// One door for checkpoints: recognizes what a path holds, and writes the format its name asks for.
#pragma once

#include <memory>
#include <string>

#include "qat/io/gguf_llama.hpp"
#include "qat/io/hf_llama.hpp"
#include "qat/io/llama2c.hpp"
#include "qat/io/llama_weights.hpp"

namespace qat::inline v0 {

namespace detail {
/// on_directory(path) of a Hugging Face directory, on_gguf(path) of a GGUF file, on_llama2c(path) of a llama2.c
/// checkpoint.
/// @throws qat::Error saying what the path is and what is accepted
template <class OnDirectory, class OnGguf, class OnLlama2c>
auto open_llama(const std::string& path, const OnDirectory& on_directory, const OnGguf& on_gguf,
                const OnLlama2c& on_llama2c) {
  constexpr const char* kAccepted =
      "accepted: a llama2.c checkpoint (.bin, version 0), a GGUF file, or a Hugging Face directory (config.json and "
      "safetensors)";
  if (is_directory(path)) return on_directory(path);
  if (file_name(path) == "config.json")
    return on_directory(parent_directory(path).empty() ? "." : parent_directory(path));
  if (path.ends_with(".safetensors") || path.ends_with(".index.json"))
    raise(ErrorCode::kUnsupported, path, ": is only the weights of a checkpoint; give its directory (", kAccepted, ")");
  if (!file_exists(path)) raise(ErrorCode::kIo, path, ": does not exist; ", kAccepted);
  const MappedFile file(path);
  const std::string_view text = file.text();
  if (text.starts_with("GGUF")) return on_gguf(path);
  QAT_CHECK(!text.starts_with("PK\x03\x04"), kUnsupported, path, ": is a zip archive (a PyTorch checkpoint?); ",
            kAccepted);
  QAT_CHECK(!path.ends_with(".json"), kUnsupported, path, ": is no checkpoint; ", kAccepted);
  return on_llama2c(path);
}
}  // namespace detail

/// Loads a llama2.c checkpoint (.bin, version 0), a GGUF file, or a Hugging Face directory (a path to its config.json
/// will do).
inline LlamaWeights load_llama(const std::string& path) {
  return detail::open_llama(path, read_hf_llama, read_gguf_llama, read_llama2c);
}

/// The configuration of what load_llama() would load: the weights are not read.
inline LlamaConfig load_llama_config(const std::string& path) {
  return detail::open_llama(
      path, [](const std::string& directory) { return HfCheckpoint(directory).config(); },
      [](const std::string& file) { return parse_gguf_config(Gguf::open(file)); },
      [](const std::string& file) { return read_llama2c_config(MappedFile(file)); });
}

/// The checkpoint that load_llama() would load, its tensors read some rows at a time.
inline WeightSource open_weights(const std::string& path) {
  const auto source = [](const auto& checkpoint) -> WeightSource {
    return {checkpoint->config(),
            [checkpoint](const std::string& name) { return kept(checkpoint->rows(name), checkpoint); }};
  };
  return detail::open_llama(
      path, [&](const std::string& directory) { return source(std::make_shared<const HfCheckpoint>(directory)); },
      [&](const std::string& file) { return source(std::make_shared<const GgufCheckpoint>(file)); },
      [&](const std::string& file) { return source(std::make_shared<const Llama2cCheckpoint>(file)); });
}

/// Saves as llama2.c when `path` ends in .bin, else as a Hugging Face directory with weights of `dtype`.
inline void save_llama(const WeightSource& weights, const std::string& path, DType dtype = DType::kF32) {
  if (path.ends_with(".bin")) {
    QAT_CHECK(dtype == DType::kF32, kUnsupported, path, ": a llama2.c checkpoint holds F32, not ", info(dtype).name);
    write_llama2c(weights, path);
  } else {
    write_hf_llama(weights, path, dtype);
  }
}
/// The same of weights in memory.
inline void save_llama(const LlamaWeights& weights, const std::string& path, DType dtype = DType::kF32) {
  check_weights(weights, path);
  save_llama(borrowed(weights), path, dtype);
}

}  // namespace qat::inline v0
