// Hugging Face checkpoints: a directory with config.json and safetensors weights, sharded or not.
// Source: transformers, configuration_*.py and modeling_rope_utils.py (4.x and 5.x spellings).
#pragma once

#include <string>
#include <vector>

#include "qat/io/hf_architectures.hpp"
#include "qat/io/json.hpp"
#include "qat/io/safetensors.hpp"

namespace qat::inline v0 {

namespace detail {

/// "llama (LlamaForCausalLM), mistral ..." for messages.
inline std::string accepted_architectures() {
  std::string text;
  for (const HfArchitecture& a : hf_architectures())
    text += std::string(text.empty() ? "" : ", ") + a.model_type + " (" + a.class_name + ")";
  return text;
}

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

/// bos_token_id, eos_token_id: an integer or a list, in its order; empty for null, the default where it is absent.
inline std::vector<std::int32_t> parse_token_ids(const Json& config, const char* key, std::int32_t fallback,
                                                 const std::string& source) {
  const auto it = config.find(key);
  if (it == config.end()) return {fallback};
  if (it->is_null()) return {};
  std::vector<std::int32_t> ids;
  for (const Json& value : it->is_array() ? *it : Json::array({*it})) {
    QAT_CHECK(value.is_number_integer() && value.get<std::int64_t>() >= -1 && value.get<std::int64_t>() <= INT32_MAX,
              kBadFile, source, ": '", key, "' is ", json_text(*it), "; accepted: a token id, or a list of them");
    ids.push_back(static_cast<std::int32_t>(value.get<std::int64_t>()));
  }
  QAT_CHECK(!ids.empty(), kBadFile, source, ": '", key, "' is ", json_text(*it),
            "; accepted: a token id, or a list of them");
  return ids;
}

/// The architecture that model_type and architectures name.
inline const HfArchitecture& parse_architecture(const JsonFields& fields) {
  const std::string model_type = fields.string_or("model_type", "(missing)");
  std::string class_name;
  if (fields.find("architectures")) {
    const Json& list = fields.array("architectures");
    class_name = list.size() == 1 && list[0].is_string() ? list[0].get<std::string>() : json_text(list);
  }
  for (const HfArchitecture& a : hf_architectures()) {
    if (model_type != a.model_type) continue;
    QAT_CHECK(class_name.empty() || class_name == a.class_name, kUnsupported, fields.source(), ": 'architectures' is ",
              printable(class_name), "; accepted: ", a.class_name);
    return a;
  }
  raise(ErrorCode::kUnsupported, fields.source(), ": 'model_type' is ", printable(model_type),
        class_name.empty() ? "" : " (" + class_name + ")", "; accepted: ", accepted_architectures());
}

/// Refuses what would make the model compute something else.
inline void check_options(const JsonFields& fields, const HfArchitecture& a) {
  const Json* quantization = fields.find("quantization_config");
  QAT_CHECK(
      quantization == nullptr, kUnsupported, fields.source(), ": 'quantization_config' is ", json_text(*quantization),
      "; accepted: a checkpoint that is not quantized (compressed-tensors and torchao have readers of their own)");
  for (const HfOption& option : a.options) {
    const Json* found = fields.find(option.key);
    QAT_CHECK(found == nullptr || *found == Json::parse(option.accepted), kUnsupported, fields.source(), ": '",
              option.key, "' is ", json_text(*found), "; accepted: ", option.accepted);
  }
  // Gemma's activation has two keys; where only the old one is there, transformers takes the tanh form whatever it
  // says.
  const char* key = fields.find("hidden_activation") ? "hidden_activation" : a.activation;
  if (a.architecture == Architecture::kGemma && fields.find("hidden_activation") == nullptr &&
      fields.string_or("hidden_act", "gelu") == "gelu")
    return;
  const std::string activation = fields.string_or(key, a.activations[0]);
  std::string accepted;
  bool known = false;
  for (const char* name : a.activations) {
    known = known || activation == name;
    accepted += std::string(accepted.empty() ? "" : ", ") + name;
  }
  QAT_CHECK(known, kUnsupported, fields.source(), ": '", key, "' is ", printable(activation), "; accepted: ", accepted);
}

/// Tokens that each sees, 0 for all before it. One window for all layers.
inline index_t parse_window(const Json& json, const JsonFields& fields, const LlamaConfig& c) {
  index_t window = fields.integer_or("sliding_window", 0);
  QAT_CHECK(fields.find("sliding_window") == nullptr || window > 0, kBadFile, fields.source(), ": 'sliding_window' is ",
            window, "; accepted: a positive number of tokens, or null");
  if (c.architecture == Architecture::kMistral && !json.contains("sliding_window")) window = 4096;
  if (c.architecture == Architecture::kQwen2 || c.architecture == Architecture::kQwen3) {
    const index_t first = fields.integer_or("max_window_layers", 28);
    if (!fields.boolean_or("use_sliding_window", false) || first >= c.n_layers) window = 0;
    QAT_CHECK(window == 0 || first == 0, kUnsupported, fields.source(), ": 'max_window_layers' is ", first, " of ",
              c.n_layers, " layers; accepted: 0, or all of them: every layer the same");
  }
  if (fields.find("layer_types") == nullptr) return window;
  const char* const wanted = window > 0 ? "sliding_attention" : "full_attention";
  for (const Json& type : fields.array("layer_types"))
    QAT_CHECK(type == wanted, kUnsupported, fields.source(), ": 'layer_types' has ", json_text(type),
              "; accepted: ", wanted, " for every layer");
  return window;
}

}  // namespace detail

/// Parses config.json (`source` names it in errors); refuses everything that would load wrongly.
inline LlamaConfig parse_hf_llama_config(const Json& json, const std::string& source) {
  const JsonFields fields(json, source);
  const HfArchitecture& a = detail::parse_architecture(fields);
  detail::check_options(fields, a);
  LlamaConfig c;
  c.dim = fields.integer(a.dim);
  c.n_layers = fields.integer(a.layers);
  c.n_heads = fields.integer(a.heads);
  c.n_kv_heads = fields.integer_or("num_key_value_heads", c.n_heads);
  c = with_architecture(c, a.architecture);
  const bool derived = c.learned_positions && fields.find(a.hidden_dim) == nullptr;  // n_inner null: four times n_embd
  c.hidden_dim = derived ? 4 * c.dim : fields.integer(a.hidden_dim);
  if (fields.find("head_dim")) {
    c.head_dim = fields.integer("head_dim");
  } else if (a.default_head_dim > 0) {
    c.head_dim = a.default_head_dim;
  } else {
    QAT_CHECK(c.n_heads > 0 && c.dim % c.n_heads == 0, kBadFile, source, ": '", a.dim, "' is ", c.dim, " and '",
              a.heads, "' ", c.n_heads, "; accepted without 'head_dim': a multiple");
    c.head_dim = c.dim / c.n_heads;
  }
  c.vocab_size = fields.integer("vocab_size");
  c.max_seq_len = fields.integer_or(a.positions, a.default_positions);
  c.norm_eps = static_cast<float>(fields.number_or(a.eps, a.default_eps));
  if (!c.learned_positions) {
    c.rope = detail::parse_rope(fields);
    c.window = detail::parse_window(json, fields, c);
    // Mistral and Qwen2 have no such keys.
    if (c.architecture != Architecture::kMistral && c.architecture != Architecture::kQwen2 &&
        fields.boolean_or("attention_bias", false))
      c.qkv_bias = c.out_bias = true;
    if (c.architecture == Architecture::kLlama) c.mlp_bias = fields.boolean_or("mlp_bias", false);
  }
  c.tied = fields.boolean_or("tie_word_embeddings", a.default_tied);
  const std::vector<std::int32_t> bos = detail::parse_token_ids(json, "bos_token_id", a.default_bos, source);
  c.bos_id = bos.empty() ? -1 : bos.front();
  c.eos_id = -1;
  for (const std::int32_t id : detail::parse_token_ids(json, "eos_token_id", a.default_eos, source)) c.add_eos(id);
  check_config(c, source);
  return c;
}

/// quant_method of a directory's config.json; "" where it has none.
inline std::string quantization_method(const std::string& directory) {
  const std::string path = join_path(directory, "config.json");
  if (!is_directory(directory) || !file_exists(path)) return "";
  const Json json = read_json(path);
  const Json* quantization = json.is_object() ? find_member(json, "quantization_config") : nullptr;
  const Json* method =
      quantization != nullptr && quantization->is_object() ? find_member(*quantization, "quant_method") : nullptr;
  return method != nullptr && method->is_string() ? method->get<std::string>() : "";
}

/// An open checkpoint directory: configuration, names, shapes and types are checked; weights are read when asked for.
class HfCheckpoint {
 public:
  explicit HfCheckpoint(const std::string& directory) : directory_(directory) {
    const std::string config_path = join_path(directory, "config.json");
    QAT_CHECK(file_exists(config_path), kBadFile, directory,
              ": has no config.json; accepted: a Hugging Face directory with config.json and model.safetensors (or "
              "model.safetensors.index.json with its shards)");
    config_ = parse_hf_llama_config(read_json(config_path), config_path);
    add_generation_config(join_path(directory, "generation_config.json"));
    file_ = Safetensors::open(directory);
    QAT_CHECK(config_.n_layers <= static_cast<index_t>(file_.tensors().size()), kBadFile, config_path,
              ": describes a model of ", config_.n_layers, " layers, the checkpoint has ", file_.tensors().size(),
              " tensors");
    shapes_ = llama_tensor_shapes(config_);
    const HfArchitecture& a = hf_architecture(config_.architecture);
    std::map<std::string_view, bool> known;
    for (const HfStoredTensor& stored : hf_stored_tensors(config_)) {
      const SafetensorView* view = file_.find(stored.name);
      if (view == nullptr && stored.name.starts_with(a.prefix)) view = file_.find(stored.name.substr(a.prefix.size()));
      QAT_CHECK(view != nullptr, kBadFile, directory, ": tensor ", printable(stored.name), " is missing",
                stored.name == "lm_head.weight" ? "; config.json says tie_word_embeddings false" : "");
      check_stored(stored, *view);
      known[view->name] = true;
    }
    for (const auto& [name, view] : file_.tensors()) {
      bool buffer = name == "lm_head.weight" && config_.tied;  // compared with the embedding by load()
      for (const std::string_view end : a.buffers) buffer = buffer || name.ends_with(end);
      if (buffer || known.contains(name)) continue;
      raise(ErrorCode::kBadFile, view.file, ": tensor ", printable(name), " is not part of the model config.json ",
            "describes (", a.model_type, ", ", config_.n_layers, " layers, ", config_.tied ? "tied" : "untied",
            " embeddings)");
    }
  }

