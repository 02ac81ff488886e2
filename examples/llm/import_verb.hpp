// qat-llm import: any checkpoint as a Hugging Face directory, a tensor at a time.
#pragma once

#include <CLI/CLI.hpp>

#include "qat/data/tokenizer_json.hpp"
#include "session.hpp"

namespace qat_llm {

struct ImportVerb {
  std::string source, out, dtype, tokenizer, json;

  void add_to(CLI::App& app) {
    CLI::App* verb = app.add_subcommand("import", "any checkpoint as a Hugging Face directory, with its tokenizer");
    verb->add_option("SOURCE", source,
                     "a GGUF file (quantized tensors are decoded), a llama2.c .bin, or a Hugging Face directory "
                     "(sharded or not)")
        ->required();
    verb->add_option("--out", out, "directory to write: config.json, model.safetensors, tokenizer")->required();
    verb->add_option("--dtype", dtype,
                     "of the weights; bf16 and f16 round (default: that of a Hugging Face directory, else f32)")
        ->check(CLI::IsMember({"f32", "bf16", "f16"}));
    verb->add_option("--tokenizer", tokenizer, "tokenizer file or directory (default: the one of the checkpoint)");
    verb->add_option("--json", json, "also write the results to this file");
    verb->footer(
        "The vocabulary of a GGUF file goes along as tokenizer.gguf and, for transformers, as tokenizer.json (unless "
        "its\n"
        "scores have no form there that gives the same ids). The directory appears whole or not at all.\n"
        "Examples:\n"
        "  qat-llm import model-Q4_K_M.gguf --out model\n"
        "  qat-llm import stories260K.bin --out stories --dtype bf16");
    verb->callback([this] { run(); });
  }

  /// Beside a tokenizer.gguf that stands alone.
  static void add_tokenizer_json(const std::string& directory) {
    const std::string file = find_tokenizer(directory);
    if (file_name(file) != "tokenizer.gguf") return;
    const Vocabulary vocabulary = read_vocabulary(Gguf::open(file));
    (void)BpeTokenizer::from_vocabulary(vocabulary, file);  // checks it
    std::string text;
    try {
      text = tokenizer_json_text(vocabulary, file);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kUnsupported) throw;
      std::fprintf(stderr, "no tokenizer.json: %s\n", error.what());
      return;
    }
    write_file(join_path(directory, "tokenizer.json"), text);
    write_file(join_path(directory, "tokenizer_config.json"), tokenizer_config_text(vocabulary));
  }

  void run() {
    QAT_CHECK(!Checkpoint(source).is_packed(), kInvalidArgument, source,
              ": is packed; `qat-llm export --to hf` writes the values of its codes");
    const WeightSource weights = open_weights(source);
    DType type = dtype == "bf16" ? DType::kBF16 : dtype == "f16" ? DType::kF16 : DType::kF32;
    if (dtype.empty() && is_directory(source)) type = HfCheckpoint(source).common_dtype();
    write_model_directory(out, [&](const std::string& path) {
      write_hf_llama(weights, path, type);
      copy_tokenizer(source, weights.config.vocab_size, path, tokenizer);
      add_tokenizer_json(path);
    });
    const std::string words = find_tokenizer(out);
    index_t parameters = 0;
    for (const auto& [name, shape] : llama_tensor_shapes(weights.config)) parameters += shape.size();
    std::printf("wrote %s: %td parameters as %s, tokenizer: %s\n", out.c_str(), parameters, info(type).name,
                words.empty() ? "none" : file_name(words).c_str());
    write_json(json, {{"source", source},
                      {"out", out},
                      {"parameters", parameters},
                      {"dtype", info(type).name},
                      {"tokenizer", words.empty() ? "none" : file_name(words)}});
  }
};

}  // namespace qat_llm
