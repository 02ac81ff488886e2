// Hugging Face Llama directories: both spellings of config.json, round trips, everything refused by name.
#include "qat/io/hf_llama.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <functional>

#include "support/data.hpp"
#include "support/files.hpp"
#include "support/tiny_llama.hpp"

using namespace qat;
using qat::test::TempDir;

namespace {

/// config.json of the tiny model in transformers 4's spelling, with one key replaced (or removed by "null").
std::string config_with(const char* key = nullptr, const char* value = "") {
  Json json =
      Json::parse(R"({"architectures":["LlamaForCausalLM"],"model_type":"llama","hidden_size":16,"intermediate_size":24,
    "num_hidden_layers":2,"num_attention_heads":4,"num_key_value_heads":2,"vocab_size":40,"max_position_embeddings":8,
    "rms_norm_eps":1e-05,"rope_theta":10000.0,"rope_scaling":null,"tie_word_embeddings":true,"bos_token_id":1,"eos_token_id":2})");
  if (key != nullptr) json[key] = Json::parse(value);
  return json.dump();
}

LlamaConfig parse(const std::string& text) { return parse_hf_llama_config(Json::parse(text), "config.json"); }

}  // namespace

TEST_CASE("both spellings of config.json give the same configuration") {
  const char* v5 =
      R"({"architectures":["LlamaForCausalLM"],"model_type":"llama","hidden_size":16,"intermediate_size":24,
    "num_hidden_layers":2,"num_attention_heads":4,"num_key_value_heads":2,"head_dim":4,"vocab_size":40,"dtype":"float32",
    "max_position_embeddings":8,"rms_norm_eps":1e-05,"rope_parameters":{"rope_theta":10000.0,"rope_type":"default"},
    "tie_word_embeddings":true,"bos_token_id":1,"eos_token_id":[2,3]})";
  CHECK(parse(config_with()) == test::tiny_llama_config());
  CHECK(parse(v5) == test::tiny_llama_config());
  CHECK(parse(config_with("rope_theta", "5e5")).rope.theta == 5e5);
  CHECK(parse(config_with("num_key_value_heads", "null")).n_kv_heads == 4);
  CHECK(parse(config_with("head_dim", "6")).head_dim == 6);
  CHECK(parse(config_with("bos_token_id", "null")).bos_id == -1);
  CHECK_FALSE(parse(config_with("tie_word_embeddings", "null")).tied);
  CHECK(parse(config_with("rms_norm_eps", "null")).norm_eps == 1e-6f);
}

TEST_CASE("rope types default, linear and llama3 are read under both names") {
  const RopeConfig linear = parse(config_with("rope_scaling", R"({"type":"linear","factor":2.0})")).rope;
  CHECK(linear.scaling == RopeScaling::kLinear);
  CHECK(linear.factor == 2.0);
  const RopeConfig llama3 =
      parse(config_with("rope_parameters", R"({"rope_type":"llama3","rope_theta":10000.0,"factor":8.0,
    "low_freq_factor":1.0,"high_freq_factor":4.0,"original_max_position_embeddings":32})"))
          .rope;
  CHECK(llama3.scaling == RopeScaling::kLlama3);
  CHECK(llama3.factor == 8.0);
  CHECK(llama3.original_max_position_embeddings == 32);
  CHECK(parse(config_with("rope_scaling", "{}")).rope == RopeConfig{});
}

