// Llama checkpoints in GGUF, written: read back, and the bytes of llama-quantize.
#include "qat/io/gguf_llama_writer.hpp"

#include <doctest/doctest.h>

#include <cmath>

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

TEST_CASE("GGUF: every architecture goes and comes back, a Mistral as the Llama it is without its window") {
  for (const Architecture architecture : {Architecture::kQwen2, Architecture::kQwen3, Architecture::kMistral,
                                          Architecture::kGemma, Architecture::kGpt2}) {
    CAPTURE(static_cast<int>(architecture));
    const TempDir dir;
    LlamaConfig config = with_architecture(test::tiny_llama_config(), architecture);
    config.bos_id = config.eos_id = -1;
    if (architecture == Architecture::kMistral) {
      config.bos_id = 1;
      config.eos_id = 2;
    }
    LlamaWeights weights = test::tiny_llama(config);
    if (architecture == Architecture::kGemma)  // 1 + w is exact
      for (auto& [name, tensor] : weights.tensors)
        if (tensor.rank() == 1)
          for (float& value : tensor) value = std::round(value * 256.0f) / 256.0f;
    write_gguf_llama(weights, {}, dir / "m.gguf", "tiny");
    LlamaWeights read = read_gguf_llama(dir / "m.gguf");
    if (architecture == Architecture::kMistral) {
      CHECK(read.config.architecture == Architecture::kLlama);
      read.config.architecture = architecture;
    }
    CHECK(read.config == config);
    CHECK(test::same_weights(read, weights));
  }
}

TEST_CASE(
    "GGUF: GPT-2's queries, keys and values are one tensor, its positions F32, Gemma's norms what they multiply with") {
  const TempDir dir;
  const LlamaConfig config = with_architecture(test::tiny_llama_config(), Architecture::kGpt2);
  const LlamaWeights weights = test::tiny_llama(config);
  write_gguf_llama(weights, {}, dir / "m.gguf", "tiny", {GgmlType::kF16, GgmlType::kF16});
  const Gguf file = Gguf::open(dir / "m.gguf");
  const GgufTensor& qkv = file.tensor("blk.1.attn_qkv.weight");
  CHECK((qkv.type == GgmlType::kF16 && qkv.shape == std::vector<index_t>{48, 16}));
  std::vector<float> bias(48);
  file.tensor("blk.1.attn_qkv.bias").to_float(bias.data());
  CHECK(bias[20] == weights.tensors.at("model.layers.1.self_attn.k_proj.bias")[4]);
  CHECK(file.tensor("position_embd.weight").type == GgmlType::kF32);
  CHECK(file.tensor("token_embd.weight").type == GgmlType::kF16);
  CHECK(file.number("gpt2.attention.layer_norm_epsilon") == static_cast<double>(config.norm_eps));

  std::vector<GgufRows> rows;
  for (const auto& [name, tensor] : weights.tensors)
    rows.push_back(gguf_rows_of(name, tensor, name.ends_with("v_proj.weight") ? GgmlType::kF16 : GgmlType::kF32));
  QAT_CHECK_ERROR(write_gguf_llama(dir / "no.gguf", config, {}, std::move(rows), "m"),
                  "accepted: one type, they stand in one tensor, blk.0.attn_qkv.weight");

  const LlamaWeights gemma = test::tiny_llama(with_architecture(test::tiny_llama_config(), Architecture::kGemma));
  write_gguf_llama(gemma, {}, dir / "gemma.gguf", "tiny");
  float norm[16];
  Gguf::open(dir / "gemma.gguf").tensor("output_norm.weight").to_float(norm);
  CHECK(norm[5] == 1.0f + gemma.tensors.at("model.norm.weight")[5]);
}

TEST_CASE("GGUF: what llama.cpp would compute otherwise is refused; a window that shows the whole context is none") {
  const TempDir dir;
  const auto refused = [&](const LlamaConfig& config) {
    return test::error_of([&] { write_gguf_llama(test::tiny_llama(config), {}, dir / "m.gguf", "m"); });
  };
  LlamaConfig mistral = with_architecture(test::tiny_llama_config(), Architecture::kMistral);
  mistral.window = 4;
  CHECK(
      test::contains(refused(mistral), "sliding_window is 4 in a context of 8; llama.cpp knows no window for 'llama'"));
  LlamaConfig biased = test::tiny_llama_config();
  biased.qkv_bias = true;
  CHECK(test::contains(refused(biased), "cannot state this model's form"));
  LlamaConfig untied = with_architecture(test::tiny_llama_config(false), Architecture::kGemma);
  CHECK(test::contains(refused(untied), "accepted for 'gemma' in GGUF: one table for both"));
  CHECK(std::filesystem::is_empty(dir.path()));
  mistral.window = mistral.max_seq_len;
  CHECK(refused(mistral) == "(no error)");
  CHECK(read_gguf_llama(dir / "m.gguf").config.window == 0);
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
