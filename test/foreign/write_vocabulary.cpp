// write_vocabulary TOKENIZER TEXT OUT.gguf: a GGUF file that holds the tokenizer and no tensor, and beside it
// OUT.gguf.ids, the text's ids by that file, and OUT.gguf.json, the same as tokenizer.json. Exit code 3: the tokenizer
// has no form in GGUF. TOKENIZER as load_tokenizer() takes it, or VOCAB.json:MERGES.txt.
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>

#include "qat/data/load_tokenizer.hpp"
#include "qat/data/tokenizer_json.hpp"

namespace {

std::unique_ptr<qat::Tokenizer> load(const std::string& name) {
  const std::size_t colon = name.find(':');
  if (colon == name.npos) return qat::load_tokenizer(name);
  return std::make_unique<qat::BpeTokenizer>(
      qat::BpeTokenizer::from_gpt2_files(name.substr(0, colon), name.substr(colon + 1)));
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc != 4) qat::raise(qat::ErrorCode::kInvalidArgument, "usage: write_vocabulary TOKENIZER TEXT OUT.gguf");
    const std::string out = argv[3];
    const qat::Vocabulary vocabulary = load(argv[1])->vocabulary();
    qat::GgufMetadata metadata;
    metadata.add("general.architecture", "llama");
    for (const auto& [key, value] : {std::pair{"context_length", 64u}, std::pair{"embedding_length", 64u},
                                     std::pair{"block_count", 1u}, std::pair{"feed_forward_length", 64u},
                                     std::pair{"attention.head_count", 4u}, std::pair{"rope.dimension_count", 16u}})
      metadata.add(std::string("llama.") + key, value);
    metadata.add("llama.attention.layer_norm_rms_epsilon", 1e-5f);
    qat::add_vocabulary(metadata, vocabulary);
    qat::write_gguf(out, metadata, {});
    std::string ids;
    for (const std::int32_t id : qat::load_tokenizer(out)->encode(qat::MappedFile(argv[2]).text(), false))
      ids += std::to_string(id) + " ";
    qat::write_file(out + ".ids", ids);
    qat::write_file(out + ".json", qat::tokenizer_json_text(qat::read_vocabulary(qat::Gguf::open(out)), out));
  } catch (const qat::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return std::strstr(error.what(), "no form in GGUF") != nullptr ? 3 : 1;
  }
}