TEST_CASE("what would load wrongly is refused by name") {
  const struct {
    const char *key, *value, *found, *accepted;
  } cases[] = {
      {"model_type", "\"qwen2\"", "'qwen2'", "model_type llama"},
      {"model_type", "null", "(missing)", "model_type llama"},
      {"architectures", "[\"LlamaForSequenceClassification\"]", "LlamaForSequenceClassification", "LlamaForCausalLM"},
      {"hidden_act", "\"gelu\"", "'gelu'", "silu"},
      {"attention_bias", "true", "'attention_bias' is true", "false"},
      {"mlp_bias", "true", "'mlp_bias' is true", "false"},
      {"quantization_config", "{\"bits\":4}", "quantization_config", "not quantized"},
      {"sliding_window", "4096", "sliding_window", "null"},
      {"rope_scaling", "{\"rope_type\":\"yarn\",\"factor\":4.0}", "'yarn'", "default, linear, llama3"},
      {"rope_scaling", "{\"type\":\"dynamic\",\"factor\":4.0}", "'dynamic'", "default, linear, llama3"},
      {"rope_scaling", "{\"factor\":4.0}", "(missing)", "default, linear, llama3"},
      {"rope_scaling", "{\"rope_type\":\"linear\"}", "'factor'", "missing"},
      {"rope_scaling", "{\"rope_type\":\"llama3\",\"factor\":8.0}", "'low_freq_factor'", "missing"},
      {"rope_parameters", "{\"rope_theta\":5.0,\"rope_type\":\"default\"}", "'rope_theta' is 5", "10000"},
      {"rope_theta", "-1", "rope_theta is -1", "positive"},
      {"partial_rotary_factor", "0.5", "partial_rotary_factor", "1"},
      {"hidden_size", "null", "'hidden_size'", "missing"},
      {"hidden_size", "\"16\"", "'hidden_size'", "an integer"},
      {"hidden_size", "18", "'hidden_size' is 18", "multiple"},
      {"num_attention_heads", "0", "'num_attention_heads' 0", "multiple"},
      {"num_key_value_heads", "3", "num_key_value_heads", "multiple"},
      {"vocab_size", "-1", "vocab_size is -1", "accepted"},
      {"tie_word_embeddings", "1", "'tie_word_embeddings'", "true or false"},
      {"eos_token_id", "\"x\"", "'eos_token_id'", "token id"},
  };
  for (const auto& c : cases) QAT_CHECK_ERROR(parse(config_with(c.key, c.value)), "config.json", c.found, c.accepted);
}

TEST_CASE("what is written is read back, for every kind of rope, tied and untied") {
  const TempDir dir;
  LlamaConfig llama3 = test::tiny_llama_config(false);
  llama3.head_dim = 6;
  llama3.norm_eps = 1e-6f;
  llama3.bos_id = -1;
  llama3.rope = {500000.0, RopeScaling::kLlama3, 8.0, 1.0, 4.0, 32};
  LlamaConfig linear = test::tiny_llama_config();
  linear.rope.scaling = RopeScaling::kLinear;
  linear.rope.factor = 2.5;
  for (const LlamaConfig& config : {test::tiny_llama_config(), test::tiny_llama_config(false), llama3, linear}) {
    const LlamaWeights weights = test::tiny_llama(config);
    write_hf_llama(weights, dir / "m");
    const LlamaWeights back = read_hf_llama(dir / "m");
    CHECK(back.config == config);
    CHECK(test::same_weights(weights, back));
  }
  const Json json = read_json(dir / "m/config.json");
  CHECK(json["rope_scaling"]["rope_type"] == "linear");
  CHECK(json["rope_parameters"]["factor"] == 2.5);
  CHECK(json["torch_dtype"] == json["dtype"]);
}

TEST_CASE("half and bfloat16 checkpoints hold the rounded weights") {
  const TempDir dir;
  const LlamaWeights weights = test::tiny_llama(test::tiny_llama_config());
  for (const DType dtype : {DType::kF16, DType::kBF16}) {
    write_hf_llama(weights, dir / "m", dtype);
    const LlamaWeights back = read_hf_llama(dir / "m");
    for (const auto& [name, tensor] : weights.tensors)
      for (index_t i = 0; i < tensor.size(); ++i)
        REQUIRE(back.tensors.at(name)[i] ==
                (dtype == DType::kF16 ? static_cast<float>(half(tensor[i])) : static_cast<float>(bfloat16(tensor[i]))));
  }
  QAT_CHECK_ERROR(write_hf_llama(weights, dir / "n", DType::kI8), "I8", "F32, F16, BF16");
  CHECK_FALSE(std::filesystem::exists(dir / "n"));
}

