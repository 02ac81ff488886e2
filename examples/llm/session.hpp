// What every verb of qat-llm needs: a model with its tokenizer, token streams, progress on a terminal, JSON results.
#pragma once

#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "duration_text.hpp"
#include "qat/data/load_tokenizer.hpp"
#include "qat/data/token_stream.hpp"
#include "qat/io/directory.hpp"
#include "qat/io/gguf_writer.hpp"
#include "qat/io/llama.hpp"
#include "qat/recipe/compressed_tensors_checkpoint.hpp"
#include "qat/recipe/evaluate.hpp"
#include "qat/recipe/multiple_choice.hpp"
#include "qat/recipe/torchao_checkpoint.hpp"
#include "qat/recipe/train.hpp"

namespace qat_llm {

using namespace qat;
using OrderedJson = nlohmann::ordered_json;

/// A recipe's `default` stands for the model that comes with qat, and for its text.
inline bool is_default(const std::string& name) { return name == "default"; }
inline std::string model_path(const std::string& name) { return is_default(name) ? QAT_DEFAULT_MODEL : name; }
inline std::string validation_path(const std::string& name) {
  return is_default(name) ? join_path(QAT_DEFAULT_MODEL, "valid.txt") : name;
}

/// A checkpoint, from which any number of models are made.
class Checkpoint {
 public:
  explicit Checkpoint(const std::string& path)
      : path_(path),
        method_(quantization_method(path)),
        packed_(method_ == "compressed-tensors" || method_ == "torchao" || recipe::is_packed_checkpoint(path)) {
    if (!packed_) config_ = load_llama_config(path);
  }
  const std::string& path() const { return path_; }
  bool is_packed() const { return packed_; }
  const LlamaConfig& config() const { return config_; }  // of a checkpoint that is not packed
  /// Read anew each time: the weights are in memory once, those of the model.
  nn::Transformer model() const {
    if (method_ == "compressed-tensors") return recipe::load_compressed_tensors(path_);
    if (method_ == "torchao") return recipe::load_torchao(path_);
    if (packed_) return recipe::load_packed(path_);
    nn::Transformer model(config_);
    model.load(load_llama(path_).tensors);
    return model;
  }

 private:
  std::string path_;
  std::string method_;  // quant_method of a Hugging Face directory
  bool packed_;
  LlamaConfig config_;
};

/// Text as windows of tokens for evaluation.
struct EvaluationData {
  TokenStream stream;
  index_t length;
  double bytes_per_token() const {
    return static_cast<double>(stream.bytes) / static_cast<double>(stream.tokens.size());
  }
  double words_per_token() const {
    return static_cast<double>(stream.words) / static_cast<double>(stream.tokens.size());
  }
  TokenWindows windows(const std::string& source) const {
    return TokenWindows::contiguous(stream.tokens, length, source);
  }
};

/// One line that is rewritten on a terminal, nothing elsewhere.
class Progress {
 public:
  explicit Progress(std::string label) : label_(std::move(label)), terminal_(isatty(2) != 0) {}
  ~Progress() {
    if (terminal_ && shown_) std::fprintf(stderr, "\r\033[K");
  }
  void operator()(index_t done, index_t total) {
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    const double left = seconds / static_cast<double>(done) * static_cast<double>(total - done);
    show(done, total, duration_text(left) + " left");
  }
  void show(index_t done, index_t total, const std::string& detail) {
    if (!terminal_) return;
    shown_ = true;
    std::fprintf(stderr, "\r\033[K%s  %td / %td  %s", label_.c_str(), done, total, detail.c_str());
    std::fflush(stderr);
  }

