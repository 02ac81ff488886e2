// A converted model on disk: packed codes and scales as they were trained, never requantized.
//
// A directory with
//   qat_packed.json      {"format": "qat-packed", "version": 1, "config": {Hugging Face keys}, "layers": {NAME:
//   {"weight": SPEC,
//                        "activation": SPEC or null, "product": "integer" or "float"}}}
//   model.safetensors    every parameter in floating point (fp32) under its name; of a packed layer with weight (R, C):
//                        NAME.codes       U8 (R, ceil(C * bits / 8))  row-major bit string: u = q - lowest of column k
//                        in bits
//                                         [k * bits, (k + 1) * bits) of its row, least significant first
//                        NAME.scale       F32 (tiles), values that the spec's scale type holds
//                        NAME.zero_point  F32 (tiles); absent where the mapping's zero point is constant
#pragma once

#include <deque>
#include <map>
#include <string>
#include <vector>

#include "qat/io/hf_llama.hpp"
#include "qat/io/stored_weight.hpp"
#include "qat/recipe/prepare.hpp"

namespace qat::inline v0::recipe {

inline constexpr const char* kPackedFile = "qat_packed.json";

inline bool is_packed_checkpoint(const std::string& path) {
  return is_directory(path) && file_exists(join_path(path, kPackedFile));
}

namespace detail {

/// owner: of the file, which must be open as long as the weight
inline StoredWeight read_stored_weight(const Safetensors& file, const std::string& name, const QuantSpec& spec,
                                       const Shape& shape, std::shared_ptr<const void> owner = {}) {
  const index_t rows = shape[0], columns = shape[1], row_bytes = packed_bytes(columns, spec.bits);
  const auto tensor = [&](const char* suffix, std::vector<index_t> expected) -> const SafetensorView& {
    const SafetensorView& view = file.at(name + suffix);
    QAT_CHECK(view.shape == expected, kBadFile, view.file, ": tensor ", printable(view.name), " has shape ",
              shape_text(view.shape), "; ", to_string(spec), " of (", rows, ", ", columns, ") needs ",
              shape_text(expected));
    return view;
  };
  const index_t tiles = group_layout(spec.granularity, rows, columns).count();
  const SafetensorView& codes = tensor(".codes", {rows, row_bytes});
  QAT_CHECK(codes.dtype == DType::kU8, kBadFile, codes.file, ": tensor ", printable(codes.name), " is ",
            info(codes.dtype).name, "; accepted: U8");
  std::vector<float> scale = tensor(".scale", {tiles}).values<float>(DType::kF32), zero_point;
  if (!has_constant_zero_point(spec.mapping)) zero_point = tensor(".zero_point", {tiles}).values<float>(DType::kF32);
  for (const std::vector<float>* values : {&scale, &zero_point})
    for (const float v : *values)
      QAT_CHECK(!is_nonfinite(v), kBadFile, file.at(name + ".scale").file, ": tensor ", printable(name),
                " has a scale or zero point ", v, "; accepted: finite numbers");
  return StoredWeight(spec, rows, columns, codes.data, std::move(scale), std::move(zero_point), std::move(owner));
}

}  // namespace detail

/// Writes a converted model into `directory` (created when absent); each file appears completely or not at all.
inline void save_packed(nn::Transformer& model, const std::string& directory) {
  make_directory(directory);
  nlohmann::ordered_json json = {{"format", "qat-packed"}, {"version", 1}};
  json["config"] = nlohmann::ordered_json::parse(hf_llama_config_text(model.config(), DType::kF32));
  json["layers"] = nlohmann::ordered_json::object();
  std::vector<SafetensorEntry> entries;
  bool any_packed = false;
  for (const detail::NamedLayer& layer : detail::layers_of(model)) {
    const std::shared_ptr<const PackedWeight> packed = detail::packed_of(layer);
    if (packed == nullptr) {
      QAT_CHECK(layer.linear == nullptr || layer.linear->quantization() == nullptr, kInvalidArgument, layer.name,
                ": is prepared, not converted; call convert before saving packed weights");
      continue;
    }
    any_packed = true;
    const auto* linear =
        layer.linear == nullptr ? nullptr : dynamic_cast<const nn::PackedLinear*>(layer.linear->quantization());
    nlohmann::ordered_json& description = json["layers"][layer.name];
    description["weight"] = to_string(packed->spec()).c_str();
    description["activation"] = nullptr;
    if (linear != nullptr && linear->activation()) description["activation"] = to_string(*linear->activation()).c_str();
    if (linear != nullptr) description["product"] = linear->product() == nn::Product::kInteger ? "integer" : "float";
    const index_t row_bytes = packed_bytes(packed->columns(), packed->spec().bits);
    SafetensorEntry codes{layer.name + ".codes", DType::kU8, {packed->rows(), row_bytes}};
    codes.write = [packed, row_bytes](const ByteSink& sink) { write_bit_rows(StoredWeight(*packed), row_bytes, sink); };
    entries.push_back(std::move(codes));
    const auto numbers = [&](const char* suffix, const std::vector<float>& (StoredWeight::*of)() const) {
      SafetensorEntry entry{layer.name + suffix, DType::kF32, {packed->groups().count()}};
      entry.write = [packed, of](const ByteSink& sink) {
        const StoredWeight stored(*packed);
        write_floats((stored.*of)().data(), packed->groups().count(), DType::kF32, sink);
      };
      entries.push_back(std::move(entry));
    };
    numbers(".scale", &StoredWeight::scales);
    if (packed->has_zero_points()) numbers(".zero_point", &StoredWeight::zero_points);
  }
  for (const Parameter* p : model.parameters()) {
    if (p->value.empty()) continue;  // packed
    SafetensorEntry entry{p->name, DType::kF32, {}, p->value.data()};
    for (int d = 0; d < p->value.rank(); ++d) entry.shape.push_back(p->value.dim(d));
    entries.push_back(std::move(entry));
  }
  QAT_CHECK(any_packed, kInvalidArgument, directory,
            ": the model has no packed layer; save it as a Hugging Face directory");
  write_safetensors(join_path(directory, "model.safetensors"), std::move(entries));
  write_file(join_path(directory, kPackedFile), json.dump(2) + "\n");
}

namespace detail {
/// A weight takes a bit at least: whether the file has as many, before a model of that size is allocated.
inline void check_holds(const Safetensors& file, const LlamaConfig& config, const std::string& source) {
  unsigned __int128 bits = 0, weights = 0;
  for (const auto& [name, tensor] : file.tensors()) bits += 8 * static_cast<unsigned __int128>(tensor.bytes);
  const bool holds = static_cast<std::size_t>(config.n_layers) <= file.tensors().size();
  if (holds)
    for (const auto& [name, shape] : llama_tensor_shapes(config)) {
      unsigned __int128 size = 1;
      for (int d = 0; d < shape.rank(); ++d) size *= static_cast<unsigned __int128>(shape[d]);
      weights += size;
    }
  QAT_CHECK(holds && weights <= bits, kBadFile, source,
            ": describes a model of more weights than model.safetensors has bits");
}
}  // namespace detail

namespace detail {
/// Fills a model from a Hugging Face directory with packed linear layers. pack(layer, used) returns the packed form of
/// a linear layer and adds its tensors to `used`, or null where the file has it in floating point.
/// @throws qat::Error naming a tensor that is missing, of another shape or not finite, or the number of surplus ones
template <class Pack>
void load_layers(nn::Transformer& model, const Safetensors& file, const std::string& directory, const Pack& pack) {
  std::size_t used = 0;
  const auto load = [&](const std::string& name, const Parameter& target) {
    const SafetensorView& view = file.at(name);
    Tensor<float> value = view.to_tensor();
    QAT_CHECK(value.shape() == target.value.shape(), kShapeMismatch, view.file, ": tensor ", printable(name),
              " has shape ", to_string(value.shape()), "; config.json asks for ", to_string(target.value.shape()));
    check_finite(value, name, view.file);
    const_cast<Parameter&>(target).value = std::move(value);
    ++used;
  };
  for (const NamedLayer& layer : layers_of(model)) {
    if (layer.bias != nullptr) load(layer.name + ".bias", *layer.bias);
    if (layer.is_tied) continue;
    std::unique_ptr<nn::PackedLinear> packed = layer.linear == nullptr ? nullptr : pack(layer, used);
    if (packed == nullptr) {
      load(layer.name + ".weight", *layer.weight);
      continue;
    }
    layer.linear->set_quantization(std::move(packed));
    layer.linear->weight().value = Tensor<float>();
  }
  QAT_CHECK(used == file.tensors().size(), kBadFile, directory, ": has ", file.tensors().size(),
            " tensors; config.json describes ", used);
}
}  // namespace detail

/// An open packed directory: its description is checked; weights are read when asked for.
class PackedCheckpoint {
 public:
  struct Layer {
    QuantSpec weight;
    std::optional<QuantSpec> activation;
    nn::Product product = nn::Product::kInteger;
  };

