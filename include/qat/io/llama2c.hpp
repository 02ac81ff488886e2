// llama2.c checkpoints, "version 0": seven int32, then fp32 arrays, each kind for all layers before the next kind.
// Source: https://github.com/karpathy/llama2.c, export.py legacy_export and run.c memory_map_weights.
#pragma once

#include <cmath>
#include <cstring>
#include <string>

#include "qat/io/llama_weights.hpp"

namespace qat::inline v0 {

namespace detail {

/// Calls f(name or nullptr for the RoPE tables, layer count, shape) for each array of the file in its order; the name
/// of a per-layer kind is the part after "model.layers.N.".
template <class F>
void for_each_llama2c_array(const LlamaConfig& c, F&& f) {
  const index_t q_dim = c.n_heads * c.head_dim, kv_dim = c.n_kv_heads * c.head_dim;
  f("model.embed_tokens.weight", 0, Shape{c.vocab_size, c.dim});
  f("input_layernorm.weight", c.n_layers, Shape{c.dim});
  f("self_attn.q_proj.weight", c.n_layers, Shape{q_dim, c.dim});
  f("self_attn.k_proj.weight", c.n_layers, Shape{kv_dim, c.dim});
  f("self_attn.v_proj.weight", c.n_layers, Shape{kv_dim, c.dim});
  f("self_attn.o_proj.weight", c.n_layers, Shape{c.dim, q_dim});
  f("post_attention_layernorm.weight", c.n_layers, Shape{c.dim});
  f("mlp.gate_proj.weight", c.n_layers, Shape{c.hidden_dim, c.dim});
  f("mlp.down_proj.weight", c.n_layers, Shape{c.dim, c.hidden_dim});
  f("mlp.up_proj.weight", c.n_layers, Shape{c.hidden_dim, c.dim});
  f("model.norm.weight", 0, Shape{c.dim});
  f(nullptr, 0, Shape{2, c.max_seq_len, c.head_dim / 2});  // freq_cos, freq_sin
  if (!c.tied) f("lm_head.weight", 0, Shape{c.vocab_size, c.dim});
}

inline constexpr std::size_t kLlama2cHeader = 7 * sizeof(std::int32_t);

/// Bytes of one layer's array; saturates far above any file, as what is made of it.
inline unsigned __int128 llama2c_array_size(const Shape& shape) {
  unsigned __int128 bytes = sizeof(float);
  for (int d = 0; d < shape.rank(); ++d) bytes *= static_cast<unsigned __int128>(shape[d]);
  return bytes;
}

/// Bytes the file must have.
inline unsigned __int128 llama2c_file_size(const LlamaConfig& c) {
  unsigned __int128 size = kLlama2cHeader;
  for_each_llama2c_array(c, [&](const char*, index_t layers, const Shape& shape) {
    size += llama2c_array_size(shape) * static_cast<unsigned __int128>(layers == 0 ? 1 : layers);
  });
  return size;
}

/// Heads whose rows the file interleaves; 0 for every other array.
inline index_t llama2c_interleaved_heads(const LlamaConfig& c, const std::string& name) {
  if (name.ends_with("self_attn.q_proj.weight")) return c.n_heads;
  if (name.ends_with("self_attn.k_proj.weight")) return c.n_kv_heads;
  return 0;
}

inline std::string llama2c_tensor_name(const char* name, index_t layers, index_t layer) {
  return layers == 0 ? std::string(name) : "model.layers." + std::to_string(layer) + "." + name;
}

/// The array that a byte of the file belongs to, with where it begins and its size.
inline std::string llama2c_array_at(const LlamaConfig& c, std::uint64_t byte) {
  std::string found;
  unsigned __int128 begin = kLlama2cHeader;
  for_each_llama2c_array(c, [&](const char* name, index_t layers, const Shape& shape) {
    const unsigned __int128 size = llama2c_array_size(shape),
                            count = static_cast<unsigned __int128>(layers == 0 ? 1 : layers);
    if (found.empty() && byte < begin + size * count) {
      const auto layer = static_cast<index_t>((byte - begin) / size);
      const unsigned __int128 first = begin + size * static_cast<unsigned __int128>(layer);
      found = concat(name == nullptr ? "the RoPE tables" : llama2c_tensor_name(name, layers, layer), ", ",
                     size > UINT64_MAX ? UINT64_MAX : static_cast<std::uint64_t>(size), " bytes from byte ",
                     static_cast<std::uint64_t>(first))
                  .c_str();
    }
    begin += size * count;
  });
  return found;
}

}  // namespace detail

/// What a version 0 checkpoint says of its model. It says nothing of norm_eps, 1e-5, theta, 10000, BOS, 1, and EOS, 2.
inline LlamaConfig read_llama2c_config(const MappedFile& file) {
  const std::string& path = file.path();
  constexpr const char* kFields[7] = {"dim",        "hidden_dim", "n_layers", "n_heads",
                                      "n_kv_heads", "vocab_size", "seq_len"};
  const std::size_t whole = file.size() / sizeof(std::int32_t);
  QAT_CHECK(file.size() >= detail::kLlama2cHeader, kBadFile, path, ": at byte ", whole * sizeof(std::int32_t), ": ",
            kFields[whole < 7 ? whole : 6], " needs 4 bytes, the file has ", file.size() % sizeof(std::int32_t),
            " more: truncated, or no llama2.c checkpoint");
  std::int32_t header[7];
  std::memcpy(header, file.data(), sizeof header);
  QAT_CHECK(header[0] != 0x616b3432, kUnsupported, path, ": is a llama2.c checkpoint of version ", header[1],
            "; accepted: version 0 (no magic number, fp32)");
  LlamaConfig c;
  c.dim = header[0];
  c.hidden_dim = header[1];
  c.n_layers = header[2];
  c.n_heads = header[3];
  c.n_kv_heads = header[4];
  c.tied = header[5] > 0;
  c.vocab_size = header[5] > 0 ? index_t{header[5]} : -index_t{header[5]};
  c.max_seq_len = header[6];
  const std::string source = path + ": read as a llama2.c checkpoint";
  QAT_CHECK(c.n_heads > 0 && c.dim > 0 && c.dim % c.n_heads == 0, kBadFile, source, ": dim is ", c.dim, " and n_heads ",
            c.n_heads, "; accepted: positive, dim a multiple of n_heads");
  c.head_dim = c.dim / c.n_heads;
  check_config(c, source);
  const unsigned __int128 expected = detail::llama2c_file_size(c);
  if (expected != file.size()) {
    const auto shown = expected > UINT64_MAX ? UINT64_MAX : static_cast<std::uint64_t>(expected);
    raise(ErrorCode::kBadFile, path, ": at byte ", file.size() < shown ? file.size() : shown, ": the file ends",
          file.size() < expected ? " inside " + detail::llama2c_array_at(c, file.size()) + ": truncated"
                                 : " later than its last array: oversized",
          ", or no llama2.c checkpoint; it has ", file.size(), " bytes, its header (dim ", c.dim, ", hidden_dim ",
          c.hidden_dim, ", n_layers ", c.n_layers, ", n_heads ", c.n_heads, ", n_kv_heads ", c.n_kv_heads,
          ", vocab_size ", header[5], ", seq_len ", c.max_seq_len, ") asks for ", shown);
  }
  return c;
}

/// An open version 0 checkpoint: its header and size are checked; weights are read when asked for.
class Llama2cCheckpoint {
 public:
  explicit Llama2cCheckpoint(const std::string& path) : file_(path), config_(read_llama2c_config(file_)) {
    std::size_t position = detail::kLlama2cHeader;
    detail::for_each_llama2c_array(config_, [&](const char* kind, index_t layers, const Shape& shape) {
      for (index_t layer = 0; layer < (layers == 0 ? 1 : layers); ++layer) {
        if (kind != nullptr) places_[detail::llama2c_tensor_name(kind, layers, layer)] = {position, shape};
        position += static_cast<std::size_t>(shape.size()) * sizeof(float);
      }
    });
  }
  const LlamaConfig& config() const { return config_; }

