// Checkpoints in GGUF: names and keys of llama.cpp, and reading one into fp32.
// Source: llama.cpp, src/llama-arch.cpp (names), src/llama-model.cpp (keys) and convert_hf_to_gguf.py (order of rows).
#pragma once

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "qat/io/gguf.hpp"
#include "qat/io/llama_weights.hpp"
#include "qat/io/safetensors.hpp"  // shape_text, shortest_double

namespace qat::inline v0 {

namespace detail {

struct GgufModuleName {
  const char* gguf;
  const char* module;
};
inline constexpr GgufModuleName kGgufModules[] = {{"token_embd", "model.embed_tokens"},
                                                  {"position_embd", "model.embed_positions"},
                                                  {"output_norm", "model.norm"},
                                                  {"output", "lm_head"}};
inline constexpr GgufModuleName kGgufBlockModules[] = {
    {"attn_norm", "input_layernorm"},    {"attn_q", "self_attn.q_proj"},      {"attn_k", "self_attn.k_proj"},
    {"attn_v", "self_attn.v_proj"},      {"attn_output", "self_attn.o_proj"}, {"ffn_norm", "post_attention_layernorm"},
    {"ffn_gate", "mlp.gate_proj"},       {"ffn_up", "mlp.up_proj"},           {"ffn_down", "mlp.down_proj"},
    {"attn_q_norm", "self_attn.q_norm"}, {"attn_k_norm", "self_attn.k_norm"}};
/// Modules of one name are stacked along the outputs, in this order.
inline constexpr GgufModuleName kGgufGpt2BlockModules[] = {
    {"attn_norm", "input_layernorm"}, {"attn_qkv", "self_attn.q_proj"},    {"attn_qkv", "self_attn.k_proj"},
    {"attn_qkv", "self_attn.v_proj"}, {"attn_output", "self_attn.o_proj"}, {"ffn_norm", "post_attention_layernorm"},
    {"ffn_up", "mlp.up_proj"},        {"ffn_down", "mlp.down_proj"}};

/// Families of models and how a file spells them.
struct GgufArchitecture {
  Architecture architecture;
  const char* name;
  bool interleaved = false;  ///< rows of q_proj and k_proj: pairs (2i, 2i + 1) of each head
  bool untied = true;        ///< llama.cpp takes a head of its own
  const char* eps = "attention.layer_norm_rms_epsilon";
  std::span<const GgufModuleName> modules = kGgufBlockModules;  ///< of a block
};
/// A name's first row is what a file of that name is read as.
inline constexpr GgufArchitecture kGgufArchitectures[] = {
    {Architecture::kLlama, "llama", true},
    {Architecture::kMistral, "llama", true},
    {Architecture::kQwen2, "qwen2"},
    {Architecture::kQwen3, "qwen3"},
    {Architecture::kGemma, "gemma", false, false},
    {Architecture::kGpt2, "gpt2", false, true, "attention.layer_norm_epsilon", kGgufGpt2BlockModules}};
inline constexpr const char* kAcceptedGguf = "llama (Mistral without a window too), qwen2, qwen3, gemma, gpt2";

inline const GgufArchitecture& gguf_architecture(Architecture architecture) {
  for (const GgufArchitecture& entry : kGgufArchitectures)
    if (entry.architecture == architecture) return entry;
  raise(ErrorCode::kInvalidArgument, "gguf_architecture: unknown value ", static_cast<int>(architecture));
}

/// Refuses models that llama.cpp would compute otherwise under their family's name.
inline void check_gguf_form(const LlamaConfig& c, const std::string& source) {
  const GgufArchitecture& entry = gguf_architecture(c.architecture);
  QAT_CHECK(c.window == 0 || c.window >= c.max_seq_len, kUnsupported, source, ": sliding_window is ", c.window,
            " in a context of ", c.max_seq_len, "; llama.cpp knows no window for '", entry.name,
            "' and lets a token see all before it; accepted: none, or a context (max_position_embeddings) of at most ",
            c.window);
  QAT_CHECK(
      has_form_of(c, c.architecture), kUnsupported, source, ": '", entry.name,
      "' in GGUF cannot state this model's form (biases, norms, activation or positions); accepted: ", kAcceptedGguf);
  QAT_CHECK(c.tied || entry.untied, kUnsupported, source, ": the head is not the embedding; accepted for '", entry.name,
            "' in GGUF: one table for both");
}

inline constexpr const char* kGgufRopeFactors = "rope_freqs.weight";
/// [factor, low_freq_factor, high_freq_factor, original context]: what the divisors came from. llama.cpp ignores it.
inline constexpr const char* kGgufLlama3Rope = "qat.rope.llama3";

/// What llama3's rule divides each inverse frequency by; head_dim / 2 of them.
inline std::vector<float> llama3_rope_divisors(const RopeConfig& rope, index_t head_dim) {
  std::vector<float> out;
  const double low = static_cast<double>(rope.original_max_position_embeddings) / rope.low_freq_factor;
  const double high = static_cast<double>(rope.original_max_position_embeddings) / rope.high_freq_factor;
  for (index_t i = 0; i < head_dim / 2; ++i) {
    const double wavelength = 2.0 * 3.14159265358979323846 *
                              std::pow(rope.theta, 2.0 * static_cast<double>(i) / static_cast<double>(head_dim));
    double divisor = 1.0;
    if (wavelength > low) {
      divisor = rope.factor;
    } else if (wavelength >= high) {
      const double smooth =
          (static_cast<double>(rope.original_max_position_embeddings) / wavelength - rope.low_freq_factor) /
          (rope.high_freq_factor - rope.low_freq_factor);
      divisor = 1.0 / ((1.0 - smooth) / rope.factor + smooth);
    }
    out.push_back(static_cast<float>(divisor));
  }
  return out;
}

/// The llama3 scaling that gives the divisors of a file: its own statement of it, or the published ones.
inline RopeConfig llama3_rope_of(const Gguf& file, RopeConfig rope, index_t head_dim) {
  const GgufTensor& tensor = file.tensor(kGgufRopeFactors);
  QAT_CHECK(tensor.size() == head_dim / 2, kShapeMismatch, file.path(), ": tensor '", kGgufRopeFactors, "' has ",
            tensor.size(), " elements; accepted: half of head_dim ", head_dim);
  std::vector<float> divisors(static_cast<std::size_t>(tensor.size()));
  tensor.to_float(divisors.data());
  std::vector<RopeConfig> candidates;
  const auto candidate = [&](double factor, double low, double high, double context) {
    RopeConfig c = rope;
    c.scaling = RopeScaling::kLlama3;
    c.factor = factor;
    c.low_freq_factor = low;
    c.high_freq_factor = high;
    c.original_max_position_embeddings = static_cast<index_t>(context);
    candidates.push_back(c);
  };
  if (const GgufValue* stated = file.find(kGgufLlama3Rope)) {
    QAT_CHECK(stated->is_array() && stated->is_number() && stated->count == 4, kBadFile, file.path(), ": key '",
              kGgufLlama3Rope, "' is of type ", to_string(*stated), "; accepted: an array of four numbers");
    bool usable = true;
    for (std::size_t i = 0; i < 4; ++i) usable = usable && stated->number(i) > 0.0 && stated->number(i) < 1e9;
    if (usable) candidate(stated->number(0), stated->number(1), stated->number(2), stated->number(3));
  }
  for (const double factor : {8.0, 32.0}) candidate(factor, 1.0, 4.0, 8192.0);
  for (const RopeConfig& c : candidates) {
    const std::vector<float> expected = llama3_rope_divisors(c, head_dim);
    bool same = true;
    for (std::size_t i = 0; i < expected.size(); ++i)
      same = same && std::fabs(expected[i] - divisors[i]) <= 1e-5f * expected[i];
    if (same) return c;
  }
  raise(ErrorCode::kUnsupported, file.path(), ": tensor '", kGgufRopeFactors,
        "' holds other divisors than llama3's rule gives; accepted: those of Llama 3.1 to 3.3, or key '",
        kGgufLlama3Rope, "'");
}

inline RopeConfig parse_gguf_rope(const Gguf& file, const std::string& prefix, index_t head_dim) {
  RopeConfig rope;
  rope.theta = shortest_double(static_cast<float>(file.number_or(prefix + "rope.freq_base", 10000.0)));
  const index_t rotated = file.integer_or(prefix + "rope.dimension_count", head_dim);
  QAT_CHECK(rotated == head_dim, kUnsupported, file.path(), ": key '", prefix, "rope.dimension_count' is ", rotated,
            "; accepted: head_dim ", head_dim);
  const std::string type = file.string_or(prefix + "rope.scaling.type", "none");
  QAT_CHECK(type == "none" || type == "linear", kUnsupported, file.path(), ": key '", prefix, "rope.scaling.type' is ",
            printable(type), "; accepted: none, linear");
  if (type == "linear") {
    rope.scaling = RopeScaling::kLinear;
    rope.factor = file.number(prefix + "rope.scaling.factor");
  }
  if (file.find_tensor(kGgufRopeFactors) == nullptr) return rope;
  QAT_CHECK(rope.scaling == RopeScaling::kNone, kUnsupported, file.path(),
            ": has both linear rope scaling and tensor '", kGgufRopeFactors, "'; accepted: one of them");
  return llama3_rope_of(file, rope, head_dim);
}

}  // namespace detail

/// "blk.3.attn_q.weight" for "model.layers.3.self_attn.q_proj.weight".
/// @throws qat::Error (kInvalidArgument) for a tensor that the architecture's files have no name for
inline std::string gguf_tensor_name(Architecture architecture, const std::string& name) {
  const std::size_t dot = name.rfind('.');
  const std::string module = name.substr(0, dot), suffix = dot == std::string::npos ? "" : name.substr(dot);
  constexpr std::string_view kLayers = "model.layers.";
  if (module.starts_with(kLayers)) {
    const std::size_t end = module.find('.', kLayers.size());
    const std::string block = "blk." + module.substr(kLayers.size(), end - kLayers.size()) + ".";
    for (const detail::GgufModuleName& entry : detail::gguf_architecture(architecture).modules)
      if (end != std::string::npos && module.substr(end + 1) == entry.module) return block + entry.gguf + suffix;
  }
  for (const detail::GgufModuleName& entry : detail::kGgufModules)
    if (module == entry.module) return entry.gguf + suffix;
  raise(ErrorCode::kInvalidArgument, "gguf_tensor_name: ", printable(name), " has no name in GGUF");
}

/// Every tensor that a file of this configuration has, with the parts of the model that it holds, stacked along the
/// outputs.
inline std::map<std::string, std::vector<std::string>> gguf_stored_tensors(const LlamaConfig& c) {
  const std::map<std::string, Shape> shapes = llama_tensor_shapes(c);
  std::map<std::string, std::vector<std::string>> stored;
  const auto add = [&](const std::string& module) {
    for (const char* suffix : {".weight", ".bias"})
      if (const std::string role = module + suffix; shapes.contains(role))
        stored[gguf_tensor_name(c.architecture, role)].push_back(role);
  };
  for (const detail::GgufModuleName& entry : detail::kGgufModules) add(entry.module);
  for (index_t layer = 0; layer < c.n_layers; ++layer)
    for (const detail::GgufModuleName& entry : detail::gguf_architecture(c.architecture).modules)
      add("model.layers." + std::to_string(layer) + "." + entry.module);
  return stored;
}

/// What files add to every vector of weights of norms: Gemma's are stored as what they multiply with, 1 + w.
inline float gguf_norm_offset(const LlamaConfig& c) { return c.norm == NormKind::kRmsPlusOne ? 1.0f : 0.0f; }

/// Heads whose rows the architecture interleaves in a file: those of a Llama's q_proj and k_proj; 0 for every other
/// tensor.
inline index_t gguf_interleaved_heads(const LlamaConfig& c, const std::string& name) {
  if (!detail::gguf_architecture(c.architecture).interleaved) return 0;
  if (name.ends_with("self_attn.q_proj.weight")) return c.n_heads;
  if (name.ends_with("self_attn.k_proj.weight")) return c.n_kv_heads;
  return 0;
}

/// The configuration a file states; refuses everything that would load wrongly.
inline LlamaConfig parse_gguf_config(const Gguf& file) {
  const std::string architecture = file.string("general.architecture");
  const auto* const known = std::find_if(std::begin(detail::kGgufArchitectures), std::end(detail::kGgufArchitectures),
                                         [&](const auto& entry) { return architecture == entry.name; });
  QAT_CHECK(known != std::end(detail::kGgufArchitectures), kUnsupported, file.path(), ": 'general.architecture' is ",
            printable(architecture), "; accepted: ", detail::kAcceptedGguf);
  const bool is_llama = known->architecture == Architecture::kLlama;
  const std::string prefix = architecture + ".";
  LlamaConfig c;
  c.dim = file.integer(prefix + "embedding_length");
  c.hidden_dim = file.integer(prefix + "feed_forward_length");
  c.n_layers = file.integer(prefix + "block_count");
  QAT_CHECK(c.n_layers <= static_cast<index_t>(file.tensors().size()), kBadFile, file.path(), ": key '", prefix,
            "block_count' is ", c.n_layers, ", the file has ", file.tensors().size(),
            " tensors; accepted: more of them");
  c.n_heads = file.integer(prefix + "attention.head_count");
  c.n_kv_heads = file.integer_or(prefix + "attention.head_count_kv", c.n_heads);
  c.max_seq_len = file.integer(prefix + "context_length");
  c.norm_eps = static_cast<float>(file.number(prefix + known->eps));
  if (file.find(prefix + "attention.key_length") != nullptr) {
    c.head_dim = file.integer(prefix + "attention.key_length");
  } else {
    QAT_CHECK(c.n_heads > 0 && c.dim > 0 && c.dim % c.n_heads == 0, kBadFile, file.path(), ": key '", prefix,
              "embedding_length' is ", c.dim, " and '", prefix, "attention.head_count' ", c.n_heads,
              "; accepted without '", prefix, "attention.key_length': a multiple");
    c.head_dim = c.dim / c.n_heads;
  }
  const index_t value_length = file.integer_or(prefix + "attention.value_length", c.head_dim);
  QAT_CHECK(value_length == c.head_dim, kUnsupported, file.path(), ": key '", prefix, "attention.value_length' is ",
            value_length, "; accepted: key_length ", c.head_dim);
  const index_t experts = file.integer_or(prefix + "expert_count", 0);
  QAT_CHECK(experts == 0, kUnsupported, file.path(), ": key '", prefix, "expert_count' is ", experts, "; accepted: 0");
  const GgufTensor& embedding = file.tensor("token_embd.weight");
  QAT_CHECK(embedding.shape.size() == 2, kShapeMismatch, file.path(), ": tensor 'token_embd.weight' has ",
            static_cast<index_t>(embedding.shape.size()), " dimensions; accepted: 2");
  c.vocab_size = file.integer_or(prefix + "vocab_size", embedding.shape[0]);
  if (const GgufValue* tokens = file.find("tokenizer.ggml.tokens"))
    QAT_CHECK(static_cast<index_t>(tokens->count) == c.vocab_size, kBadFile, file.path(),
              ": 'tokenizer.ggml.tokens' has ", static_cast<std::uint64_t>(tokens->count), " tokens, the embedding ",
              c.vocab_size, "; accepted: as many");
  c.tied = file.find_tensor("output.weight") == nullptr;
  const auto token = [&](const char* key, std::int32_t fallback) {
    const std::int64_t id = file.integer_or(key, fallback);
    QAT_CHECK(id >= -1 && id < c.vocab_size, kBadFile, file.path(), ": key '", key, "' is ", id, "; accepted: below ",
              c.vocab_size);
    return static_cast<std::int32_t>(id);
  };
  c.bos_id = token("tokenizer.ggml.bos_token_id", is_llama && c.vocab_size > 1 ? 1 : -1);
  c.eos_id = token("tokenizer.ggml.eos_token_id", is_llama && c.vocab_size > 2 ? 2 : -1);
  for (const char* key : {"tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"}) c.add_eos(token(key, -1));
  c = with_architecture(c, known->architecture);
  QAT_CHECK(c.tied || known->untied, kUnsupported, file.path(), ": tensor 'output.weight' is there; accepted for '",
            architecture, "': the embedding as the head");
  if (c.learned_positions) {
    check_config(c, file.path());
    return c;
  }
  c.rope.theta = 1.0;
  check_config(c, file.path());  // before the rope, whose table is as long as a head
  c.rope = detail::parse_gguf_rope(file, prefix, c.head_dim);
  check_config(c, file.path());
  return c;
}

/// An open file: keys, names, shapes and types are checked; tensors are decoded when asked for, row by row.
class GgufCheckpoint {
 public:
  /// @throws qat::Error naming a missing or surplus tensor, a shape other than the keys ask for, or an architecture or
  ///         option that is not supported
  explicit GgufCheckpoint(const std::string& path) : file_(Gguf::open(path)), config_(parse_gguf_config(file_)) {
    const std::map<std::string, Shape> shapes = llama_tensor_shapes(config_);
    std::set<std::string> names = {detail::kGgufRopeFactors};
    for (const auto& [stored, roles] : gguf_stored_tensors(config_)) {
      const GgufTensor& view = file_.tensor(stored);
      names.insert(stored);
      index_t outputs = 0;
      for (const std::string& role : roles) {
        parts_[role] = {&view, outputs, shapes.at(role)};
        outputs += shapes.at(role)[0];
      }
      const Shape& first = shapes.at(roles.front());
      const Shape wanted = first.rank() == 1 ? Shape{outputs} : Shape{outputs, first[1]};
      QAT_CHECK(same_extents(view.shape, wanted), kShapeMismatch, path, ": tensor ", printable(stored), " has shape ",
                shape_text(view.shape), "; the keys ask for ", to_string(wanted));
    }
    for (const GgufTensor& tensor : file_.tensors())
      QAT_CHECK(names.contains(tensor.name), kBadFile, path, ": tensor ", printable(tensor.name),
                " is not part of the model the keys describe (", config_.n_layers, " layers, ",
                config_.tied ? "tied" : "untied", " embeddings)");
  }