  const LlamaConfig& config() const { return config_; }
  const std::map<std::string, Shape>& shapes() const { return shapes_; }
  /// The type that the file stores a tensor of the model in.
  DType dtype(const std::string& role) const { return parts_.at(role).view->dtype; }

  /// The type of all of them where there is one; else F32, which holds each.
  DType common_dtype() const {
    const DType first = parts_.begin()->second.view->dtype;
    for (const auto& [role, part] : parts_)
      if (part.view->dtype != first) return DType::kF32;
    return first;
  }

  /// A tensor of the model in fp32, under the name that nn::Transformer gives it. Reading it throws qat::Error
  /// (kBadFile), naming the element, where one is not finite.
  FloatRows rows(const std::string& role) const {
    const auto found = parts_.find(role);
    QAT_CHECK(found != parts_.end(), kInvalidArgument, directory_, ": has no tensor ", printable(role));
    const Part& part = found->second;
    FloatRows rows{shapes_.at(role), {}};
    if (!part.transposed || rows.shape.rank() == 1) {
      rows.read = [&part, columns = rows.columns()](index_t row, index_t count, float* out) {
        part.view->to_float(part.first_row * part.columns + row * columns, count * columns, out);
      };
    } else {
      rows.read = [&part](index_t row, index_t count, float* out) {
        std::vector<float> outputs(static_cast<std::size_t>(count));  // of one input
        for (index_t c = 0; c < part.columns; ++c) {
          part.view->to_float(c * part.stored_rows + part.first_row + row, count, outputs.data());
          for (index_t r = 0; r < count; ++r) out[r * part.columns + c] = outputs[static_cast<std::size_t>(r)];
        }
      };
    }
    return checked(std::move(rows), part.view->name, part.view->file);
  }
  Tensor<float> tensor(const std::string& role) const { return rows(role).tensor(); }

