// The float weights that a packed model computes with: what formats without integers hold, value for value.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "qat/recipe/packed_checkpoint.hpp"

namespace qat::inline v0::recipe {

namespace detail {
/// A head that shares the embedding's table is no tensor of its own in a file: its packed form must be the table's.
inline void check_tied_head(nn::Transformer& model, const NamedLayer& head, const std::string& format) {
  const std::shared_ptr<const PackedWeight> packed = packed_of(head);
  const auto* table = dynamic_cast<const nn::PackedEmbedding*>(model.embed_tokens().quantization());
  QAT_CHECK(packed == nullptr || (table != nullptr && *table->packed() == *packed), kUnsupported, head.name,
            ": is packed, the embedding whose table it shares is not, or otherwise; ", format,
            " holds one table: quantize both alike, or neither");
}
}  // namespace detail

/// Weights as tensors under Hugging Face names, those of packed layers dequantized: for a weight-only scheme the model
/// they make has the packed model's values in every layer.
/// @throws qat::Error naming a layer that is prepared but not converted, or a tied head that differs from its embedding
inline std::map<std::string, Tensor<float>> on_grid_weights(nn::Transformer& model) {
  std::map<std::string, Tensor<float>> tensors;
  for (const detail::NamedLayer& layer : detail::layers_of(model)) {
    const std::shared_ptr<const PackedWeight> packed = detail::packed_of(layer);
    QAT_CHECK(packed != nullptr || layer.linear == nullptr || layer.linear->quantization() == nullptr, kInvalidArgument,
              layer.name, ": is prepared, not converted; call convert first");
    if (layer.bias != nullptr) tensors.emplace(layer.name + ".bias", layer.bias->value.clone());
    if (layer.is_tied) {
      detail::check_tied_head(model, layer, "a file of float weights");
      continue;
    }
    tensors.emplace(layer.name + ".weight",
                    packed == nullptr ? layer.weight->value.clone() : dequantized_weight(*packed));
  }
  return tensors;
}

}  // namespace qat::inline v0::recipe
