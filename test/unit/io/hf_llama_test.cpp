// Hugging Face Llama directories: both spellings of config.json, round trips, everything refused by name.
#include "qat/io/hf_llama.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <functional>

#include "support/architectures.hpp"
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
  LlamaConfig two_ends = test::tiny_llama_config();
  two_ends.more_eos_ids = {3};
  CHECK(parse(v5) == two_ends);
  CHECK(parse(hf_llama_config_text(two_ends, DType::kF32)) == two_ends);
  CHECK(parse(config_with("rope_theta", "5e5")).rope.theta == 5e5);
  CHECK(parse(config_with("num_key_value_heads", "null")).n_kv_heads == 4);
  CHECK(parse(config_with("head_dim", "6")).head_dim == 6);
  CHECK(parse(config_with("bos_token_id", "null")).bos_id == -1);
  CHECK(parse(config_with("eos_token_id", "null")).eos_id == -1);
  CHECK(parse(config_with("eos_token_id", "[7,7,5]")).more_eos_ids == std::vector<std::int32_t>{5});
  CHECK_FALSE(parse(config_with("tie_word_embeddings", "null")).tied);
  CHECK(parse(config_with("rms_norm_eps", "null")).norm_eps == 1e-6f);
}

TEST_CASE("generation_config.json adds tokens that end a text") {
  const TempDir dir;
  write_hf_llama(test::tiny_llama(test::tiny_llama_config()), dir.path());
  const auto ends = [&](const char* text) {
    write_file(dir / "generation_config.json", text);
    const LlamaConfig config = HfCheckpoint(dir.path()).config();
    return std::pair(config.eos_id, config.more_eos_ids);
  };
  CHECK(ends(R"({"eos_token_id": [2, 8, 9]})") == std::pair(2, std::vector<std::int32_t>{8, 9}));
  CHECK(ends(R"({"eos_token_id": null, "do_sample": true})") == std::pair(2, std::vector<std::int32_t>{}));
  CHECK(ends("{}") == std::pair(2, std::vector<std::int32_t>{}));
  QAT_CHECK_ERROR(ends(R"({"eos_token_id": "x"})"), "generation_config.json: 'eos_token_id' is \"x\"");
  QAT_CHECK_ERROR(ends("[]"), "generation_config.json: is no object");
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
      {"model_type", "\"mamba\"", "'mamba'", "qwen2 (Qwen2ForCausalLM)"},
      {"model_type", "null", "(missing)", "llama (LlamaForCausalLM)"},
      {"model_type", "\"qwen2\"", "LlamaForCausalLM", "Qwen2ForCausalLM"},
      {"architectures", "[\"LlamaForSequenceClassification\"]", "LlamaForSequenceClassification", "LlamaForCausalLM"},
      {"hidden_act", "\"gelu\"", "'gelu'", "silu"},
      {"attention_bias", "1", "'attention_bias' is 1", "true or false"},
      {"layer_types", "[\"full_attention\",\"sliding_attention\"]", "sliding_attention", "full_attention"},
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
      {"eos_token_id", "[]", "'eos_token_id' is []", "a list of them"},
  };
  for (const auto& c : cases) QAT_CHECK_ERROR(parse(config_with(c.key, c.value)), "config.json", c.found, c.accepted);
}

TEST_CASE("every architecture is written and read back, its configuration and its tensors' bits") {
  for (const test::NamedConfig& named : test::architectures(test::tiny_llama_config())) {
    CAPTURE(named.name);
    const LlamaConfig& config = named.config;
    const TempDir dir;
    const LlamaWeights weights = test::tiny_llama(config);
    write_hf_llama(weights, dir / "m");
    const LlamaWeights back = read_hf_llama(dir / "m");
    CHECK(back.config == config);
    CHECK(test::same_weights(weights, back));
  }
  LlamaConfig windowed = test::tiny_llama_config();
  windowed = with_architecture(windowed, Architecture::kQwen2);
  windowed.window = 3;
  CHECK(parse(hf_llama_config_text(windowed, DType::kF32)) == windowed);
  LlamaConfig odd = test::tiny_llama_config();
  odd.qk_norm = true;
  QAT_CHECK_ERROR(hf_llama_config_text(odd, DType::kF32), "llama checkpoint cannot state", "LlamaForCausalLM");
}

