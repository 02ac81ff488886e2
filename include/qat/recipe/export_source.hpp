// A model as exporters see it: layer by layer, in memory or read from a checkpoint when a layer's turn comes.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "qat/io/llama.hpp"
#include "qat/recipe/packed_checkpoint.hpp"

namespace qat::inline v0::recipe {

/// One layer.
struct ExportLayer {
  std::string name;
  Shape shape;     ///< of the weight
  int block = -1;  ///< index of its block
  bool is_linear = false, is_embedding = false;
  bool is_tied = false;                                         ///< a head that shares the embedding's table
  std::function<std::shared_ptr<const StoredWeight>()> packed;  ///< null: in floating point
  FloatRows weight;                                             ///< null: packed
  FloatRows bias;                                               ///< null: none
  std::optional<QuantSpec> activation;                          ///< of a packed linear layer
};

/// Layers in the order of a model's report. What a source was made from must outlive it, unless it was opened by path.
struct ExportSource {
  LlamaConfig config;
  std::vector<ExportLayer> layers;
  std::shared_ptr<void> owner = {};  ///< what the layers borrow from, if nobody else keeps it

  /// A head in floating point, or one packed as its embedding is, is the embedding's table.
  bool is_table(const ExportLayer& head) const {
    if (!head.is_tied) return false;
    const ExportLayer& table = layers.front();
    if (!head.packed || !table.packed) return !head.packed && !table.packed;
    return *head.packed() == *table.packed();
  }
};

/// A model in memory: converted, or in floating point.
/// @throws qat::Error naming a layer that is prepared but not converted
inline ExportSource export_source(nn::Transformer& model) {
  ExportSource out{model.config(), {}};
  for (const detail::NamedLayer& layer : detail::layers_of(model)) {
    const std::shared_ptr<const PackedWeight> packed = detail::packed_of(layer);
    QAT_CHECK(packed != nullptr || layer.linear == nullptr || layer.linear->quantization() == nullptr, kInvalidArgument,
              layer.name, ": is prepared, not converted; call convert first");
    ExportLayer& e = out.layers.emplace_back();
    e.name = layer.name;
    e.block = layer.block;
    e.is_linear = layer.linear != nullptr;
    e.is_embedding = layer.embedding != nullptr;
    e.is_tied = layer.is_tied;
    if (packed != nullptr) {
      e.shape = {packed->rows(), packed->columns()};
      e.packed = [packed] { return std::make_shared<const StoredWeight>(*packed, packed); };
      if (e.is_linear) e.activation = dynamic_cast<const nn::PackedLinear*>(layer.linear->quantization())->activation();
    } else {
      e.shape = layer.weight->value.shape();
      e.weight = borrowed(layer.weight->value);
    }
    if (layer.bias != nullptr) e.bias = borrowed(layer.bias->value);
  }
  return out;
}

namespace detail {

/// The layers that a model of this configuration has, without what is in them.
inline std::vector<ExportLayer> export_layers(const LlamaConfig& config) {
  const std::map<std::string, Shape> shapes = llama_tensor_shapes(config);
  std::vector<ExportLayer> layers;
  const auto add = [&](const std::string& name, int block) {
    const auto found = shapes.find(name + ".weight");
    if (found == shapes.end()) return;
    ExportLayer& e = layers.emplace_back();
    e.name = name;
    e.shape = found->second;
    e.block = block;
    e.is_linear = name.ends_with("_proj") || name == "lm_head";
    e.is_embedding = name == "model.embed_tokens";
  };
  add("model.embed_tokens", -1);
  add("model.embed_positions", -1);
  for (int block = 0; block < static_cast<int>(config.n_layers); ++block)
    for (const char* module : {"input_layernorm", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                               "self_attn.o_proj", "self_attn.q_norm", "self_attn.k_norm", "post_attention_layernorm",
                               "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"})
      add("model.layers." + std::to_string(block) + "." + module, block);
  add("model.norm", -1);
  if (!config.tied) {
    add("lm_head", -1);
  } else {
    ExportLayer head;
    head.name = "lm_head";
    head.shape = layers.front().shape;
    head.is_linear = head.is_tied = true;
    layers.push_back(std::move(head));
  }
  return layers;
}

}  // namespace detail

/// A checkpoint in floating point: `weights` is called for each tensor when its layer's turn comes.
inline ExportSource export_source(const WeightSource& weights) {
  ExportSource out{weights.config, detail::export_layers(weights.config)};
  const std::map<std::string, Shape> shapes = llama_tensor_shapes(weights.config);
  for (ExportLayer& layer : out.layers) {
    const std::string stored = layer.is_tied ? out.layers.front().name : layer.name;
    layer.weight = weights.rows(stored + ".weight");
    if (shapes.contains(layer.name + ".bias")) layer.bias = weights.rows(layer.name + ".bias");
  }
  return out;
}

/// A packed directory, read layer by layer.
/// @throws qat::Error naming a layer or tensor that is missing, surplus or of another kind
inline ExportSource open_packed_source(const std::string& directory) {
  const auto checkpoint = std::make_shared<const PackedCheckpoint>(directory);
  ExportSource out{checkpoint->config(), detail::export_layers(checkpoint->config())};
  const std::map<std::string, Shape> shapes = llama_tensor_shapes(out.config);
  std::size_t described = 0, used = 0;
  const auto read = [&](const std::string& name, const Shape& shape, bool counts) {
    used += counts;
    return kept(checkpoint->rows(name, shape), checkpoint);
  };
  for (ExportLayer& layer : out.layers) {
    const std::string stored = layer.is_tied ? out.layers.front().name : layer.name;
    if (shapes.contains(layer.name + ".bias"))
      layer.bias = read(layer.name + ".bias", shapes.at(layer.name + ".bias"), true);
    const PackedCheckpoint::Layer* const stated = checkpoint->find(layer.name);
    if (stated == nullptr) {
      layer.weight = read(stored + ".weight", layer.shape, checkpoint->find(stored) != nullptr || !layer.is_tied);
      continue;
    }
    QAT_CHECK(layer.is_linear || layer.is_embedding, kBadFile, checkpoint->description(), ": layer '", layer.name,
              "' is neither; accepted: linear layers and the embedding");
    ++described;
    used += has_constant_zero_point(stated->weight.mapping) ? 2 : 3;
    if (layer.is_linear) layer.activation = stated->activation;
    layer.packed = [checkpoint, name = layer.name, shape = layer.shape] {
      return std::make_shared<const StoredWeight>(checkpoint->stored(name, shape, checkpoint));
    };
  }
  QAT_CHECK(described == checkpoint->layers().size(), kBadFile, checkpoint->description(), ": 'layers' names ",
            checkpoint->layers().size(), " layers, the model has ", described, " of them");
  QAT_CHECK(used == checkpoint->file().tensors().size(), kBadFile, directory, ": model.safetensors has ",
            checkpoint->file().tensors().size(), " tensors; ", kPackedFile, " describes ", used);
  return out;
}

}  // namespace qat::inline v0::recipe
