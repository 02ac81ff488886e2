// Options that several verbs share.
#pragma once

#include <CLI/CLI.hpp>

#include "qat/data/gguf_vocabulary.hpp"
#include "qat/quant/ggml_target.hpp"
#include "run_device.hpp"
#include "session.hpp"

namespace qat_llm {

/// Options of verbs that read a model.
struct ModelOptions {
  std::string model, tokenizer, matmul = "fp32", device = "cpu", json;
  int threads = 0;

  void add_to(CLI::App* verb, bool required) {
    CLI::Option* option =
        verb->add_option("--model", model, "llama2.c .bin, Hugging Face Llama directory, or a packed directory");
    if (required) option->required();
    add_common_to(verb);
  }
  /// All but the model.
  void add_common_to(CLI::App* verb) {
    verb->add_option("--tokenizer", tokenizer, "tokenizer file or directory (default: the one beside the model)");
    verb->add_option("--threads", threads, "threads; 0 takes all")->check(CLI::Range(0, 1024));
    verb->add_option("--matmul", matmul, "precision of fp32 products: bf16 rounds their operands where that is faster")
        ->capture_default_str()
        ->check(CLI::IsMember({"fp32", "bf16"}));
    verb->add_option("--json", json, "also write the results to this file");
  }
  void add_device_to(CLI::App* verb, const char* what) {
    verb->add_option("--device", device, what)->capture_default_str()->check(CLI::IsMember({"cpu", "cuda", "auto"}));
  }
  RunDevice run_device() const {
    return RunDevice(device == "cpu"    ? recipe::DeviceKind::kCpu
                     : device == "cuda" ? recipe::DeviceKind::kCuda
                                        : recipe::DeviceKind::kAuto);
  }
  CpuBackend backend() const {
    return CpuBackend(threads, matmul == "bf16" ? MatmulPrecision::kBfloat16 : MatmulPrecision::kFloat32);
  }
  std::unique_ptr<Tokenizer> load_tokenizer(index_t vocab_size) const {
    return tokenizer.empty() ? load_model_tokenizer(model, vocab_size) : qat::load_tokenizer(tokenizer);
  }
};

/// A scheme and the layers it is for.
struct SchemeOptions {
  std::string scheme, layers = "linear";

  void add_to(CLI::App* verb, const char* what, bool required = false) {
    CLI::Option* option = verb->add_option("--scheme", scheme, what);
    if (required) option->required();
    verb->add_option("--layers", layers, "layers it is for: linear, embedding, head, first, last, or a glob over names")
        ->capture_default_str();
  }
  recipe::LayerRule rule() const { return {layers, recipe::parse_scheme(scheme)}; }
};

/// Quantizes a model in floating point after training; nothing without a scheme.
inline recipe::Report quantize_if_asked(const CpuBackend& backend, const Checkpoint& checkpoint, nn::Transformer& model,
                                        const SchemeOptions& options) {
  if (options.scheme.empty()) return {};
  QAT_CHECK(!checkpoint.is_packed(), kInvalidArgument, checkpoint.path(),
            ": is packed already; --scheme takes a floating-point model");
  return recipe::quantize(backend, model, {options.rule()});
}

/// The type of "gguf:TYPE"; none of "gguf".
inline std::optional<GgmlType> gguf_type(const std::string& to) {
  if (to == "gguf") return std::nullopt;
  const GgmlTypeInfo* found = find_ggml_type_by_name(to.data() + 5, to.size() - 5);
  QAT_CHECK(found != nullptr, kInvalidArgument, "--to is ", to,
            "; accepted: gguf:TYPE with a type of ggml: ", kGgmlTrained);
  return found->type;
}

/// The keys tokenizer.ggml.* of a GGUF file to write: those of a GGUF file, or of tokenizer.gguf in the directory, as
/// they are, else made of the tokenizer.
inline GgufMetadata gguf_tokenizer(const std::string& model, const std::string& tokenizer, const LlamaConfig& config) {
  const std::string held = join_path(model, "tokenizer.gguf");
  if (tokenizer.empty() && is_directory(model) && file_exists(held)) return vocabulary_keys(held);
  const std::string file = tokenizer.empty() ? find_model_tokenizer(model, config.vocab_size) : tokenizer;
  if (file.ends_with(".gguf")) return vocabulary_keys(file);
  Vocabulary vocabulary =
      (file.empty() ? load_model_tokenizer(model, config.vocab_size) : load_tokenizer(file))->vocabulary();
  set_end_tokens(vocabulary, config.more_eos_ids);
  GgufMetadata metadata;
  add_vocabulary(metadata, vocabulary);
  return metadata;
}

inline EvaluationData load_evaluation_data(const std::string& path, index_t length, const Tokenizer& tokenizer,
                                           const LlamaConfig& config) {
  EvaluationData data{load_token_stream(path, tokenizer, config.vocab_size), length};
  QAT_CHECK(length >= 1 && length <= config.max_seq_len, kInvalidArgument, "--length is ", length,
            "; the model accepts 1 to ", config.max_seq_len);
  return data;
}

}  // namespace qat_llm