TEST_CASE("options of an architecture that would change what it computes are refused by name") {
  const auto with = [](Architecture architecture, const char* key, const char* value) {
    const LlamaConfig c = with_architecture(test::tiny_llama_config(), architecture);
    Json json = Json::parse(hf_llama_config_text(c, DType::kF32));
    json[key] = Json::parse(value);
    if (json[key].is_null()) json.erase(key);
    return parse(json.dump());
  };
  using A = Architecture;
  CHECK(with(A::kMistral, "sliding_window", "null").window == 4096);  // what transformers takes
  CHECK(with(A::kMistral, "sliding_window", "7").window == 7);
  CHECK(with(A::kGpt2, "n_inner", "null").hidden_dim == 64);
  CHECK(with(A::kGemma, "hidden_activation", "null").activation == Activation::kGeluTanh);
  CHECK(with(A::kQwen2, "use_sliding_window", "true").window == 0);  // no layer has it: max_window_layers is 2 of 2
  QAT_CHECK_ERROR(with(A::kMistral, "sliding_window", "0"), "'sliding_window' is 0", "positive");
  QAT_CHECK_ERROR(with(A::kGpt2, "activation_function", "\"relu\""), "'relu'", "gelu_new, gelu_pytorch_tanh");
  QAT_CHECK_ERROR(with(A::kGpt2, "scale_attn_by_inverse_layer_idx", "true"), "scale_attn_by_inverse_layer_idx",
                  "false");
  QAT_CHECK_ERROR(with(A::kGemma, "hidden_activation", "\"gelu\""), "'hidden_activation' is 'gelu'", "pytorch_tanh");
  QAT_CHECK_ERROR(with(A::kGemma, "use_bidirectional_attention", "true"), "use_bidirectional_attention", "false");
  QAT_CHECK_ERROR(with(A::kQwen3, "layer_types", "[\"sliding_attention\"]"), "sliding_attention", "full_attention");
}

TEST_CASE("a window of some layers is refused") {
  LlamaConfig c = with_architecture(test::tiny_llama_config(), Architecture::kQwen2);
  c.window = 3;
  Json json = Json::parse(hf_llama_config_text(c, DType::kF32));
  json["max_window_layers"] = 1;
  QAT_CHECK_ERROR(parse(json.dump()), "'max_window_layers' is 1 of 2", "accepted: 0");
}

TEST_CASE("GPT-2's old names without prefix and mask buffers are read; a wrong fused shape is named") {
  const TempDir dir;
  const LlamaWeights weights = test::tiny_llama(with_architecture(test::tiny_llama_config(), Architecture::kGpt2));
  write_hf_llama(weights, dir.path());
  std::vector<SafetensorEntry> entries;
  std::vector<float> mask(8 * 8, 1.0f);
  {
    const Safetensors file = Safetensors::open(dir.path());
    std::deque<std::vector<float>> values;
    for (const auto& [name, view] : file.tensors()) {
      values.push_back(view.values<float>(DType::kF32));
      entries.push_back(
          {name.substr(std::string("transformer.").size()), DType::kF32, view.shape, values.back().data()});
    }
    entries.push_back({"h.0.attn.bias", DType::kF32, {1, 1, 8, 8}, mask.data()});
    write_safetensors(dir / "model.safetensors", entries);
    CHECK(test::same_weights(read_hf_llama(dir.path()), weights));
    for (SafetensorEntry& e : entries)
      if (e.name == "h.1.attn.c_attn.weight") std::swap(e.shape[0], e.shape[1]);
    write_safetensors(dir / "model.safetensors", entries);
    QAT_CHECK_ERROR(read_hf_llama(dir.path()), "'h.1.attn.c_attn.weight'", "[48, 16]", "(16, 48)");
  }
}

