// What a file of a model holds, as plain values for people: tensors with types, shapes and bytes, metadata, and what
// makes its numbers unusable. One tensor's values are in memory at a time, in pieces.
#pragma once

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "qat/io/gguf.hpp"
#include "qat/io/llama2c.hpp"
#include "qat/io/onnx_reader.hpp"
#include "qat/io/safetensors.hpp"
#include "qat/quant/qparams.hpp"

namespace qat::inline v0 {

/// One tensor as the file holds it.
struct StoredTensor {
  std::string name, type;  ///< type: the format's own name
  std::vector<index_t> shape;
  std::uint64_t bytes = 0;
};

struct FileSummary {
  std::string path, format;  ///< format: "GGUF version 3"
  std::uint64_t bytes = 0;   ///< of all files
  std::vector<std::pair<std::string, std::string>> metadata;
  std::vector<StoredTensor> tensors;
  index_t values_checked = 0;         ///< numbers that were looked at: weights, scales, zero points
  std::vector<std::string> problems;  ///< one line each: tensor or field, what was found, what is accepted
};

namespace detail {

/// Looks at `count` numbers of a tensor, which load(first, n, out) reads into out[n]; those that are NaN or infinite
/// are a problem. `step`: pieces are multiples of it.
template <class Load>
void check_stored_values(FileSummary& summary, const std::string& name, index_t count, index_t step, const Load& load) {
  const index_t piece = (std::max)(step, (index_t{1} << 16) / step * step);
  std::vector<float> values(static_cast<std::size_t>((std::min)(piece, count)));
  index_t bad = 0, first_bad = 0;
  float example = 0.0f;
  for (index_t first = 0; first < count; first += piece) {
    const index_t n = (std::min)(piece, count - first);
    load(first, n, values.data());
    for (index_t i = 0; i < n; ++i) {
      const float value = values[static_cast<std::size_t>(i)];
      if (!is_nonfinite(value)) continue;
      if (bad++ == 0) first_bad = first + i, example = value;
    }
  }
  summary.values_checked += count;
  if (bad > 0)
    summary.problems.push_back(concat("tensor ", printable(name).c_str(), " has ", bad, " of ", count,
                                      " values that are not finite, the first ", example, " at element ", first_bad,
                                      "; accepted: finite numbers")
                                   .c_str());
}

/// "0.1", "'text'", "[1, 2, 3, ... 512 of u32]".
inline std::string gguf_value_text(const GgufValue& value) {
  const auto one = [&](std::size_t i) -> std::string {
    if (value.element == GgufType::kString) return printable(value.strings[i]);
    if (value.element == GgufType::kBool) return value.integer(i) != 0 ? "true" : "false";
    if (value.is_integer()) return std::to_string(value.integer(i));
    return concat(value.number(i)).c_str();
  };
  if (!value.is_array()) return one(0);
  std::string text = "[";
  for (std::size_t i = 0; i < (std::min)(value.count, std::size_t{3}); ++i) text += (i == 0 ? "" : ", ") + one(i);
  if (value.count > 3) text += ", ... " + std::to_string(value.count) + " in all";
  return text + "]";
}

}  // namespace detail

/// Adds the tensors of an open file or sharded checkpoint.
inline void add_tensors(FileSummary& summary, const Safetensors& file) {
  for (const MappedFile& part : file.files()) summary.bytes += part.size();
  if (file.files().size() > 1) summary.metadata.emplace_back("shards", std::to_string(file.files().size()));
  for (const auto& [name, view] : file.tensors()) {
    summary.tensors.push_back({name, info(view.dtype).name, view.shape, view.bytes});
    const bool is_float = view.dtype == DType::kF32 || view.dtype == DType::kF16 || view.dtype == DType::kBF16 ||
                          view.dtype == DType::kF64;
    if (is_float)
      detail::check_stored_values(summary, name, view.size(), 1,
                                  [&v = view](index_t first, index_t n, float* out) { v.to_float(first, n, out); });
  }
  for (const auto& [key, value] : file.metadata()) summary.metadata.emplace_back(key, printable(value));
}

/// @throws qat::Error as the reader of the format, for a file that it does not open
inline FileSummary summarize_safetensors(const std::string& path) {
  const Safetensors file = Safetensors::open(path);
  FileSummary out{path, "safetensors", 0, {}, {}, 0, {}};
  add_tensors(out, file);
  return out;
}

inline FileSummary summarize_gguf(const std::string& path) {
  const Gguf file = Gguf::open(path);
  FileSummary out{path, concat("GGUF version ", file.version()).c_str(), MappedFile(path).size(), {}, {}, 0, {}};
  for (const auto& [key, value] : file.metadata())
    out.metadata.emplace_back(std::string(key), detail::gguf_value_text(value));
  for (const GgufTensor& tensor : file.tensors()) {
    out.tensors.push_back({tensor.name, info(tensor.type).name, tensor.shape, tensor.bytes});
    if (!is_ggml_decoded(tensor.type)) continue;
    const GgmlTypeInfo& type = info(tensor.type);
    detail::check_stored_values(out, tensor.name, tensor.size(), type.block,
                                [&](index_t first, index_t n, float* values) {
                                  ggml_decode(tensor.type, tensor.data + first / type.block * type.bytes, n, values);
                                });
  }
  return out;
}

inline FileSummary summarize_onnx(const std::string& path) {
  const OnnxFile file = OnnxFile::open(path);
  FileSummary out{path, "ONNX", MappedFile(path).size(), {}, {}, 0, {}};
  out.metadata.emplace_back("ir_version", std::to_string(file.ir_version()));
  out.metadata.emplace_back("producer_name", printable(file.producer()));
  for (const auto& [domain, version] : file.opsets())
    out.metadata.emplace_back("opset " + (domain.empty() ? std::string("ai.onnx") : domain), std::to_string(version));
  for (const std::string& name : file.inputs()) out.metadata.emplace_back("input", name);
  for (const std::string& name : file.outputs()) out.metadata.emplace_back("output", name);
  std::map<std::string, index_t> operators;
  for (const OnnxNode& node : file.nodes()) ++operators[node.op];
  for (const auto& [name, count] : operators) out.metadata.emplace_back("operator " + name, std::to_string(count));
  for (const OnnxTensor& tensor : file.initializers()) {
    out.tensors.push_back({tensor.name, tensor.type->name, tensor.shape, tensor.bytes.size()});
    const std::string_view type = tensor.type->name;
    SafetensorView view{tensor.name,
                        path,
                        DType::kF32,
                        tensor.shape,
                        reinterpret_cast<const unsigned char*>(tensor.bytes.data()),
                        tensor.bytes.size()};
    if (type == "FLOAT16") view.dtype = DType::kF16;
    if (type == "BFLOAT16") view.dtype = DType::kBF16;
    if (type == "DOUBLE") view.dtype = DType::kF64;
    if (type == "FLOAT" || view.dtype != DType::kF32)
      detail::check_stored_values(out, tensor.name, view.size(), 1,
                                  [&](index_t first, index_t n, float* values) { view.to_float(first, n, values); });
  }
  return out;
}

inline FileSummary summarize_llama2c(const std::string& path) {
  const MappedFile file(path);
  const LlamaConfig c = read_llama2c_config(file);
  FileSummary out{path, "llama2.c version 0", file.size(), {}, {}, 0, {}};
  const std::pair<const char*, index_t> header[] = {{"dim", c.dim},
                                                    {"hidden_dim", c.hidden_dim},
                                                    {"n_layers", c.n_layers},
                                                    {"n_heads", c.n_heads},
                                                    {"n_kv_heads", c.n_kv_heads},
                                                    {"vocab_size", c.vocab_size},
                                                    {"seq_len", c.max_seq_len},
                                                    {"tied", c.tied}};
  for (const auto& [key, value] : header) out.metadata.emplace_back(key, std::to_string(value));
  const unsigned char* position = file.data() + detail::kLlama2cHeader;
  detail::for_each_llama2c_array(c, [&](const char* kind, index_t layers, const Shape& shape) {
    for (index_t layer = 0; layer < (std::max)(layers, index_t{1}); ++layer) {
      StoredTensor& tensor = out.tensors.emplace_back();
      tensor.name = kind == nullptr ? "freq_cos, freq_sin" : detail::llama2c_tensor_name(kind, layers, layer);
      tensor.type = "F32";
      for (int d = 0; d < shape.rank(); ++d) tensor.shape.push_back(shape[d]);
      tensor.bytes = static_cast<std::uint64_t>(shape.size()) * sizeof(float);
      if (kind != nullptr)
        detail::check_stored_values(out, tensor.name, shape.size(), 1, [&](index_t first, index_t n, float* values) {
          std::memcpy(values, position + static_cast<std::size_t>(first) * sizeof(float),
                      static_cast<std::size_t>(n) * sizeof(float));
        });
      position += tensor.bytes;
    }
  });
  return out;
}

}  // namespace qat::inline v0