 private:
  std::string label_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  bool terminal_, shown_ = false;
};

inline recipe::Evaluation evaluate(const CpuBackend& backend, nn::Transformer& model, const EvaluationData& data,
                                   const std::string& source, const std::string& label) {
  return recipe::evaluate(backend, model, data.windows(source), Progress(label));
}

inline OrderedJson to_json(const recipe::Evaluation& e, const EvaluationData& data) {
  return {{"nats_per_token", e.nats_per_token()},
          {"perplexity", e.perplexity()},
          {"word_perplexity", e.word_perplexity(data.words_per_token())},
          {"byte_perplexity", e.byte_perplexity(data.bytes_per_token())},
          {"bits_per_byte", e.bits_per_byte(data.bytes_per_token())},
          {"targets", e.targets},
          {"seconds", e.seconds}};
}
inline OrderedJson to_json(const recipe::ChoiceScores& s) {
  return {{"items", s.items},
          {"acc", s.acc()},
          {"acc_stderr", s.acc_stderr()},
          {"acc_norm", s.acc_norm()},
          {"acc_norm_stderr", s.acc_norm_stderr()},
          {"truncated", s.truncated},
          {"seconds", s.seconds}};
}
inline OrderedJson to_json(const recipe::Report& report) {
  OrderedJson lines = OrderedJson::array();
  for (const recipe::LayerReport& l : report)
    lines.push_back({{"name", l.name},
                     {"scheme", l.scheme},
                     {"reason", l.reason},
                     {"parameters", l.parameters},
                     {"bytes_before", l.bytes_before},
                     {"bytes_after", l.bytes_after}});
  return lines;
}
inline void print_report(const recipe::Report& report) {
  std::printf("%-44s %10s %10s  %s\n", "layer", "bytes", "after", "scheme, or why it stays in floating point");
  for (const recipe::LayerReport& l : report)
    std::printf("%-44s %10td %10td  %s\n", l.name.c_str(), l.bytes_before, l.bytes_after,
                l.reason.empty() ? l.scheme.c_str() : l.reason.c_str());
  std::printf("%-44s %10td %10td\n", "total", recipe::bytes_before(report), recipe::bytes_after(report));
}
inline void write_json(const std::string& path, const OrderedJson& json) {
  // Generated text may end inside a character: JSON then gets U+FFFD.
  if (!path.empty()) write_file(path, json.dump(2, ' ', false, OrderedJson::error_handler_t::replace) + "\n");
}

/// A float model as a Hugging Face directory.
inline void save_model(nn::Transformer& model, const std::string& directory) {
  save_llama({model.config(), model.tensors()}, directory);
}
/// A directory that a user names for a model: whole, or as it was. A sharded checkpoint there is not mixed with it.
template <class Write>
void write_model_directory(const std::string& directory, Write&& write) {
  QAT_CHECK(!file_exists(join_path(directory, "model.safetensors.index.json")), kInvalidArgument, directory,
            ": holds a sharded checkpoint; accepted: a new or unsharded directory");
  update_directory(directory, write);
}
/// The keys tokenizer.ggml.* of a GGUF file as they are.
inline GgufMetadata vocabulary_keys(const std::string& path) {
  GgufMetadata metadata;
  const Gguf file = Gguf::open(path);
  for (const auto& [key, value] : file.metadata())
    if (key.starts_with("tokenizer.")) metadata.add(key, value);
  return metadata;
}
/// Copies a model's tokenizer, so that a directory written from the model is complete: the one that is named, or the
/// one that stands in or beside the model. Of a GGUF file the vocabulary becomes tokenizer.gguf.
inline void copy_tokenizer(const std::string& model_path, index_t vocab_size, const std::string& directory,
                           const std::string& tokenizer = "") {
  const std::string place = tokenizer.empty() ? model_path : tokenizer;
  const std::string file = is_directory(place)  ? find_tokenizer(place)
                           : !tokenizer.empty() ? tokenizer
                                                : find_model_tokenizer(model_path, vocab_size);
  if (file.empty() || file == "bytes") return;
  const auto copy = [&](const std::string& source, const std::string& target) {
    if (file_exists(source)) write_file(join_path(directory, target), MappedFile(source).text());
  };
  if (is_directory(place)) {
    for (const char* name : {"tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt", "tokenizer.bin",
                             "tokenizer.gguf", "tokenizer_config.json", "special_tokens_map.json"})
      copy(join_path(place, name), name);
  } else if (file.ends_with(".gguf")) {
    write_gguf(join_path(directory, "tokenizer.gguf"), vocabulary_keys(file), {});
  } else if (file_name(file) == "vocab.json") {
    for (const char* name : {"vocab.json", "merges.txt"}) copy(join_path(parent_directory(file), name), name);
  } else {
    copy(file, "tokenizer" + file.substr(file.rfind('.')));
    if (file.ends_with(".json"))
      copy(join_path(parent_directory(file), "tokenizer_config.json"), "tokenizer_config.json");
  }
}

}  // namespace qat_llm