  /// All of them. A head that is tied and stored all the same must be the embedding.
  LlamaWeights load() const {
    LlamaWeights weights{config_, {}};
    for (const auto& [role, part] : parts_) weights.tensors.emplace(role, tensor(role));
    if (const SafetensorView* head = file_.find("lm_head.weight"); head != nullptr && config_.tied) {
      const SafetensorView& embedding = *parts_.at("model.embed_tokens.weight").view;
      const bool same = head->dtype == embedding.dtype && head->bytes == embedding.bytes &&
                        std::memcmp(head->data, embedding.data, head->bytes) == 0;
      QAT_CHECK(same, kBadFile, head->file, ": tensor 'lm_head.weight' differs from ", printable(embedding.name),
                " but config.json says tie_word_embeddings true");
    }
    return weights;
  }

 private:
  /// Where a tensor of the model lies: rows [first_row, first_row + rows) of a stored one of stored_rows outputs.
  struct Part {
    const SafetensorView* view;
    index_t first_row, rows, columns, stored_rows;
    bool transposed;
  };

  /// generation_config.json may name tokens that end a text beside those of config.json.
  void add_generation_config(const std::string& path) {
    if (!file_exists(path)) return;
    const Json json = read_json(path);
    QAT_CHECK(json.is_object(), kBadFile, path, ": is no object; accepted: {\"eos_token_id\": ...}");
    for (const std::int32_t id : detail::parse_token_ids(json, "eos_token_id", -1, path)) config_.add_eos(id);
  }