  explicit PackedCheckpoint(const std::string& directory) : description_(join_path(directory, kPackedFile)) {
    const Json json = read_json(description_);
    const JsonFields fields(json, description_);
    QAT_CHECK(fields.string("format") == "qat-packed" && fields.integer("version") == 1, kBadFile, description_,
              ": format is ", json_text(fields.at("format")), " version ", json_text(fields.at("version")),
              "; accepted: \"qat-packed\" version 1");
    config_ = parse_hf_llama_config(fields.at("config"), description_);
    file_ = Safetensors::open(join_path(directory, "model.safetensors"));
    detail::check_holds(file_, config_, description_);
    const Json& layers = fields.at("layers");
    QAT_CHECK(layers.is_object(), kBadFile, description_, ": 'layers' is ", json_text(layers), "; accepted: an object");
    for (const auto& [name, value] : layers.items()) {
      const JsonFields stated(value, description_ + ": 'layers': " + name);
      Layer& layer = layers_[name];
      layer.weight = parse_spec(stated.string("weight").c_str());
      if (stated.find("activation") != nullptr) layer.activation = parse_spec(stated.string("activation").c_str());
      const std::string product = stated.string_or("product", "integer");
      QAT_CHECK(product == "integer" || product == "float", kBadFile, stated.source(), ": 'product' is ",
                printable(product), "; accepted: \"integer\", \"float\"");
      if (product == "float") layer.product = nn::Product::kFloat;
    }
  }
  const std::string& description() const { return description_; }
  const LlamaConfig& config() const { return config_; }
  const Safetensors& file() const { return file_; }
  /// Packed layers by name.
  const std::map<std::string, Layer>& layers() const { return layers_; }
  const Layer* find(const std::string& name) const {
    const auto found = layers_.find(name);
    return found == layers_.end() ? nullptr : &found->second;
  }

