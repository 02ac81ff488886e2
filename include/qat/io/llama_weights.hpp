// The form in which checkpoints travel between files and models: a configuration and named fp32 tensors.
#pragma once

#include <bit>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "qat/io/file.hpp"
#include "qat/io/float_rows.hpp"
#include "qat/nn/llama_config.hpp"
#include "qat/tensor/tensor.hpp"

namespace qat::inline v0 {

/// Tensors under the names of nn::Transformer::parameters() ("model.layers.0.mlp.up_proj.weight": Hugging Face's for
/// Llama, whatever the architecture), linear weights (out, in), RoPE in halves.
/// A tied model has no "lm_head.weight".
struct LlamaWeights {
  LlamaConfig config;
  std::map<std::string, Tensor<float>> tensors;
};

/// A checkpoint whose tensors are read when they are asked for, some rows at a time: for what is converted without
/// being in memory whole.
struct WeightSource {
  LlamaConfig config;
  /// A tensor of llama_tensor_shapes(config), yet to be read.
  std::function<FloatRows(const std::string& name)> rows;

  Tensor<float> tensor(const std::string& name) const { return rows(name).tensor(); }
};

/// Throws one line naming `source` and the field that makes no model.
inline void check_config(const LlamaConfig& config, const std::string& source) {
  const std::pair<const char*, index_t> extents[] = {{"dim (hidden_size)", config.dim},
                                                     {"hidden_dim (intermediate_size)", config.hidden_dim},
                                                     {"n_layers (num_hidden_layers)", config.n_layers},
                                                     {"n_heads (num_attention_heads)", config.n_heads},
                                                     {"n_kv_heads (num_key_value_heads)", config.n_kv_heads},
                                                     {"head_dim", config.head_dim},
                                                     {"vocab_size", config.vocab_size},
                                                     {"max_seq_len (max_position_embeddings)", config.max_seq_len}};
  for (const auto& [name, value] : extents)
    QAT_CHECK(value > 0 && value < (index_t{1} << 31), kBadFile, source, ": ", name, " is ", value,
              "; accepted: 1 to 2147483647");
  QAT_CHECK(config.n_layers <= 100000, kBadFile, source, ": n_layers (num_hidden_layers) is ", config.n_layers,
            "; accepted: at most 100000");
  QAT_CHECK(config.n_heads % config.n_kv_heads == 0, kBadFile, source, ": n_heads (num_attention_heads) is ",
            config.n_heads, "; accepted: a multiple of n_kv_heads (num_key_value_heads) ", config.n_kv_heads);
  QAT_CHECK(config.learned_positions || config.head_dim % 2 == 0, kBadFile, source, ": head_dim is ", config.head_dim,
            "; accepted: an even number, RoPE rotates pairs");
  QAT_CHECK(config.norm_eps > 0.0f && config.norm_eps < 1.0f, kBadFile, source, ": norm_eps (rms_norm_eps) is ",
            config.norm_eps, "; accepted: between 0 and 1");
  QAT_CHECK(config.window >= 0, kBadFile, source, ": sliding_window is ", config.window,
            "; accepted: a positive number of tokens, or none");
  const RopeConfig& rope = config.rope;
  QAT_CHECK(rope.theta > 0.0, kBadFile, source, ": rope_theta is ", rope.theta, "; accepted: positive");
  QAT_CHECK(rope.scaling == RopeScaling::kNone || rope.factor > 0.0, kBadFile, source, ": rope factor is ", rope.factor,
            "; accepted: positive");
  if (rope.scaling == RopeScaling::kLlama3) {
    QAT_CHECK(rope.low_freq_factor > 0.0 && rope.high_freq_factor > rope.low_freq_factor, kBadFile, source,
              ": rope low_freq_factor is ", rope.low_freq_factor, " and high_freq_factor ", rope.high_freq_factor,
              "; accepted: 0 < low < high");
    QAT_CHECK(rope.original_max_position_embeddings > 0, kBadFile, source,
              ": rope original_max_position_embeddings is ", rope.original_max_position_embeddings,
              "; accepted: positive");
  }
}

/// Every tensor a model of this configuration has, with its shape.
inline std::map<std::string, Shape> llama_tensor_shapes(const LlamaConfig& c) {
  const index_t q_dim = c.n_heads * c.head_dim, kv_dim = c.n_kv_heads * c.head_dim;
  std::map<std::string, Shape> shapes;
  const auto linear = [&](const std::string& name, index_t out, index_t in, bool bias) {
    shapes[name + ".weight"] = {out, in};
    if (bias) shapes[name + ".bias"] = {out};
  };
  const auto norm = [&](const std::string& name) {
    shapes[name + ".weight"] = {c.dim};
    if (c.norm == NormKind::kLayerNorm) shapes[name + ".bias"] = {c.dim};
  };
  shapes["model.embed_tokens.weight"] = {c.vocab_size, c.dim};
  if (c.learned_positions) shapes["model.embed_positions.weight"] = {c.max_seq_len, c.dim};
  for (index_t layer = 0; layer < c.n_layers; ++layer) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
    norm(prefix + "input_layernorm");
    linear(prefix + "self_attn.q_proj", q_dim, c.dim, c.qkv_bias);
    linear(prefix + "self_attn.k_proj", kv_dim, c.dim, c.qkv_bias);
    linear(prefix + "self_attn.v_proj", kv_dim, c.dim, c.qkv_bias);
    linear(prefix + "self_attn.o_proj", c.dim, q_dim, c.out_bias);
    if (c.qk_norm)
      for (const char* name : {"self_attn.q_norm.weight", "self_attn.k_norm.weight"})
        shapes[prefix + name] = {c.head_dim};
    norm(prefix + "post_attention_layernorm");
    if (c.gated) linear(prefix + "mlp.gate_proj", c.hidden_dim, c.dim, c.mlp_bias);
    linear(prefix + "mlp.up_proj", c.hidden_dim, c.dim, c.mlp_bias);
    linear(prefix + "mlp.down_proj", c.dim, c.hidden_dim, c.mlp_bias);
  }
  norm("model.norm");
  if (!c.tied) shapes["lm_head.weight"] = {c.vocab_size, c.dim};
  return shapes;
}