  /// A tensor of the model, under the name that nn::Transformer gives it. Reading it throws qat::Error (kBadFile),
  /// naming the element, where one is not finite.
  FloatRows rows(const std::string& name) const {
    const auto found = places_.find(name);
    QAT_CHECK(found != places_.end(), kInvalidArgument, file_.path(), ": has no tensor ", printable(name));
    const auto& [position, shape] = found->second;
    FloatRows rows{shape, {}};
    const bool interleaved = detail::llama2c_interleaved_heads(config_, name) > 0;
    rows.read = [data = file_.data() + position, columns = rows.columns(), interleaved, head_dim = config_.head_dim](
                    index_t row, index_t count, float* out) {
      const std::size_t row_bytes = static_cast<std::size_t>(columns) * sizeof(float);
      if (!interleaved) {
        std::memcpy(out, data + static_cast<std::size_t>(row) * row_bytes, static_cast<std::size_t>(count) * row_bytes);
        return;
      }
      for (index_t n = row; n < row + count; ++n, out += columns)
        std::memcpy(out, data + static_cast<std::size_t>(interleaved_row_of_half(n, head_dim)) * row_bytes, row_bytes);
    };
    return checked(std::move(rows), name, file_.path());
  }
  Tensor<float> tensor(const std::string& name) const { return rows(name).tensor(); }