TEST_CASE("opening a checkpoint of a gigabyte touches none of its weights") {
  const TempDir dir;
  LlamaConfig config = test::tiny_llama_config();
  config.dim = 4096;
  config.head_dim = 1024;
  config.vocab_size = 65536;  // an embedding of 1 GiB
  write_file(dir / "config.json", hf_llama_config_text(config, DType::kF32));
  Json header = {{"__metadata__", {{"format", "pt"}}}};
  std::uint64_t position = 0;
  for (const auto& [name, shape] : llama_tensor_shapes(config)) {
    const std::uint64_t bytes = static_cast<std::uint64_t>(shape.size()) * sizeof(float);
    Json extents = Json::array();
    for (int d = 0; d < shape.rank(); ++d) extents.push_back(shape[d]);
    header[name] = {{"dtype", "F32"}, {"shape", extents}, {"data_offsets", {position, position + bytes}}};
    position += bytes;
  }
  std::string text = header.dump();
  while (text.size() % 8 != 0) text += ' ';
  std::string bytes(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) bytes[i] = static_cast<char>(text.size() >> (8 * i));
  write_file(dir / "model.safetensors", bytes + text);
  std::filesystem::resize_file(dir / "model.safetensors", 8 + text.size() + position);  // a hole: no block on disk
  const HfCheckpoint checkpoint(dir.path());
  CHECK(checkpoint.config() == config);
  CHECK(checkpoint.dtype("model.norm.weight") == DType::kF32);
  const MappedFile file(dir / "model.safetensors");
  REQUIRE(file.size() > std::size_t{1} << 30);
  const std::size_t pages = file.size() / 4096;
  std::vector<unsigned char> resident(pages + 1);
  REQUIRE(::mincore(const_cast<unsigned char*>(file.data()), file.size(), resident.data()) == 0);
  std::size_t count = 0;
  for (const unsigned char page : resident) count += page & 1u;
  CHECK(count < pages / 100);  // the header and what the system reads ahead
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
  write_file(dir / "config.json", config_with("num_hidden_layers", "99999"));  // before a list of their tensors is made
  QAT_CHECK_ERROR(read_with([](auto&) {}), "config.json", "a model of 99999 layers", "tensors");
  std::filesystem::remove(dir / "config.json");
  QAT_CHECK_ERROR(read_hf_llama(dir.path()), "config.json", "accepted");
}

TEST_CASE("checkpoints that transformers wrote are read, and written back with the bytes of every tensor") {
  const auto tiny = test::shared_data("hf-tiny");
  if (!tiny) return;
  for (const char* name : {"llama-tied", "llama-untied-ffn84", "llama-llama3rope-sharded", "llama-bf16",
                           "llama-headdim24", "mistral-window", "qwen2", "qwen3", "gpt2", "gemma"}) {
    CAPTURE(name);
    const std::string folder = (*tiny / name).string();
    const HfCheckpoint checkpoint(folder);
    const LlamaWeights weights = checkpoint.load();
    CHECK(weights.config.dim == 64);
    CHECK_NOTHROW(check_weights(weights, name));
    const TempDir dir;
    write_hf_llama(weights, dir / "m", checkpoint.dtype("model.embed_tokens.weight"));
    const Safetensors before = Safetensors::open(folder), after = Safetensors::open(dir / "m");
    CHECK(before.tensors().size() == after.tensors().size());
    for (const auto& [tensor, view] : before.tensors()) {
      const SafetensorView& written = after.at(tensor);
      CHECK(written.dtype == view.dtype);
      CHECK(written.shape == view.shape);
      CHECK(std::memcmp(written.data, view.data, view.bytes) == 0);
    }
    CHECK(read_hf_llama(dir / "m").config == weights.config);
  }
  CHECK(read_hf_llama((*tiny / "llama-headdim24").string()).config.head_dim == 24);
  CHECK(read_hf_llama((*tiny / "llama-llama3rope-sharded").string()).config.rope.scaling == RopeScaling::kLlama3);
  CHECK(read_hf_llama((*tiny / "mistral-window").string()).config.window == 6);
}
