// Llama checkpoints in GGUF: names, keys, the order of rows, and every mismatch named.
#include "qat/io/gguf_llama.hpp"

#include <doctest/doctest.h>

#include "qat/io/gguf_writer.hpp"
#include "qat/io/llama2c.hpp"
#include "support/data.hpp"
#include "support/files.hpp"
#include "support/tiny_llama.hpp"

using namespace qat;
using qat::test::TempDir;

namespace {

/// A GGUF file of a model put together key by key, so that a test can leave out or change a part.
struct GgufModel {
  std::map<std::string, std::uint32_t> numbers;
  std::map<std::string, float> floats = {{"llama.attention.layer_norm_rms_epsilon", 1e-5f}};
  std::map<std::string, std::string> texts = {{"general.architecture", "llama"}};
  std::map<std::string, std::vector<float>> arrays;
  std::map<std::string, std::pair<std::vector<index_t>, std::vector<float>>> tensors;

  explicit GgufModel(const LlamaWeights& weights) {
    const LlamaConfig& c = weights.config;
    const std::pair<const char*, index_t> keys[] = {
        {"context_length", c.max_seq_len},    {"embedding_length", c.dim},
        {"block_count", c.n_layers},          {"feed_forward_length", c.hidden_dim},
        {"attention.head_count", c.n_heads},  {"attention.head_count_kv", c.n_kv_heads},
        {"attention.key_length", c.head_dim}, {"attention.value_length", c.head_dim},
        {"rope.dimension_count", c.head_dim}};
    for (const auto& [key, value] : keys) numbers["llama." + std::string(key)] = static_cast<std::uint32_t>(value);
    for (const auto& [name, tensor] : weights.tensors) {
      std::vector<float> values(tensor.begin(), tensor.end());
      if (const index_t heads = gguf_interleaved_heads(c, name); heads > 0)
        halves_rows_to_interleaved(tensor.data(), heads, c.head_dim, c.dim, values.data());
      std::vector<index_t> shape;
      for (int d = 0; d < tensor.rank(); ++d) shape.push_back(tensor.dim(d));
      tensors[gguf_tensor_name(c.architecture, name)] = {shape, values};
    }
  }
  std::string write(const TempDir& dir) const {
    GgufMetadata metadata;
    for (const auto& [key, value] : texts) metadata.add(key, value);
    for (const auto& [key, value] : numbers) metadata.add(key, value);
    for (const auto& [key, value] : floats) metadata.add(key, value);
    for (const auto& [key, value] : arrays) metadata.add(key, value);
    std::vector<GgufEntry> entries;
    for (const auto& entry : tensors)
      entries.push_back({entry.first, GgmlType::kF32, entry.second.first, [&entry](const ByteSink& sink) {
                           sink(entry.second.second.data(), entry.second.second.size() * sizeof(float));
                         }});
    write_gguf(dir / "m.gguf", metadata, entries);
    return dir / "m.gguf";
  }
};

std::string model_error(const GgufModel& model) {
  const TempDir dir;
  const std::string path = model.write(dir);
  const std::string message = test::error_of([&] { read_gguf_llama(path); });
  CHECK((message == "(no error)" || test::contains(message, "m.gguf")));
  return message;
}

}  // namespace

TEST_CASE("GGUF: a Llama written with interleaved heads is read back bit for bit, tied and untied") {
  for (const bool tied : {true, false}) {
    LlamaConfig config = test::tiny_llama_config(tied);
    config.head_dim = 6;  // not dim / n_heads
    const LlamaWeights weights = test::tiny_llama(config);
    const TempDir dir;
    const LlamaWeights read = read_gguf_llama(GgufModel(weights).write(dir));
    CHECK(read.config == config);
    CHECK(test::same_weights(read, weights));
  }
}

TEST_CASE("GGUF: rope base, linear and llama3 scaling are read; divisors of another rule are refused") {
  LlamaConfig config = test::tiny_llama_config();
  config.head_dim = 16;
  config.rope.theta = 500000.0;
  GgufModel model(test::tiny_llama(config));
  model.floats["llama.rope.freq_base"] = 500000.0f;
  {
    const TempDir dir;
    CHECK(read_gguf_llama(model.write(dir)).config.rope == config.rope);
  }
  GgufModel linear = model;
  linear.texts["llama.rope.scaling.type"] = "linear";
  linear.floats["llama.rope.scaling.factor"] = 4.0f;
  {
    const TempDir dir;
    const RopeConfig rope = read_gguf_llama(linear.write(dir)).config.rope;
    CHECK(rope.scaling == RopeScaling::kLinear);
    CHECK(rope.factor == 4.0);
  }
  for (const double factor : {8.0, 5.0}) {
    config.rope.scaling = RopeScaling::kLlama3;
    config.rope.factor = factor;
    config.rope.original_max_position_embeddings = 8192;
    const std::vector<float> divisors = detail::llama3_rope_divisors(config.rope, config.head_dim);
    CHECK(divisors.front() == 1.0f);
    CHECK(divisors.back() == static_cast<float>(factor));
    GgufModel llama3 = model;
    llama3.tensors["rope_freqs.weight"] = {{8}, divisors};
    if (factor == 5.0) {
      CHECK(test::contains(model_error(llama3), "'rope_freqs.weight' holds other divisors"));
      llama3.arrays["qat.rope.llama3"] = {5.0f, 1.0f, 4.0f, 8192.0f};
    }
    const TempDir dir;
    CHECK(read_gguf_llama(llama3.write(dir)).config.rope == config.rope);
    llama3.tensors["rope_freqs.weight"].second.back() *= 1.01f;
    CHECK(test::contains(model_error(llama3), "holds other divisors"));
    llama3.tensors["rope_freqs.weight"] = {{2}, {1.0f, 1.0f}};
    CHECK(test::contains(model_error(llama3), "has 2 elements; accepted: half of head_dim 16"));
  }
}

