// Hugging Face Llama checkpoints: a directory with config.json and safetensors weights, sharded or not.
// Source: transformers, configuration_llama.py and modeling_rope_utils.py (4.x and 5.x spellings).
#pragma once

#include <string>

#include "qat/io/json.hpp"
#include "qat/io/llama_weights.hpp"
#include "qat/io/safetensors.hpp"

namespace qat::inline v0 {

namespace detail {

inline constexpr const char* kAcceptedLlama =
    "model_type llama (LlamaForCausalLM), hidden_act silu, no biases, rope_type default, linear or llama3, weights "
    "F32, "
    "F16 or BF16 and not quantized";

/// rope_theta and rope_scaling (transformers 4) or rope_parameters (5), whichever is there.
inline RopeConfig parse_rope(const JsonFields& config) {
  RopeConfig rope;
  rope.theta = config.number_or("rope_theta", 10000.0);
  const auto parse = [&](const char* key) {
    const Json* object = config.find(key);
    if (object == nullptr) return;
    const JsonFields fields(*object, config.source() + ": '" + key + "'");
    if (object->empty()) return;
    if (fields.find("rope_theta")) {
      const double theta = fields.number("rope_theta");
      QAT_CHECK(!config.find("rope_theta") || theta == rope.theta, kBadFile, fields.source(), ": 'rope_theta' is ",
                theta, " but ", rope.theta, " outside; accepted: one value");
      rope.theta = theta;
    }
    const char* type_key = fields.find("rope_type") ? "rope_type" : "type";
    const std::string type = fields.string_or(type_key, object->contains("factor") ? "(missing)" : "default");
    if (type == "default") {
      rope.scaling = RopeScaling::kNone;
    } else if (type == "linear") {
      rope.scaling = RopeScaling::kLinear;
      rope.factor = fields.number("factor");
    } else if (type == "llama3") {
      rope.scaling = RopeScaling::kLlama3;
      rope.factor = fields.number("factor");
      rope.low_freq_factor = fields.number("low_freq_factor");
      rope.high_freq_factor = fields.number("high_freq_factor");
      rope.original_max_position_embeddings = fields.integer("original_max_position_embeddings");
    } else {
      raise(ErrorCode::kUnsupported, fields.source(), ": '", type_key, "' is ", printable(type),
            "; accepted: default, linear, llama3");
    }
    const double partial = fields.number_or("partial_rotary_factor", 1.0);
    QAT_CHECK(partial == 1.0, kUnsupported, fields.source(), ": 'partial_rotary_factor' is ", partial, "; accepted: 1");
  };
  parse("rope_scaling");
  parse("rope_parameters");
  return rope;
}

/// bos_token_id, eos_token_id: an integer, a list (its first is taken), or absent or null (the default; -1 for null).
inline std::int32_t parse_token_id(const Json& config, const char* key, std::int32_t fallback,
                                   const JsonFields& fields) {
  const auto it = config.find(key);
  if (it == config.end()) return fallback;
  if (it->is_null()) return -1;
  const Json& value = it->is_array() && !it->empty() ? it->front() : *it;
  QAT_CHECK(value.is_number_integer() && value.get<std::int64_t>() >= -1 && value.get<std::int64_t>() <= INT32_MAX,
            kBadFile, fields.source(), ": '", key, "' is ", json_text(*it),
            "; accepted: a token id, or a list of them");
  return static_cast<std::int32_t>(value.get<std::int64_t>());
}

}  // namespace detail

/// Parses config.json (`source` names it in errors); refuses everything that would load wrongly.
inline LlamaConfig parse_hf_llama_config(const Json& json, const std::string& source) {
  const JsonFields fields(json, source);
  const std::string model_type = fields.string_or("model_type", "(missing)");
  std::string architecture;
  if (fields.find("architectures")) {
    const Json& list = fields.array("architectures");
    architecture = list.size() == 1 && list[0].is_string() ? list[0].get<std::string>() : json_text(list);
  }
  QAT_CHECK(model_type == "llama", kUnsupported, source, ": 'model_type' is ", printable(model_type),
            architecture.empty() ? "" : " (" + architecture + ")", "; accepted: ", detail::kAcceptedLlama);
  QAT_CHECK(architecture.empty() || architecture == "LlamaForCausalLM", kUnsupported, source, ": 'architectures' is ",
            printable(architecture), "; accepted: ", detail::kAcceptedLlama);
  const std::string activation = fields.string_or("hidden_act", "silu");
  QAT_CHECK(activation == "silu", kUnsupported, source, ": 'hidden_act' is ", printable(activation),
            "; accepted: silu");
  for (const char* key : {"attention_bias", "mlp_bias"})
    QAT_CHECK(!fields.boolean_or(key, false), kUnsupported, source, ": '", key, "' is true; accepted: false");
  const Json* quantization = fields.find("quantization_config");
  QAT_CHECK(quantization == nullptr, kUnsupported, source, ": 'quantization_config' is ", json_text(*quantization),
            "; accepted: a checkpoint that is not quantized");
  const Json* window = fields.find("sliding_window");
  QAT_CHECK(window == nullptr, kUnsupported, source, ": 'sliding_window' is ", json_text(*window), "; accepted: null");
  const double partial = fields.number_or("partial_rotary_factor", 1.0);
  QAT_CHECK(partial == 1.0, kUnsupported, source, ": 'partial_rotary_factor' is ", partial, "; accepted: 1");

  LlamaConfig c;
  c.dim = fields.integer("hidden_size");
  c.hidden_dim = fields.integer("intermediate_size");
  c.n_layers = fields.integer("num_hidden_layers");
  c.n_heads = fields.integer("num_attention_heads");
  c.n_kv_heads = fields.integer_or("num_key_value_heads", c.n_heads);
  if (fields.find("head_dim")) {
    c.head_dim = fields.integer("head_dim");
  } else {
    QAT_CHECK(c.n_heads > 0 && c.dim % c.n_heads == 0, kBadFile, source, ": 'hidden_size' is ", c.dim,
              " and 'num_attention_heads' ", c.n_heads, "; accepted without 'head_dim': a multiple");
    c.head_dim = c.dim / c.n_heads;
  }
  c.vocab_size = fields.integer("vocab_size");
  c.max_seq_len = fields.integer_or("max_position_embeddings", 2048);
  c.norm_eps = static_cast<float>(fields.number_or("rms_norm_eps", 1e-6));
  c.rope = detail::parse_rope(fields);
  c.tied = fields.boolean_or("tie_word_embeddings", false);
  c.bos_id = detail::parse_token_id(json, "bos_token_id", 1, fields);
  c.eos_id = detail::parse_token_id(json, "eos_token_id", 2, fields);
  check_config(c, source);
  return c;
}

/// Reads a checkpoint directory into fp32.
inline LlamaWeights read_hf_llama(const std::string& directory) {
  const std::string config_path = join_path(directory, "config.json");
  QAT_CHECK(file_exists(config_path), kBadFile, directory,
            ": has no config.json; accepted: a Hugging Face Llama directory with "
            "config.json and model.safetensors (or model.safetensors.index.json with its shards)");
  LlamaWeights weights;
  weights.config = parse_hf_llama_config(read_json(config_path), config_path);
  const LlamaConfig& c = weights.config;
  const Safetensors file = Safetensors::open(directory);
  const auto shapes = llama_tensor_shapes(c);

  for (const auto& [name, view] : file.tensors()) {
    if (shapes.contains(name) || name.ends_with(".rotary_emb.inv_freq")) continue;
    if (name == "lm_head.weight" && c.tied) continue;  // compared with the embedding below
    raise(ErrorCode::kBadFile, view.file, ": tensor ", printable(name),
          " is not part of the model config.json describes (", c.n_layers, " layers, ", c.tied ? "tied" : "untied",
          " embeddings, no biases)");
  }
  for (const auto& [name, shape] : shapes) {
    const SafetensorView* view = file.find(name);
    QAT_CHECK(view != nullptr, kBadFile, directory, ": tensor ", printable(name), " is missing",
              name == "lm_head.weight" ? "; config.json says tie_word_embeddings false" : "");
    QAT_CHECK(view->dtype == DType::kF32 || view->dtype == DType::kF16 || view->dtype == DType::kBF16, kUnsupported,
              view->file, ": tensor ", printable(name), " is ", info(view->dtype).name, "; accepted: F32, F16, BF16");
    bool same = static_cast<int>(view->shape.size()) == shape.rank();
    for (int d = 0; same && d < shape.rank(); ++d) same = view->shape[static_cast<std::size_t>(d)] == shape[d];
    QAT_CHECK(same, kShapeMismatch, view->file, ": tensor ", printable(name), " has shape ", shape_text(view->shape),
              "; config.json asks for ", to_string(shape));
    Tensor<float> tensor = view->to_tensor();
    check_finite(tensor, name, view->file);
    weights.tensors.emplace(name, std::move(tensor));
  }
  if (const SafetensorView* head = file.find("lm_head.weight"); head != nullptr && c.tied) {
    const SafetensorView& embedding = file.at("model.embed_tokens.weight");
    const bool same = head->dtype == embedding.dtype && head->bytes == embedding.bytes &&
                      std::memcmp(head->data, embedding.data, head->bytes) == 0;
    QAT_CHECK(same, kBadFile, head->file,
              ": tensor 'lm_head.weight' differs from 'model.embed_tokens.weight' but config.json says "
              "tie_word_embeddings true");
  }
  return weights;
}

/// config.json in the spellings of transformers 4 and 5 at once.
inline std::string hf_llama_config_text(const LlamaConfig& c, DType dtype) {
  const char* dtype_name = dtype == DType::kBF16 ? "bfloat16" : dtype == DType::kF16 ? "float16" : "float32";
  const RopeConfig& rope = c.rope;
  nlohmann::ordered_json scaling = nullptr, parameters = {{"rope_theta", rope.theta}, {"rope_type", "default"}};
  if (rope.scaling != RopeScaling::kNone) {
    scaling = {{"rope_type", rope.scaling == RopeScaling::kLinear ? "linear" : "llama3"}, {"factor", rope.factor}};
    if (rope.scaling == RopeScaling::kLlama3) {
      scaling["low_freq_factor"] = rope.low_freq_factor;
      scaling["high_freq_factor"] = rope.high_freq_factor;
      scaling["original_max_position_embeddings"] = rope.original_max_position_embeddings;
    }
    parameters.update(scaling);
  }
  const auto token_id = [](std::int32_t id) { return id < 0 ? nlohmann::ordered_json() : nlohmann::ordered_json(id); };
  nlohmann::ordered_json json = {{"architectures", nlohmann::ordered_json::array({"LlamaForCausalLM"})},
                                 {"model_type", "llama"},
                                 {"attention_bias", false},
                                 {"bos_token_id", token_id(c.bos_id)},
                                 {"dtype", dtype_name},
                                 {"eos_token_id", token_id(c.eos_id)},
                                 {"head_dim", c.head_dim},
                                 {"hidden_act", "silu"},
                                 {"hidden_size", c.dim},
                                 {"intermediate_size", c.hidden_dim},
                                 {"max_position_embeddings", c.max_seq_len},
                                 {"mlp_bias", false},
                                 {"num_attention_heads", c.n_heads},
                                 {"num_hidden_layers", c.n_layers},
                                 {"num_key_value_heads", c.n_kv_heads},
                                 {"rms_norm_eps", shortest_double(c.norm_eps)},
                                 {"rope_parameters", parameters},
                                 {"rope_scaling", scaling},
                                 {"rope_theta", rope.theta},
                                 {"tie_word_embeddings", c.tied},
                                 {"torch_dtype", dtype_name},
                                 {"vocab_size", c.vocab_size}};
  return json.dump(2) + "\n";
}

/// Writes model.safetensors, then config.json, into `directory` (created when absent); each file appears completely or
/// not at all. `dtype`: F32 (exact), or F16 or BF16 (rounded half to even).
inline void write_hf_llama(const LlamaWeights& weights, const std::string& directory, DType dtype = DType::kF32) {
  check_weights(weights, directory);
  QAT_CHECK(dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16, kUnsupported, directory, ": dtype ",
            info(dtype).name, "; accepted: F32, F16, BF16");
  make_directory(directory);
  const std::string index = join_path(directory, "model.safetensors.index.json");
  QAT_CHECK(!file_exists(index), kInvalidArgument, directory,
            ": holds a sharded checkpoint; accepted: a new or unsharded directory");
  std::vector<SafetensorEntry> entries;
  std::deque<std::vector<std::uint16_t>> rounded;
  for (const auto& [name, tensor] : weights.tensors) {
    SafetensorEntry entry{name, dtype, {}, tensor.data()};
    for (int d = 0; d < tensor.rank(); ++d) entry.shape.push_back(tensor.dim(d));
    if (dtype != DType::kF32) {
      std::vector<std::uint16_t>& bits = rounded.emplace_back();
      bits.reserve(static_cast<std::size_t>(tensor.size()));
      for (const float value : tensor) bits.push_back(dtype == DType::kF16 ? half(value).bits : bfloat16(value).bits);
      entry.data = bits.data();
    }
    entries.push_back(std::move(entry));
  }
  write_safetensors(join_path(directory, "model.safetensors"), std::move(entries));
  write_file(join_path(directory, "config.json"), hf_llama_config_text(weights.config, dtype));
}

}  // namespace qat::inline v0
