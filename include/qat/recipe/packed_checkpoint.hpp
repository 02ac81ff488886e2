// A converted model on disk: packed codes and scales as they were trained, never requantized.
//
// A directory with
//   qat_packed.json      {"format": "qat-packed", "version": 1, "config": {Hugging Face keys}, "layers": {NAME:
//   {"weight": SPEC,
//                        "activation": SPEC or null, "product": "integer" or "float"}}}
//   model.safetensors    every parameter in floating point (fp32) under its name; of a packed layer with weight (R, C):
//                        NAME.codes       U8 (R, ceil(C * bits / 8))  row-major bit string: u = q - qmin of column k in
//                        bits
//                                         [k * bits, (k + 1) * bits) of its row, least significant first
//                        NAME.scale       F32 (tiles), values that the spec's scale type holds
//                        NAME.zero_point  F32 (tiles); absent where the mapping's zero point is constant
#pragma once

#include <deque>
#include <map>
#include <string>
#include <vector>

#include "qat/io/hf_llama.hpp"
#include "qat/recipe/prepare.hpp"
#include "qat/tensor/packed_view.hpp"

namespace qat::inline v0::recipe {

inline constexpr const char* kPackedFile = "qat_packed.json";

inline bool is_packed_checkpoint(const std::string& path) {
  return is_directory(path) && file_exists(join_path(path, kPackedFile));
}

namespace detail {

inline std::vector<std::uint8_t> dense_codes(const PackedWeight& weight) {
  const int bits = weight.spec().bits;
  const index_t row_bytes = packed_bytes(weight.columns(), bits);
  std::vector<std::uint8_t> out(static_cast<std::size_t>(weight.rows() * row_bytes));
  for (index_t row = 0; row < weight.rows(); ++row)
    for (index_t k = 0; k < weight.columns(); ++k)
      qat::detail::store_packed(out.data() + row * row_bytes, k, bits,
                                static_cast<std::uint32_t>(weight.code(row, k) - weight.spec().qmin()));
  return out;
}

inline PackedWeight read_packed_weight(const Safetensors& file, const std::string& name, const QuantSpec& spec,
                                       const Shape& shape) {
  const index_t rows = shape[0], columns = shape[1], row_bytes = packed_bytes(columns, spec.bits);
  const auto tensor = [&](const char* suffix, std::vector<index_t> expected) -> const SafetensorView& {
    const SafetensorView& view = file.at(name + suffix);
    QAT_CHECK(view.shape == expected, kBadFile, view.file, ": tensor ", printable(view.name), " has shape ",
              shape_text(view.shape), "; ", to_string(spec), " of (", rows, ", ", columns, ") needs ",
              shape_text(expected));
    return view;
  };
  const index_t tiles = group_layout(spec.granularity, rows, columns).count();
  const std::vector<std::uint8_t> dense = tensor(".codes", {rows, row_bytes}).values<std::uint8_t>(DType::kU8);
  const std::vector<float> scale = tensor(".scale", {tiles}).values<float>(DType::kF32);
  std::vector<float> zero_point;
  if (!has_constant_zero_point(spec.mapping)) zero_point = tensor(".zero_point", {tiles}).values<float>(DType::kF32);
  for (const std::vector<float>* values : {&scale, static_cast<const std::vector<float>*>(&zero_point)})
    for (const float v : *values)
      QAT_CHECK(!is_nonfinite(v), kBadFile, file.at(name + ".scale").file, ": tensor ", printable(name),
                " has a scale or zero point ", v, "; accepted: finite numbers");
  std::vector<std::int8_t> codes(static_cast<std::size_t>(rows * columns));
  for (index_t row = 0; row < rows; ++row)
    for (index_t k = 0; k < columns; ++k) {
      const std::uint32_t u = qat::detail::load_packed(dense.data() + row * row_bytes, k, spec.bits);
      codes[static_cast<std::size_t>(row * columns + k)] = static_cast<std::int8_t>(static_cast<int>(u) + spec.qmin());
    }
  return PackedWeight::pack(spec, rows, columns, codes.data(), scale.data(),
                            zero_point.empty() ? nullptr : zero_point.data());
}

}  // namespace detail

/// Writes a converted model into `directory` (created when absent); each file appears completely or not at all.
inline void save_packed(nn::Transformer& model, const std::string& directory) {
  make_directory(directory);
  nlohmann::ordered_json json = {{"format", "qat-packed"}, {"version", 1}};
  json["config"] = nlohmann::ordered_json::parse(hf_llama_config_text(model.config(), DType::kF32));
  json["layers"] = nlohmann::ordered_json::object();
  std::vector<SafetensorEntry> entries;
  std::deque<std::vector<std::uint8_t>> codes;
  std::deque<std::vector<float>> numbers;
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
    const index_t tiles = packed->groups().count();
    codes.push_back(detail::dense_codes(*packed));
    std::vector<float>& scale = numbers.emplace_back();
    std::vector<float>& zero_point = numbers.emplace_back();
    for (index_t i = 0; i < tiles; ++i) {
      scale.push_back(packed->scale(i));
      zero_point.push_back(packed->zero_point(i));
    }
    entries.push_back({layer.name + ".codes",
                       DType::kU8,
                       {packed->rows(), packed_bytes(packed->columns(), packed->spec().bits)},
                       codes.back().data()});
    entries.push_back({layer.name + ".scale", DType::kF32, {tiles}, scale.data()});
    if (!has_constant_zero_point(packed->spec().mapping))
      entries.push_back({layer.name + ".zero_point", DType::kF32, {tiles}, zero_point.data()});
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
            ": the model of 'config' has more weights than model.safetensors has bits");
}
}  // namespace detail