  /// A packed layer's weight. shape: what the configuration says; owner: of this, which must be open as long
  StoredWeight stored(const std::string& name, const Shape& shape, std::shared_ptr<const void> owner = {}) const {
    return detail::read_stored_weight(file_, name, layers_.at(name).weight, shape, std::move(owner));
  }
  PackedWeight packed(const std::string& name, const Shape& shape) const { return stored(name, shape).packed(); }
  /// A parameter in floating point, read for as long as this is open.
  FloatRows rows(const std::string& name, const Shape& shape) const {
    const SafetensorView& view = file_.at(name);
    QAT_CHECK(same_extents(view.shape, shape), kShapeMismatch, description_, ": tensor '", name, "' has shape ",
              shape_text(view.shape), "; the configuration asks for ", to_string(shape));
    FloatRows rows{shape, {}};
    rows.read = [&view, columns = rows.columns()](index_t row, index_t count, float* out) {
      view.to_float(row * columns, count * columns, out);
    };
    return checked(std::move(rows), name, view.file);
  }
  Tensor<float> tensor(const std::string& name, const Shape& shape) const { return rows(name, shape).tensor(); }

 private:
  std::string description_;
  LlamaConfig config_;
  Safetensors file_;
  std::map<std::string, Layer> layers_;
};

/// Reads what save_packed wrote: a model that evaluates and generates from its packed weights.
inline nn::Transformer load_packed(const std::string& directory) {
  const PackedCheckpoint checkpoint(directory);
  const std::string& json_path = checkpoint.description();
  const LlamaConfig& config = checkpoint.config();
  nn::Transformer model(config);
  std::shared_ptr<const PackedWeight> packed_embedding;
  std::size_t used = 0, described = 0;
  for (const detail::NamedLayer& layer : detail::layers_of(model)) {
    const PackedCheckpoint::Layer* const stated = checkpoint.find(layer.name);
    if (stated == nullptr) continue;
    QAT_CHECK(layer.linear != nullptr || layer.embedding != nullptr, kBadFile, json_path, ": layer '", layer.name,
              "' is neither; accepted: linear layers and the embedding");
    ++described;
    auto packed = std::make_shared<const PackedWeight>(checkpoint.packed(layer.name, layer.weight->value.shape()));
    used += has_constant_zero_point(stated->weight.mapping) ? 2 : 3;
    if (layer.embedding != nullptr) {
      packed_embedding = packed;
      layer.embedding->set_quantization(std::make_unique<nn::PackedEmbedding>(std::move(packed)));
      continue;
    }
    if (layer.is_tied && packed_embedding != nullptr && *packed_embedding == *packed) packed = packed_embedding;
    layer.linear->set_quantization(
        std::make_unique<nn::PackedLinear>(std::move(packed), stated->activation, stated->product));
    if (!layer.is_tied) layer.linear->weight().value = Tensor<float>();
  }
  const bool head_packed = model.lm_head().quantization() != nullptr;
  if (packed_embedding != nullptr && (!config.tied || head_packed))
    model.embed_tokens().weight().value = Tensor<float>();
  for (Parameter* p : model.parameters()) {
    if (p->value.empty()) continue;  // packed
    p->value = checkpoint.tensor(p->name, p->value.shape());
    ++used;
  }
  QAT_CHECK(described == checkpoint.layers().size(), kBadFile, json_path, ": 'layers' names ",
            checkpoint.layers().size(), " layers, the model has ", described, " of them");
  QAT_CHECK(used == checkpoint.file().tensors().size(), kBadFile, directory, ": model.safetensors has ",
            checkpoint.file().tensors().size(), " tensors; ", kPackedFile, " describes ", used);
  return model;
}

}  // namespace qat::inline v0::recipe