  LlamaWeights load() const {
    LlamaWeights weights{config_, {}};
    for (const auto& [name, place] : places_) weights.tensors.emplace(name, tensor(name));
    return weights;
  }

 private:
  MappedFile file_;
  LlamaConfig config_;
  std::map<std::string, std::pair<std::size_t, Shape>> places_;
};

/// Reads a version 0 checkpoint.
inline LlamaWeights read_llama2c(const std::string& path) { return Llama2cCheckpoint(path).load(); }

/// Writes a version 0 checkpoint, completely or not at all, some rows at a time. The format fixes norm_eps 1e-5, theta
/// 10000 without scaling and head_dim = dim / n_heads; another model is refused.
inline void write_llama2c(const WeightSource& weights, const std::string& path) {
  const LlamaConfig& c = weights.config;
  check_config(c, path);
  QAT_CHECK(
      has_llama_form(c), kUnsupported, path,
      ": the model is no Llama (biases, window, norms, activation or positions); a llama2.c checkpoint holds one");
  QAT_CHECK(c.head_dim * c.n_heads == c.dim, kUnsupported, path, ": head_dim is ", c.head_dim,
            "; a llama2.c checkpoint holds dim / n_heads = ", c.dim / c.n_heads);
  QAT_CHECK(c.norm_eps == 1e-5f, kUnsupported, path, ": norm_eps is ", c.norm_eps,
            "; a llama2.c checkpoint holds 1e-05");
  QAT_CHECK(c.rope.scaling == RopeScaling::kNone && c.rope.theta == 10000.0, kUnsupported, path, ": rope theta is ",
            c.rope.theta, c.rope.scaling == RopeScaling::kNone ? "" : " with scaling",
            "; a llama2.c checkpoint holds 10000 without scaling");
  const index_t vocab = c.tied ? c.vocab_size : -c.vocab_size;
  std::int32_t header[7];
  const index_t fields[7] = {c.dim, c.hidden_dim, c.n_layers, c.n_heads, c.n_kv_heads, vocab, c.max_seq_len};
  for (int i = 0; i < 7; ++i) header[i] = static_cast<std::int32_t>(fields[i]);
  AtomicFileWriter writer(path);
  writer.write(header, sizeof header);
  detail::for_each_llama2c_array(c, [&](const char* kind, index_t layers, const Shape&) {
    if (kind == nullptr) {
      for (const bool sine : {false, true})
        for (index_t position = 0; position < c.max_seq_len; ++position)
          for (index_t i = 0; i < c.head_dim / 2; ++i) {
            const double angle =
                static_cast<double>(position) *
                std::pow(c.rope.theta, -2.0 * static_cast<double>(i) / static_cast<double>(c.head_dim));
            const float value = static_cast<float>(sine ? std::sin(angle) : std::cos(angle));
            writer.write(&value, sizeof value);
          }
      return;
    }
    for (index_t layer = 0; layer < (layers == 0 ? 1 : layers); ++layer) {
      const std::string name = detail::llama2c_tensor_name(kind, layers, layer);
      const FloatRows rows = weights.rows(name);
      const auto write = [&](const float* values, index_t n) {
        writer.write(values, static_cast<std::size_t>(n) * sizeof(float));
      };
      if (detail::llama2c_interleaved_heads(c, name) == 0) {
        rows.for_each(write);
        continue;
      }
      std::vector<float> one(static_cast<std::size_t>(c.dim));
      for (index_t row = 0; row < rows.rows(); ++row) {
        rows.read(half_row_of_interleaved(row, c.head_dim), 1, one.data());
        write(one.data(), c.dim);
      }
    }
  });
  writer.commit();
}

/// The same of weights in memory.
inline void write_llama2c(const LlamaWeights& weights, const std::string& path) {
  check_weights(weights, path);
  write_llama2c(borrowed(weights), path);
}

}  // namespace qat::inline v0