  void check_stored(const HfStoredTensor& stored, const SafetensorView& view) {
    QAT_CHECK(view.dtype == DType::kF32 || view.dtype == DType::kF16 || view.dtype == DType::kBF16, kUnsupported,
              view.file, ": tensor ", printable(view.name), " is ", info(view.dtype).name,
              "; accepted: F32, F16, BF16");
    const Shape& first = shapes_.at(stored.roles.front());
    const index_t columns = first.rank() == 2 ? first[1] : 1;
    index_t rows = 0;
    for (const std::string& role : stored.roles) {
      const Shape& shape = shapes_.at(role);
      parts_[role] = {&view, rows, shape[0], columns, 0, stored.transposed};
      rows += shape[0];
    }
    for (const std::string& role : stored.roles) parts_.at(role).stored_rows = rows;
    const Shape wanted = hf_stored_shape(stored, shapes_);
    QAT_CHECK(same_extents(view.shape, wanted), kShapeMismatch, view.file, ": tensor ", printable(view.name),
              " has shape ", shape_text(view.shape), "; config.json asks for ", to_string(wanted));
  }

  std::string directory_;
  LlamaConfig config_;
  Safetensors file_;
  std::map<std::string, Shape> shapes_;
  std::map<std::string, Part> parts_;  // by role
};

/// Reads a checkpoint directory into fp32.
inline LlamaWeights read_hf_llama(const std::string& directory) { return HfCheckpoint(directory).load(); }

namespace detail {
/// Keys of rotary positions in both spellings.
inline void add_rope(nlohmann::ordered_json& json, const RopeConfig& rope) {
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
  json["rope_parameters"] = parameters;
  json["rope_scaling"] = scaling;
  json["rope_theta"] = rope.theta;
}
/// The keys that not every architecture has.
inline void add_own_keys(nlohmann::ordered_json& json, const LlamaConfig& c) {
  using A = Architecture;
  const auto window = c.window > 0 ? nlohmann::ordered_json(c.window) : nlohmann::ordered_json();
  if (c.architecture != A::kMistral && c.architecture != A::kQwen2 && c.architecture != A::kGpt2)
    json["attention_bias"] = c.out_bias;
  if (c.architecture == A::kLlama) json["mlp_bias"] = c.mlp_bias;
  if (c.architecture == A::kGemma) json["hidden_activation"] = json["hidden_act"];
  if (c.architecture == A::kMistral) json["sliding_window"] = window;
  if (c.architecture == A::kQwen2 || c.architecture == A::kQwen3) {
    json["max_window_layers"] = c.window > 0 ? 0 : c.n_layers;
    json["sliding_window"] = window;
    json["use_sliding_window"] = c.window > 0;
  }
  if (c.architecture == A::kGpt2) return;
  json["head_dim"] = c.head_dim;
  json["num_key_value_heads"] = c.n_kv_heads;
  add_rope(json, c.rope);
}
}  // namespace detail

/// config.json in the spellings of transformers 4 and 5 at once.
/// @throws qat::Error (kUnsupported) if the architecture's file cannot state this configuration
inline std::string hf_llama_config_text(const LlamaConfig& c, DType dtype) {
  const char* dtype_name = dtype == DType::kBF16 ? "bfloat16" : dtype == DType::kF16 ? "float16" : "float32";
  const HfArchitecture& a = hf_architecture(c.architecture);
  const auto token_id = [](std::int32_t id) { return id < 0 ? nlohmann::ordered_json() : nlohmann::ordered_json(id); };
  nlohmann::ordered_json eos = token_id(c.eos_id);
  if (!c.more_eos_ids.empty()) {
    eos = {c.eos_id};
    for (const std::int32_t id : c.more_eos_ids) eos.push_back(id);
  }
  nlohmann::ordered_json keys = {
      {"model_type", a.model_type}, {"bos_token_id", token_id(c.bos_id)}, {"dtype", dtype_name},
      {"eos_token_id", eos},        {a.activation, a.activations[0]},     {a.dim, c.dim},
      {a.hidden_dim, c.hidden_dim}, {a.positions, c.max_seq_len},         {a.heads, c.n_heads},
      {a.layers, c.n_layers},       {a.eps, shortest_double(c.norm_eps)}, {"tie_word_embeddings", c.tied},
      {"torch_dtype", dtype_name},  {"vocab_size", c.vocab_size}};
  detail::add_own_keys(keys, c);
  QAT_CHECK(
      parse_hf_llama_config(Json::parse(keys.dump()), "config.json") == c, kUnsupported, "config.json: a ",
      a.model_type,
      " checkpoint cannot state this model's form (biases, window, norms, activation or positions); accepted: what "
      "with_architecture() gives, with the options of ",
      a.class_name);
  nlohmann::ordered_json json = {{"architectures", nlohmann::ordered_json::array({a.class_name})}};
  const std::map<std::string, nlohmann::ordered_json> sorted =
      keys.get<std::map<std::string, nlohmann::ordered_json>>();
  for (const auto& [key, value] : sorted) json[key] = value;
  return json.dump(2) + "\n";
}

namespace detail {
/// The values of a stored tensor in fp32, in the file's order and shape.
inline Tensor<float> stored_values(const HfStoredTensor& stored, const Shape& shape, const WeightSource& weights) {
  Tensor<float> values = Tensor<float>::uninitialized(shape);
  const index_t outputs = shape[stored.transposed ? shape.rank() - 1 : 0], columns = shape.size() / outputs;
  index_t row = 0;
  for (const std::string& role : stored.roles)
    weights.rows(role).for_each([&](const float* part, index_t n) {
      for (index_t end = row + n / columns; row < end; ++row)
        for (index_t c = 0; c < columns; ++c)
          values[stored.transposed ? c * outputs + row : row * columns + c] = *part++;
    });
  return values;
}
}  // namespace detail

/// Writes model.safetensors, then config.json, into `directory` (created when absent); each file appears completely or
/// not at all. Tensors pass through memory in pieces; one
/// that the file holds transposed, or several in one, is made whole. `dtype`: F32 (exact), or F16 or BF16 (rounded half
/// to even).
inline void write_hf_llama(const WeightSource& weights, const std::string& directory, DType dtype = DType::kF32) {
  check_config(weights.config, directory);
  QAT_CHECK(dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16, kUnsupported, directory, ": dtype ",
            info(dtype).name, "; accepted: F32, F16, BF16");
  const std::string config_text = hf_llama_config_text(weights.config, dtype);
  make_directory(directory);
  const std::string index = join_path(directory, "model.safetensors.index.json");
  QAT_CHECK(!file_exists(index), kInvalidArgument, directory,
            ": holds a sharded checkpoint; accepted: a new or unsharded directory");
  const std::map<std::string, Shape> shapes = llama_tensor_shapes(weights.config);
  std::vector<SafetensorEntry> entries;
  for (const HfStoredTensor& stored : hf_stored_tensors(weights.config)) {
    const Shape shape = hf_stored_shape(stored, shapes);
    if (stored.roles.size() == 1 && !stored.transposed) {
      entries.push_back(float_entry(stored.name, dtype, weights.rows(stored.roles.front())));
      continue;
    }
    entries.push_back(float_entry(stored.name, dtype, {shape, {}}));
    entries.back().write = [&weights, stored, shape, dtype](const ByteSink& sink) {
      const Tensor<float> values = detail::stored_values(stored, shape, weights);
      write_floats(values.data(), values.size(), dtype, sink);
    };
  }
  write_safetensors(join_path(directory, "model.safetensors"), std::move(entries));
  write_file(join_path(directory, "config.json"), config_text);
}

/// The same of weights in memory.
inline void write_hf_llama(const LlamaWeights& weights, const std::string& directory, DType dtype = DType::kF32) {
  check_weights(weights, directory);
  write_hf_llama(borrowed(weights), directory, dtype);
}

}  // namespace qat::inline v0