TEST_CASE("missing, surplus, misshapen and non-finite tensors are named") {
  const TempDir dir;
  const LlamaWeights weights = test::tiny_llama(test::tiny_llama_config());
  write_hf_llama(weights, dir.path());
  const auto read_with = [&](const std::function<void(std::vector<SafetensorEntry>&)>& change) {
    std::vector<SafetensorEntry> entries;
    for (const auto& [name, tensor] : weights.tensors) {
      SafetensorEntry entry{name, DType::kF32, {}, tensor.data()};
      for (int d = 0; d < tensor.rank(); ++d) entry.shape.push_back(tensor.dim(d));
      entries.push_back(entry);
    }
    change(entries);
    write_safetensors(dir / "model.safetensors", entries);
    return read_hf_llama(dir.path());
  };
  const auto index_of = [](const std::vector<SafetensorEntry>& entries, const char* name) {
    for (std::size_t i = 0; i < entries.size(); ++i)
      if (entries[i].name == name) return i;
    return entries.size();
  };
  const char* up = "model.layers.1.mlp.up_proj.weight";
  const std::vector<float> numbers(1000, 1.0f);
  QAT_CHECK_ERROR(read_with([&](auto& e) { e.erase(e.begin() + static_cast<index_t>(index_of(e, up))); }), up,
                  "missing");
  QAT_CHECK_ERROR(read_with([&](auto& e) {
                    e.push_back({"model.layers.2.mlp.up_proj.weight", DType::kF32, {1}, numbers.data()});
                  }),
                  "model.safetensors", "'model.layers.2.mlp.up_proj.weight'", "not part");
  QAT_CHECK_ERROR(read_with([&](auto& e) { e[index_of(e, up)].shape = {16, 24}; }), up, "[16, 24]", "(24, 16)");
  QAT_CHECK_ERROR(read_with([&](auto& e) { e[index_of(e, up)].shape = {24 * 16}; }), up, "[384]", "(24, 16)");
  QAT_CHECK_ERROR(read_with([&](auto& e) { e[index_of(e, up)].dtype = DType::kI32; }), up, "I32", "F32, F16, BF16");
  std::vector<float> nan(24 * 16, 0.0f);
  nan[17] = std::nanf("");
  QAT_CHECK_ERROR(read_with([&](auto& e) { e[index_of(e, up)].data = nan.data(); }), "model.safetensors", up, "nan",
                  "element 17");
  CHECK_NOTHROW(read_with([&](auto& e) {
    e.push_back({"model.layers.0.self_attn.rotary_emb.inv_freq", DType::kF32, {2}, numbers.data()});
  }));
  const Tensor<float>& embedding = weights.tensors.at("model.embed_tokens.weight");
  CHECK_NOTHROW(read_with([&](auto& e) { e.push_back({"lm_head.weight", DType::kF32, {40, 16}, embedding.data()}); }));
  QAT_CHECK_ERROR(read_with([&](auto& e) {
                    e.push_back({"lm_head.weight", DType::kF32, {40, 16}, numbers.data()});
                  }),
                  "'lm_head.weight'", "tie_word_embeddings true");
  write_file(dir / "config.json", config_with("tie_word_embeddings", "false"));
  QAT_CHECK_ERROR(read_with([](auto&) {}), "'lm_head.weight'", "missing", "tie_word_embeddings false");
  std::filesystem::remove(dir / "config.json");
  QAT_CHECK_ERROR(read_hf_llama(dir.path()), "config.json", "accepted");
}

TEST_CASE("checkpoints that transformers wrote are read; other architectures are refused") {
  const auto tiny = test::shared_data("hf-tiny");
  if (!tiny) return;
  for (const char* name :
       {"llama-tied", "llama-untied-ffn84", "llama-llama3rope-sharded", "llama-bf16", "llama-headdim24"}) {
    const LlamaWeights weights = read_hf_llama((*tiny / name).string());
    CHECK(weights.config.dim == 64);
    CHECK_NOTHROW(check_weights(weights, name));
  }
  CHECK(read_hf_llama((*tiny / "llama-headdim24").string()).config.head_dim == 24);
  CHECK(read_hf_llama((*tiny / "llama-llama3rope-sharded").string()).config.rope.scaling == RopeScaling::kLlama3);
  for (const char* name : {"mistral-window", "qwen2", "qwen3", "gpt2", "gemma"})
    QAT_CHECK_ERROR(read_hf_llama((*tiny / name).string()), name, "model_type", "llama");
}
