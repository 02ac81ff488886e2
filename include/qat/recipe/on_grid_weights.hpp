// The float weights that a packed model computes with: what formats without integers hold, value for value.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "qat/recipe/export_source.hpp"

namespace qat::inline v0::recipe {

namespace detail {
/// A layer's weights as floats. A packed one is open from its first row to its last.
inline FloatRows floats_of(const ExportLayer& layer) {
  if (!layer.packed) return layer.weight;
  FloatRows rows{layer.shape, {}};
  rows.read = [packed = layer.packed, shape = layer.shape, held = std::shared_ptr<const StoredWeight>(),
               scratch = std::vector<std::uint8_t>()](index_t row, index_t count, float* out) mutable {
    if (held == nullptr) held = packed();
    scratch.resize(static_cast<std::size_t>(shape[1]));
    for (index_t n = row; n < row + count; ++n, out += shape[1]) held->values(n, scratch.data(), out);
    if (row + count == shape[0]) held = nullptr;
  };
  return rows;
}

/// A head that shares the embedding's table is no tensor of its own in a file: its packed form must be the table's.
inline void check_tied_head(const ExportSource& source, const ExportLayer& head, const std::string& format) {
  QAT_CHECK(!head.packed || source.is_table(head), kUnsupported, head.name,
            ": is packed, the embedding whose table it shares is not, or otherwise; ", format,
            " holds one table: quantize both alike, or neither");
}
}  // namespace detail

/// Weights under Hugging Face names, those of packed layers dequantized: for a weight-only scheme the model they make
/// has the packed model's values in every layer.
/// @throws qat::Error naming a tied head that differs from its embedding
inline WeightSource on_grid_weights(const ExportSource& source) {
  std::map<std::string, FloatRows> tensors;
  for (const ExportLayer& layer : source.layers) {
    if (layer.bias) tensors.emplace(layer.name + ".bias", layer.bias);
    if (layer.is_tied) {
      detail::check_tied_head(source, layer, "a file of float weights");
    } else {
      tensors.emplace(layer.name + ".weight", detail::floats_of(layer));
    }
  }
  return {source.config, [tensors = std::move(tensors)](const std::string& name) { return tensors.at(name); }};
}

/// The same of a model in memory, as tensors.
/// @throws qat::Error naming also a layer that is prepared but not converted
inline std::map<std::string, Tensor<float>> on_grid_weights(nn::Transformer& model) {
  const WeightSource source = on_grid_weights(export_source(model));
  std::map<std::string, Tensor<float>> tensors;
  for (const auto& [name, shape] : llama_tensor_shapes(source.config)) tensors.emplace(name, source.tensor(name));
  return tensors;
}

}  // namespace qat::inline v0::recipe