  const LlamaConfig& config() const { return config_; }

  /// A tensor of the model in fp32, under the name that nn::Transformer gives it. Gemma's norms are w of 1 + w: their
  /// last bits may differ from those that were written, what they multiply with does not. Reading it throws qat::Error,
  /// naming the element, where one is not finite.
  /// @throws qat::Error naming a type that is not decoded
  FloatRows rows(const std::string& role) const {
    const auto found = parts_.find(role);
    QAT_CHECK(found != parts_.end(), kInvalidArgument, file_.path(), ": has no tensor ", printable(role));
    const Part& part = found->second;
    const GgufTensor& view = *part.view;
    QAT_CHECK(is_ggml_decoded(view.type), kUnsupported, view.file, ": tensor ", printable(view.name), " is ",
              info(view.type).name, "; accepted as floats: ", kGgmlDecoded);
    FloatRows rows{part.shape, {}};
    const bool is_matrix = part.shape.rank() == 2;
    const index_t columns = rows.columns(), row_bytes = columns / info(view.type).block * info(view.type).bytes;
    const unsigned char* data = view.data + part.first_output * (is_matrix ? row_bytes : info(view.type).bytes);
    const index_t head_dim = is_matrix && gguf_interleaved_heads(config_, role) > 0 ? config_.head_dim : 0;
    const float offset = is_matrix ? 0.0f : gguf_norm_offset(config_);
    rows.read = [type = view.type, data, columns, row_bytes, head_dim, offset](index_t row, index_t count, float* out) {
      for (index_t n = row; n < row + count; ++n, out += columns)
        ggml_decode(type, data + (head_dim > 0 ? interleaved_row_of_half(n, head_dim) : n) * row_bytes, columns, out);
      if (offset == 0.0f) return;
      for (float* value = out - count * columns; value < out; ++value) *value -= offset;
    };
    return checked(std::move(rows), view.name, view.file);
  }
  Tensor<float> tensor(const std::string& role) const { return rows(role).tensor(); }

  LlamaWeights load() const {
    LlamaWeights weights{config_, {}};
    for (const auto& [role, part] : parts_) weights.tensors.emplace(role, tensor(role));
    return weights;
  }

 private:
  /// Outputs [first_output, first_output + shape[0]) of a stored tensor.
  struct Part {
    const GgufTensor* view;
    index_t first_output;
    Shape shape;
  };
  Gguf file_;
  LlamaConfig config_;
  std::map<std::string, Part> parts_;  // by role
};

/// Reads a file into fp32, quantized tensors decoded.
/// @throws qat::Error as GgufCheckpoint
inline LlamaWeights read_gguf_llama(const std::string& path) { return GgufCheckpoint(path).load(); }

}  // namespace qat::inline v0
