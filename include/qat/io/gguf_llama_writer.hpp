// Checkpoints in GGUF: writing one row by row, with all that llama.cpp needs to run it unaided.
// Source: llama.cpp, src/llama-model.cpp (keys), include/llama.h (enum llama_ftype).
#pragma once

#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "qat/io/gguf_llama.hpp"
#include "qat/io/gguf_writer.hpp"
#include "qat/quant/ggml_encode.hpp"

namespace qat::inline v0 {

/// A tensor under its name in LlamaWeights, row by row in the form the file holds. A vector is one row.
struct GgufRows {
  std::string name;
  GgmlType type = GgmlType::kF32;
  Shape shape;
  std::function<void(index_t row, std::uint8_t* out)> encode;  ///< writes the bytes of one row
};

inline constexpr const char* kLearnedPositions = "model.embed_positions.weight";

inline index_t ggml_row_bytes(GgmlType type, index_t columns) { return columns / info(type).block * info(type).bytes; }

namespace detail {

/// llama.cpp's number for a file whose matrices are mostly of a type; what it prints when it loads one.
inline std::uint32_t gguf_file_type(GgmlType type) {
  constexpr std::pair<GgmlType, std::uint32_t> kNumbers[] = {
      {GgmlType::kF16, 1},    {GgmlType::kQ4_0, 2},   {GgmlType::kQ4_1, 3},    {GgmlType::kQ8_0, 7},
      {GgmlType::kQ5_0, 8},   {GgmlType::kQ5_1, 9},   {GgmlType::kIQ4_NL, 25}, {GgmlType::kBF16, 32},
      {GgmlType::kTQ1_0, 36}, {GgmlType::kTQ2_0, 37}, {GgmlType::kMXFP4, 38}};
  for (const auto& [candidate, number] : kNumbers)
    if (candidate == type) return number;
  return 0;
}

/// The type of most elements of the blocks' matrices.
inline GgmlType prevailing_type(const std::vector<GgufRows>& tensors) {
  std::map<GgmlType, index_t> elements;
  for (const GgufRows& t : tensors)
    if (t.shape.rank() == 2 && t.name.starts_with("model.layers.")) elements[t.type] += t.shape.size();
  GgmlType best = GgmlType::kF32;
  index_t most = 0;
  for (const auto& [type, count] : elements)
    if (count > most) best = type, most = count;
  return best;
}

inline void add_gguf_config(GgufMetadata& metadata, const LlamaConfig& c) {
  const GgufArchitecture& architecture = gguf_architecture(c.architecture);
  const std::string prefix = std::string(architecture.name) + ".";
  const auto number = [&](const char* key, index_t value) {
    metadata.add(prefix + key, static_cast<std::uint32_t>(value));
  };
  number("vocab_size", c.vocab_size);
  number("context_length", c.max_seq_len);
  number("embedding_length", c.dim);
  number("feed_forward_length", c.hidden_dim);
  number("block_count", c.n_layers);
  number("attention.head_count", c.n_heads);
  number("attention.head_count_kv", c.n_kv_heads);
  metadata.add(prefix + architecture.eps, c.norm_eps);
  if (c.head_dim * c.n_heads != c.dim) {
    number("attention.key_length", c.head_dim);
    number("attention.value_length", c.head_dim);
  }
  if (c.learned_positions) return;
  number("rope.dimension_count", c.head_dim);
  metadata.add(prefix + "rope.freq_base", static_cast<float>(c.rope.theta));
  if (c.rope.scaling == RopeScaling::kLinear) {
    metadata.add(prefix + "rope.scaling.type", "linear");
    metadata.add(prefix + "rope.scaling.factor", static_cast<float>(c.rope.factor));
  }
  if (c.rope.scaling == RopeScaling::kLlama3)
    metadata.add(kGgufLlama3Rope,
                 std::vector<float>{static_cast<float>(c.rope.factor), static_cast<float>(c.rope.low_freq_factor),
                                    static_cast<float>(c.rope.high_freq_factor),
                                    static_cast<float>(c.rope.original_max_position_embeddings)});
}

/// The parts of each tensor of the file, in its order: where the first of them stands.
inline std::vector<std::vector<const GgufRows*>> stacked_parts(const LlamaConfig& c,
                                                               const std::vector<GgufRows>& tensors,
                                                               const std::string& path) {
  std::map<std::string, const GgufRows*> rows;
  for (const GgufRows& tensor : tensors) rows[tensor.name] = &tensor;
  std::vector<std::vector<const GgufRows*>> stacked;
  std::map<std::string, std::vector<std::string>> stored = gguf_stored_tensors(c);
  for (const GgufRows& tensor : tensors) {
    const std::string name = gguf_tensor_name(c.architecture, tensor.name);
    const auto found = stored.find(name);
    if (found == stored.end()) continue;  // written with a part before it
    std::vector<const GgufRows*>& parts = stacked.emplace_back();
    for (const std::string& role : found->second) {
      parts.push_back(rows.at(role));
      QAT_CHECK(parts.back()->type == tensor.type, kInvalidArgument, path, ": tensor ", printable(role), " is ",
                info(parts.back()->type).name, ", and ", printable(tensor.name), " ", info(tensor.type).name,
                "; accepted: one type, they stand in one tensor, ", name);
    }
    stored.erase(found);
  }
  return stacked;
}

/// What writes a tensor of the file. `c` and the parts must outlive it.
inline GgufEntry gguf_entry(const LlamaConfig& c, std::vector<const GgufRows*> parts) {
  const GgufRows& first = *parts.front();
  GgufEntry entry{gguf_tensor_name(c.architecture, first.name), first.type, {}, {}};
  for (int d = 0; d < first.shape.rank(); ++d) entry.shape.push_back(first.shape[d]);
  for (std::size_t i = 1; i < parts.size(); ++i) entry.shape[0] += parts[i]->shape[0];
  const float offset = first.shape.rank() == 1 ? gguf_norm_offset(c) : 0.0f;
  QAT_CHECK(offset == 0.0f || first.type == GgmlType::kF32, kInvalidArgument, "write_gguf_llama: tensor ",
            printable(first.name), " is ", info(first.type).name, "; accepted: F32");
  entry.write = [&c, parts = std::move(parts), offset](const ByteSink& sink) {
    for (const GgufRows* part : parts) {
      const index_t columns = part->shape[part->shape.rank() - 1], rows = part->shape.size() / columns;
      const index_t heads = gguf_interleaved_heads(c, part->name);
      std::vector<std::uint8_t> bytes(static_cast<std::size_t>(ggml_row_bytes(part->type, columns)));
      for (index_t row = 0; row < rows; ++row) {
        part->encode(heads > 0 ? half_row_of_interleaved(row, c.head_dim) : row, bytes.data());
        if (offset != 0.0f)
          for (std::size_t i = 0; i < bytes.size(); i += sizeof(float)) {
            float value = 0.0f;
            std::memcpy(&value, bytes.data() + i, sizeof value);
            value += offset;
            std::memcpy(bytes.data() + i, &value, sizeof value);
          }
        sink(bytes.data(), bytes.size());
      }
    }
  };
  return entry;
}

}  // namespace detail

/// Writes a model, completely or not at all; one row is in memory at a time. `tensors` are all of llama_tensor_shapes,
/// in the order of the file. `tokenizer`: the keys tokenizer.ggml.*, as add_vocabulary or another file has them.
/// @throws qat::Error naming a tensor that is missing, surplus or of another shape, whose rows are no whole blocks, or
///         that stands in one tensor of the file with another of another type; or what llama.cpp would compute
///         otherwise
inline void write_gguf_llama(const std::string& path, const LlamaConfig& config, const GgufMetadata& tokenizer,
                             std::vector<GgufRows> tensors, const std::string& model_name,
                             const GgufProgress& progress = {}) {
  check_config(config, path);
  detail::check_gguf_form(config, path);
  auto shapes = llama_tensor_shapes(config);
  for (const GgufRows& tensor : tensors) {
    const auto it = shapes.find(tensor.name);
    QAT_CHECK(it != shapes.end(), kInvalidArgument, path, ": tensor ", printable(tensor.name),
              " is given twice, or is not part of this model");
    QAT_CHECK(it->second == tensor.shape, kShapeMismatch, path, ": tensor ", printable(tensor.name), " has shape ",
              to_string(tensor.shape), "; the configuration asks for ", to_string(it->second));
    shapes.erase(it);
  }
  QAT_CHECK(shapes.empty(), kInvalidArgument, path, ": tensor ", printable(shapes.begin()->first), " is missing");
  const GgmlType prevailing = detail::prevailing_type(tensors);
  GgufMetadata metadata;
  metadata.add("general.architecture", detail::gguf_architecture(config.architecture).name);
  metadata.add("general.name", model_name);
  metadata.add("general.file_type", detail::gguf_file_type(prevailing));
  metadata.add("general.quantization_version", std::uint32_t{2});
  detail::add_gguf_config(metadata, config);
  metadata.append(tokenizer);
  std::vector<GgufEntry> entries;
  for (std::vector<const GgufRows*>& parts : detail::stacked_parts(config, tensors, path))
    entries.push_back(detail::gguf_entry(config, std::move(parts)));
  const std::vector<float> divisors = config.rope.scaling == RopeScaling::kLlama3
                                          ? detail::llama3_rope_divisors(config.rope, config.head_dim)
                                          : std::vector<float>();
  if (!divisors.empty())
    entries.push_back({detail::kGgufRopeFactors,
                       GgmlType::kF32,
                       {static_cast<index_t>(divisors.size())},
                       [&divisors](const ByteSink& sink) { sink(divisors.data(), divisors.size() * sizeof(float)); }});
  write_gguf(path, metadata, entries, progress);
}

/// Rows of fp32 values in a type, by ggml's reference quantizer where it is not exact.
inline GgufRows gguf_rows_of(const std::string& name, const FloatRows& values, GgmlType type) {
  return {name, type, values.shape, [values, type, one = std::vector<float>()](index_t row, std::uint8_t* out) mutable {
            one.resize(static_cast<std::size_t>(values.columns()));
            values.read(row, 1, one.data());
            ggml_encode(type, one.data(), values.columns(), out);
          }};
}
/// `tensor` must outlive the result.
inline GgufRows gguf_rows_of(const std::string& name, const Tensor<float>& tensor, GgmlType type) {
  return gguf_rows_of(name, borrowed(tensor), type);
}

/// Types of a checkpoint's matrices when it is quantized as llama-quantize does it: from the weights, by ggml's rules.
struct GgufTypes {
  GgmlType linear = GgmlType::kF32;
  GgmlType embedding = GgmlType::kF32;  ///< of the embedding and the head
};

/// Writes a checkpoint in floating point or quantized by ggml's reference quantizers. Vectors and learned positions are
/// F32; a matrix whose rows are no whole blocks is F16.
inline void write_gguf_llama(const LlamaWeights& weights, const GgufMetadata& tokenizer, const std::string& path,
                             const std::string& model_name, const GgufTypes& types = {}) {
  check_weights(weights, path);
  std::vector<GgufRows> tensors;
  for (const auto& [name, tensor] : weights.tensors) {
    GgmlType type = GgmlType::kF32;
    if (tensor.rank() == 2 && name != kLearnedPositions)
      type = name.starts_with("model.layers.") ? types.linear : types.embedding;
    if (tensor.dim(tensor.rank() - 1) % info(type).block != 0) type = GgmlType::kF16;
    tensors.push_back(gguf_rows_of(name, tensor, type));
  }
  write_gguf_llama(path, weights.config, tokenizer, std::move(tensors), model_name);
}

}  // namespace qat::inline v0