/// Reads what save_packed wrote: a model that evaluates and generates from its packed weights.
inline nn::Transformer load_packed(const std::string& directory) {
  const std::string json_path = join_path(directory, kPackedFile);
  const Json json = read_json(json_path);
  const JsonFields fields(json, json_path);
  QAT_CHECK(fields.string("format") == "qat-packed" && fields.integer("version") == 1, kBadFile, json_path,
            ": format is ", json_text(fields.at("format")), " version ", json_text(fields.at("version")),
            "; accepted: \"qat-packed\" version 1");
  const LlamaConfig config = parse_hf_llama_config(fields.at("config"), json_path);
  const Safetensors file = Safetensors::open(join_path(directory, "model.safetensors"));
  detail::check_holds(file, config, json_path);
  nn::Transformer model(config);
  const Json& layers = fields.at("layers");
  QAT_CHECK(layers.is_object(), kBadFile, json_path, ": 'layers' is ", json_text(layers), "; accepted: an object");
  std::shared_ptr<const PackedWeight> packed_embedding;
  std::size_t used = 0, described = 0;
  for (const detail::NamedLayer& layer : detail::layers_of(model)) {
    if (!layers.contains(layer.name)) continue;
    QAT_CHECK(layer.linear != nullptr || layer.embedding != nullptr, kBadFile, json_path, ": layer '", layer.name,
              "' is neither; accepted: linear layers and the embedding");
    ++described;
    const JsonFields description(layers.at(layer.name), json_path + ": layer " + layer.name);
    const QuantSpec spec = parse_spec(description.string("weight").c_str());
    std::optional<QuantSpec> activation;
    if (description.find("activation") != nullptr) activation = parse_spec(description.string("activation").c_str());
    const std::string product = description.string_or("product", "integer");
    QAT_CHECK(product == "integer" || product == "float", kBadFile, description.source(), ": 'product' is ",
              printable(product), "; accepted: \"integer\", \"float\"");
    auto packed = std::make_shared<const PackedWeight>(
        detail::read_packed_weight(file, layer.name, spec, layer.weight->value.shape()));
    used += has_constant_zero_point(spec.mapping) ? 2 : 3;
    if (layer.embedding != nullptr) {
      packed_embedding = packed;
      layer.embedding->set_quantization(std::make_unique<nn::PackedEmbedding>(std::move(packed)));
      continue;
    }
    if (layer.is_tied && packed_embedding != nullptr && *packed_embedding == *packed) packed = packed_embedding;
    layer.linear->set_quantization(std::make_unique<nn::PackedLinear>(
        std::move(packed), activation, product == "integer" ? nn::Product::kInteger : nn::Product::kFloat));
    if (!layer.is_tied) layer.linear->weight().value = Tensor<float>();
  }
  const bool head_packed = model.lm_head().quantization() != nullptr;
  if (packed_embedding != nullptr && (!config.tied || head_packed))
    model.embed_tokens().weight().value = Tensor<float>();
  for (Parameter* p : model.parameters()) {
    if (p->value.empty()) continue;  // packed
    const SafetensorView& view = file.at(p->name);
    Tensor<float> value = view.to_tensor();
    QAT_CHECK(value.shape() == p->value.shape(), kShapeMismatch, json_path, ": tensor '", p->name, "' has shape ",
              to_string(value.shape()), "; the configuration asks for ", to_string(p->value.shape()));
    check_finite(value, p->name, view.file);
    p->value = std::move(value);
    ++used;
  }
  QAT_CHECK(described == layers.size(), kBadFile, json_path, ": 'layers' names ", layers.size(),
            " layers, the model has ", described, " of them");
  QAT_CHECK(used == file.tensors().size(), kBadFile, directory, ": model.safetensors has ", file.tensors().size(),
            " tensors; ", kPackedFile, " describes ", used);
  return model;
}

}  // namespace qat::inline v0::recipe
