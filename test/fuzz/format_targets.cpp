// Files of models and tokenizers.
#include <algorithm>
#include <cstdlib>

#include "fuzz/targets.hpp"
#include "qat/data/choice_items.hpp"
#include "qat/data/load_tokenizer.hpp"
#include "qat/data/sft_samples.hpp"
#include "qat/io/file_summary.hpp"
#include "qat/io/gguf_llama.hpp"
#include "qat/io/hf_llama.hpp"
#include "qat/io/json_lines.hpp"
#include "qat/io/llama2c.hpp"
#include "qat/io/onnx_reader.hpp"
#include "qat/io/safetensors.hpp"

namespace qat::fuzz {
namespace {

/// Reads every byte, so that a tensor outside its file is found.
void touch(const unsigned char* data, std::size_t size) {
  unsigned sum = 0;
  for (std::size_t i = 0; i < size; ++i) sum += data[i];
  volatile unsigned seen = sum;
  (void)seen;
}

/// What a tokenizer promises for any text: ids in range, and bytes for each.
void use(const Tokenizer& tokenizer) {
  for (const char* text : {"", " a b", "the\n\xE2\x96\x81 <s>\xFF\x80", "Don't 123 caf\xC3\xA9  !"}) {
    const auto ids = tokenizer.encode(text, true);
    for (const std::int32_t id : ids) {
      if (id < 0 || id >= tokenizer.vocab_size()) std::abort();
      (void)tokenizer.token_bytes(id);
    }
    (void)tokenizer.decode(ids);
    (void)tokenizer.decode(ids, true);
  }
  try {
    (void)tokenizer.vocabulary();
  } catch (const Error&) {  // not every tokenizer has a form in GGUF
  }
}

}  // namespace

std::vector<Reader> format_targets() {
  return {
    {"safetensors", "model.safetensors",
     [](const std::string& path) {
       const Safetensors file = Safetensors::open(path);
       for (const auto& [name, view] : file.tensors()) touch(view.data, view.bytes);
     }},
        {"gguf", "model.gguf",
         [](const std::string& path) {
           const Gguf file = Gguf::open(path);
           for (const GgufTensor& tensor : file.tensors()) touch(tensor.data, tensor.bytes);
         }},
        {"gguf_model", "model.gguf", [](const std::string& path) { (void)read_gguf_llama(path); }},
        {"onnx", "model.onnx",
         [](const std::string& path) {
           const OnnxFile file = OnnxFile::open(path);
           (void)summarize_onnx(path);
           for (const OnnxTensor& tensor : file.initializers())
             touch(reinterpret_cast<const unsigned char*>(tensor.bytes.data()), tensor.bytes.size());
         },
         false},
        {"gguf_vocabulary", "model.gguf", [](const std::string& path) { use(*load_tokenizer(path)); }},
        {"llama2c", "model.bin", [](const std::string& path) { (void)read_llama2c(path); }},
        {"llama2c_tokenizer", "tokenizer.bin", [](const std::string& path) { use(Llama2cTokenizer(path)); }, false},
        {"tokenizer_json", "tokenizer.json", [](const std::string& path) { use(BpeTokenizer(path)); }},
#if defined(QAT_WITH_SENTENCEPIECE)
        {"sentencepiece", "tokenizer.model", [](const std::string& path) { use(SentencePieceTokenizer(path)); }, false},
#endif
        {"hf_config", "config.json",
         [](const std::string& path) { (void)parse_hf_llama_config(read_json(path), path); }},
        {"gpt2_files", "vocab.json",
         [](const std::string& path) {
           const MappedFile file(path);
           const std::size_t end = std::min(file.text().find(kNextFile), file.size());
           const std::string vocab = path + ".vocab.json", merges = path + ".merges.txt";
           put(vocab, file.text().substr(0, end));
           put(merges, file.text().substr(std::min(end + kNextFile.size(), file.size())));
           use(BpeTokenizer::from_gpt2_files(vocab, merges));
         },
         false},
        {"sft_jsonl", "samples.jsonl",
         [](const std::string& path) {
           (void)load_sft_data(path, ByteTokenizer(), {.longest = 256, .vocab_size = 256});
         },
         false},
        {"jsonl", "items.jsonl", [](const std::string& path) { (void)load_choice_items(path); }, false},
  };
}

}  // namespace qat::fuzz
