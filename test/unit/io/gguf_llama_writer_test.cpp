// Llama checkpoints in GGUF, written: read back, and the bytes of llama-quantize.
#include "qat/io/gguf_llama_writer.hpp"

#include <doctest/doctest.h>

#include "support/data.hpp"
#include "support/files.hpp"
#include "support/tiny_llama.hpp"

using namespace qat;
using qat::test::TempDir;

namespace {

GgufMetadata tokenizer_of(const Gguf& file) {
  GgufMetadata out;
  for (const auto& [key, value] : file.metadata())
    if (key.starts_with("tokenizer.ggml.")) out.add(key, value);
  return out;
}

}  // namespace

TEST_CASE("GGUF: a float checkpoint is read back bit for bit, with its configuration") {
  LlamaConfig plain = test::tiny_llama_config(), untied = test::tiny_llama_config(false), linear = plain,
              llama3 = plain;
  untied.head_dim = 6;
  untied.norm_eps = 1e-6f;
  linear.rope.scaling = RopeScaling::kLinear;
  linear.rope.factor = 2.0;
  llama3.head_dim = 16;
  llama3.rope.theta = 500000.0;
  llama3.rope.scaling = RopeScaling::kLlama3;
  llama3.rope.factor = 3.0;
  llama3.rope.original_max_position_embeddings = 64;
  for (const LlamaConfig& config : {plain, untied, linear, llama3}) {
    const TempDir dir;
    const LlamaWeights weights = test::tiny_llama(config);
    write_gguf_llama(weights, {}, dir / "m.gguf", "tiny");
    const LlamaWeights read = read_gguf_llama(dir / "m.gguf");
    CHECK(read.config == config);
    CHECK(test::same_weights(read, weights));
    const Gguf file = Gguf::open(dir / "m.gguf");
    CHECK(file.string("general.name") == "tiny");
    CHECK(file.integer("general.file_type") == 0);
  }
}

TEST_CASE("GGUF: Qwen2, Qwen3 and Mistral without a window go and come back; other models are refused") {
  for (const Architecture architecture : {Architecture::kQwen2, Architecture::kQwen3, Architecture::kMistral}) {
    const TempDir dir;
    const LlamaConfig config = with_architecture(test::tiny_llama_config(), architecture);
    LlamaWeights weights = test::tiny_llama(config);
    weights.config.bos_id = weights.config.eos_id = -1;
    GgufMetadata tokenizer;
    if (architecture == Architecture::kMistral) {
      weights.config.bos_id = 1;
      weights.config.eos_id = 2;
    }
    write_gguf_llama(weights, tokenizer, dir / "m.gguf", "tiny");
    LlamaWeights read = read_gguf_llama(dir / "m.gguf");
    if (architecture == Architecture::kMistral) {
      CHECK(read.config.architecture == Architecture::kLlama);
      read.config.architecture = architecture;
    }
    CHECK(read.config == weights.config);
    CHECK(test::same_weights(read, weights));
  }
  const TempDir dir;
  const auto refused = [&](const LlamaConfig& config) {
    return test::error_of([&] { write_gguf_llama(test::tiny_llama(config), {}, dir / "m.gguf", "m"); });
  };
  LlamaConfig windowed = with_architecture(test::tiny_llama_config(), Architecture::kMistral);
  windowed.window = 4;
  for (const LlamaConfig& config : {windowed, with_architecture(test::tiny_llama_config(), Architecture::kGemma),
                                    with_architecture(test::tiny_llama_config(), Architecture::kGpt2)})
    CHECK(test::contains(refused(config), "GGUF is not written for this model; accepted: llama"));
  CHECK(std::filesystem::is_empty(dir.path()));
}

TEST_CASE("GGUF: what llama-quantize makes of stories260K is made byte for byte, tensors and metadata") {
  const auto folder = test::shared_data("stories260K-gguf");
  if (!folder) return;
  const std::string source = (*folder / "stories260K-F32.gguf").string();
  const LlamaWeights weights = read_gguf_llama(source);
  const GgufMetadata tokenizer = tokenizer_of(Gguf::open(source));
  const std::pair<const char*, GgufTypes> files[] = {{"stories260K-F32.gguf", {}},
                                                     {"stories260K-Q8_0.gguf", {GgmlType::kQ8_0, GgmlType::kQ8_0}},
                                                     {"stories260K-Q4_0.gguf", {GgmlType::kQ4_0, GgmlType::kQ8_0}},
                                                     {"stories260K-Q4_1.gguf", {GgmlType::kQ4_1, GgmlType::kQ8_0}}};
  for (const auto& entry : files) {
    INFO(std::string(entry.first));
    const TempDir dir;
    write_gguf_llama(weights, tokenizer, dir / "m.gguf", "stories260K", entry.second);
    const Gguf ours = Gguf::open(dir / "m.gguf"), theirs = Gguf::open((*folder / entry.first).string());
    CHECK(ours.tensors().size() == theirs.tensors().size());
    for (const GgufTensor& tensor : theirs.tensors()) {
      INFO(tensor.name);
      const GgufTensor& mine = ours.tensor(tensor.name);
      CHECK(mine.type == tensor.type);
      CHECK(mine.shape == tensor.shape);
      CHECK((mine.bytes == tensor.bytes && std::memcmp(mine.data, tensor.data, tensor.bytes) == 0));
    }
    for (const auto& pair : theirs.metadata()) {
      const std::string_view key = pair.first;
      const GgufValue& value = pair.second;
      if (key == "general.alignment") continue;
      INFO(std::string(key));
      REQUIRE(ours.find(key) != nullptr);
      CHECK(ours.at(key).type == value.type);
      CHECK(ours.at(key).bytes == value.bytes);
    }
  }
}

TEST_CASE("GGUF: a model that lacks a tensor or has it in another shape is not written") {
  const TempDir dir;
  const LlamaWeights weights = test::tiny_llama(test::tiny_llama_config());
  const auto written = [&](auto change) {
    std::vector<GgufRows> rows;
    for (const auto& [name, tensor] : weights.tensors) rows.push_back(gguf_rows_of(name, tensor, GgmlType::kF32));
    change(rows);
    return test::error_of([&] { write_gguf_llama(dir / "m.gguf", weights.config, {}, std::move(rows), "m"); });
  };
  CHECK(test::contains(written([](auto& rows) { rows.pop_back(); }), "'model.norm.weight' is missing"));
  CHECK(test::contains(written([](auto& rows) { rows.push_back(rows.back()); }), "is given twice"));
  CHECK(test::contains(written([](auto& rows) { rows.back().name = "x"; }), "'x' is given twice, or is not part"));
  CHECK(test::contains(written([](auto& rows) { rows.back().shape = {4}; }), "has shape (4)"));
  CHECK(test::contains(written([](auto& rows) { rows[0].type = GgmlType::kQ8_0; }), "rows of 16 elements"));
  GgufMetadata twice;
  twice.add("general.name", "x");
  QAT_CHECK_ERROR(write_gguf_llama(weights, twice, dir / "m.gguf", "m"), "'general.name' is given twice");
  CHECK(std::filesystem::is_empty(dir.path()));
}
