// Checkpoints of other programs, read and written: Hugging Face, llama2.c, GGUF.
//   checkpoint_files MODEL DIRECTORY      MODEL: of any of these formats; writes one of each below DIRECTORY
#include <cstdio>

#include "qat/data/bpe_tokenizer.hpp"
#include "qat/data/gguf_vocabulary.hpp"
#include "qat/io/gguf_llama_writer.hpp"
#include "qat/io/llama.hpp"

int main(int argc, char** argv) {
  using namespace qat;
  if (argc != 3) return std::fprintf(stderr, "usage: checkpoint_files MODEL DIRECTORY\n"), 2;
  const std::string model = argv[1], out = argv[2];
  try {
    make_directory(out);

    // Tensors are read when they are asked for, as fp32 and under Hugging Face's names, whatever the format.
    const WeightSource weights = open_weights(model);
    const Tensor<float> embedding = weights.tensor("model.embed_tokens.weight");  // (vocabulary, hidden)
    std::printf("%s: %td layers, embedding %s\n", model.c_str(), weights.config.n_layers,
                to_string(embedding.shape()).c_str());

    // Hugging Face: config.json and model.safetensors. Tensors pass through memory in pieces; BF16 is rounded to even.
    const std::string directory = join_path(out, "hugging-face");
    write_hf_llama(weights, directory, DType::kBF16);
    const HfCheckpoint checkpoint(directory);
    std::printf("%s: stored as %s\n", directory.c_str(), info(checkpoint.common_dtype()).name);

    // llama2.c: a header and fp32.
    const std::string bin = join_path(out, "model.bin");
    write_llama2c(weights, bin);
    const Llama2cCheckpoint again(bin);
    const Tensor<float> same = again.tensor("model.embed_tokens.weight");
    if (std::memcmp(same.data(), embedding.data(), static_cast<std::size_t>(same.size_bytes())) != 0) return 1;

    // GGUF: quantized by ggml's rules, with the tokenizer that llama.cpp needs.
    const std::string gguf = join_path(out, "model.gguf");
    GgufMetadata tokenizer;
    add_vocabulary(tokenizer, BpeTokenizer(join_path(model, "tokenizer.json")).vocabulary());
    write_gguf_llama(load_llama(bin), tokenizer, gguf, "example", {GgmlType::kQ4_0, GgmlType::kQ8_0});
    const Gguf file = Gguf::open(gguf);
    const GgufTensor& up = file.tensor("blk.0.ffn_up.weight");
    std::vector<float> values(static_cast<std::size_t>(up.size()));
    up.to_float(values.data());
    std::printf("%s: %zu tensors, %s is %s\n", gguf.c_str(), file.tensors().size(), up.name.c_str(),
                info(up.type).name);
  } catch (const Error& error) {
    return std::fprintf(stderr, "%s\n", error.what()), 2;
  }
  return 0;
}