TEST_CASE("GGUF: what does not describe one Llama is refused by key or tensor") {
  const GgufModel good(test::tiny_llama(test::tiny_llama_config()));
  CHECK(model_error(good) == "(no error)");
  const auto changed = [&](auto change) {
    GgufModel model = good;
    change(model);
    return model_error(model);
  };
  const auto number = [&](const char* key, std::uint32_t value) {
    return changed([&](GgufModel& m) { m.numbers[key] = value; });
  };
  const auto expect = [](const std::string& message, const char* part) {
    INFO(message);
    CHECK_MESSAGE(test::contains(message, part), std::string(part));
  };
  expect(changed([](GgufModel& m) { m.texts["general.architecture"] = "bert"; }),
         "'bert'; accepted: llama (Mistral without a window too), qwen2, qwen3, gemma, gpt2");
  expect(changed([](GgufModel& m) { m.texts.clear(); }), "key 'general.architecture' is missing");
  for (const char* key :
       {"context_length", "embedding_length", "block_count", "feed_forward_length", "attention.head_count"})
    expect(changed([&](GgufModel& m) { m.numbers.erase("llama." + std::string(key)); }), key);
  expect(changed([](GgufModel& m) { m.floats.clear(); }), "layer_norm_rms_epsilon' is missing");
  expect(number("llama.block_count", 0), "n_layers");
  expect(number("llama.block_count", 99999), "'llama.block_count' is 99999, the file has 20 tensors");
  expect(number("llama.attention.head_count", 0), "n_heads");
  expect(number("llama.attention.head_count_kv", 3), "a multiple of n_kv_heads");
  expect(number("llama.attention.value_length", 8), "'llama.attention.value_length' is 8; accepted: key_length 4");
  expect(number("llama.rope.dimension_count", 2), "'llama.rope.dimension_count' is 2; accepted: head_dim 4");
  expect(number("llama.expert_count", 8), "'llama.expert_count' is 8; accepted: 0");
  expect(number("llama.vocab_size", 41), "'token_embd.weight' has shape [40, 16]; the keys ask for (41, 16)");
  expect(number("tokenizer.ggml.eot_token_id", 40), "'tokenizer.ggml.eot_token_id' is 40");
  {
    GgufModel turns = good;
    turns.numbers["tokenizer.ggml.eot_token_id"] = 5;
    turns.numbers["tokenizer.ggml.eom_token_id"] = 2;  // eos itself
    const TempDir dir;
    CHECK(read_gguf_llama(turns.write(dir)).config.more_eos_ids == std::vector<std::int32_t>{5});
  }
  expect(number("tokenizer.ggml.eos_token_id", 40), "'tokenizer.ggml.eos_token_id' is 40");
  expect(changed([](GgufModel& m) {
           m.numbers.erase("llama.attention.key_length");
           m.numbers["llama.attention.head_count"] = 3;
         }),
         "a multiple");
  expect(changed([](GgufModel& m) { m.texts["llama.rope.scaling.type"] = "yarn"; }), "'yarn'; accepted: none, linear");
  expect(changed([](GgufModel& m) { m.texts["llama.rope.scaling.type"] = "linear"; }), "scaling.factor' is missing");
  expect(changed([](GgufModel& m) { m.tensors.erase("blk.1.attn_k.weight"); }), "'blk.1.attn_k.weight' is missing");
  expect(changed([](GgufModel& m) {
           m.tensors["blk.2.attn_k.weight"] = {{1}, {0.0f}};
         }),
         "'blk.2.attn_k.weight' is not part of the model");
  expect(changed([](GgufModel& m) {
           m.tensors["blk.0.attn_q.bias"] = {{16}, std::vector<float>(16)};
         }),
         "'blk.0.attn_q.bias' is not part of the model");
  expect(changed([](GgufModel& m) {
           m.tensors["output_norm.weight"] = {{8}, std::vector<float>(8)};
         }),
         "'output_norm.weight' has shape [8]; the keys ask for (16)");
  expect(changed([](GgufModel& m) { m.tensors["token_embd.weight"].first = {640}; }), "has 1 dimensions; accepted: 2");
  expect(changed([](GgufModel& m) { m.tensors["blk.0.ffn_up.weight"].second[3] = std::nanf(""); }),
         "has nan at element 3");
  QAT_CHECK_ERROR(gguf_tensor_name(Architecture::kLlama, "model.layers.0.self_attn.x.weight"), "has no name in GGUF");
  QAT_CHECK_ERROR(gguf_tensor_name(Architecture::kLlama, "weight"), "'weight' has no name in GGUF");
  QAT_CHECK_ERROR(gguf_tensor_name(Architecture::kGpt2, "model.layers.0.mlp.gate_proj.weight"), "has no name in GGUF");
  CHECK(gguf_tensor_name(Architecture::kGpt2, "model.layers.1.self_attn.k_proj.bias") == "blk.1.attn_qkv.bias");
  CHECK(gguf_tensor_name(Architecture::kLlama, "model.layers.12.mlp.up_proj.weight") == "blk.12.ffn_up.weight");
}

TEST_CASE("GGUF: stories260K's F32 file holds the bits of llama2.c's") {
  const auto gguf = test::shared_data("stories260K-gguf/stories260K-F32.gguf");
  const auto bin = test::shared_data("stories260K/stories260K.bin");
  if (!gguf || !bin) return;
  const LlamaWeights a = read_gguf_llama(gguf->string()), b = read_llama2c(bin->string());
  CHECK(a.config == b.config);
  CHECK(test::same_weights(a, b));
}