/// Those in memory, which must stay there.
inline WeightSource borrowed(const LlamaWeights& weights) {
  return {weights.config, [&weights](const std::string& name) { return borrowed(weights.tensors.at(name)); }};
}

/// Throws when one of `count` elements of a tensor, of which `begin` come before them, is NaN or infinite, naming the
/// first one.
inline void check_finite(const float* values, index_t begin, index_t count, const Shape& shape, const std::string& name,
                         const std::string& source) {
  constexpr std::uint32_t kExponent = 0x7F800000u;  // not isfinite(): -ffast-math would remove that
  constexpr index_t kPiece = 4096;                  // without a branch inside, so that it is vectorized
  for (index_t first = 0; first < count; first += kPiece) {
    const index_t end = first + kPiece < count ? first + kPiece : count;
    unsigned bad = 0;
    for (index_t i = first; i < end; ++i) bad |= (std::bit_cast<std::uint32_t>(values[i]) & kExponent) == kExponent;
    if (bad == 0) continue;
    index_t i = first;
    while ((std::bit_cast<std::uint32_t>(values[i]) & kExponent) != kExponent) ++i;
    raise(ErrorCode::kBadFile, source, ": tensor ", printable(name), " has ", values[i], " at element ", begin + i,
          " of shape ", to_string(shape), "; accepted: finite weights");
  }
}
inline void check_finite(const Tensor<float>& tensor, const std::string& name, const std::string& source) {
  check_finite(tensor.data(), 0, tensor.size(), tensor.shape(), name, source);
}
/// The same of rows as they are read.
inline FloatRows checked(FloatRows rows, std::string name, std::string source) {
  rows.read = [rows, name = std::move(name), source = std::move(source)](index_t row, index_t count, float* out) {
    rows.read(row, count, out);
    check_finite(out, row * rows.columns(), count * rows.columns(), rows.shape, name, source);
  };
  return rows;
}

/// Throws unless exactly the tensors of the configuration are there, in its shapes.
inline void check_weights(const LlamaWeights& weights, const std::string& source) {
  check_config(weights.config, source);
  const auto shapes = llama_tensor_shapes(weights.config);
  for (const auto& [name, shape] : shapes) {
    const auto it = weights.tensors.find(name);
    QAT_CHECK(it != weights.tensors.end(), kBadFile, source, ": tensor ", printable(name), " is missing");
    QAT_CHECK(it->second.shape() == shape, kShapeMismatch, source, ": tensor ", printable(name), " has shape ",
              to_string(it->second.shape()), "; the configuration asks for ", to_string(shape));
  }
  for (const auto& [name, tensor] : weights.tensors)
    QAT_CHECK(shapes.contains(name), kBadFile, source, ": tensor ", printable(name), " is not part of this model");
}

/// Reorders the rows of q_proj or k_proj from pairs (2i, 2i+1) to halves (i, i + head_dim / 2) of each head.
/// in, out: (heads * head_dim, columns), row-major, not overlapping.
inline void interleaved_rows_to_halves(const float* in, index_t heads, index_t head_dim, index_t columns, float* out) {
  for (index_t head = 0; head < heads; ++head)
    for (index_t i = 0; i < head_dim; ++i) {
      const index_t to = head * head_dim + (i % 2) * (head_dim / 2) + i / 2;
      std::memcpy(out + to * columns, in + (head * head_dim + i) * columns,
                  static_cast<std::size_t>(columns) * sizeof(float));
    }
}

/// The row of q_proj or k_proj in halves that is row `row` in interleaved pairs.
constexpr index_t half_row_of_interleaved(index_t row, index_t head_dim) {
  const index_t i = row % head_dim;
  return row - i + (i % 2) * (head_dim / 2) + i / 2;
}

/// Its inverse: the row in interleaved pairs that is row `row` in halves.
constexpr index_t interleaved_row_of_half(index_t row, index_t head_dim) {
  const index_t i = row % head_dim;
  return row - i + i % (head_dim / 2) * 2 + i / (head_dim / 2);
}

/// The inverse of interleaved_rows_to_halves.
inline void halves_rows_to_interleaved(const float* in, index_t heads, index_t head_dim, index_t columns, float* out) {
  for (index_t row = 0; row < heads * head_dim; ++row)
    std::memcpy(out + row * columns, in + half_row_of_interleaved(row, head_dim) * columns,
                static_cast<std::size_t>(columns) * sizeof(float));
}

}  // namespace qat::inline v0
