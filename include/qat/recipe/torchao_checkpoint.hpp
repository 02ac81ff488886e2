// A converted model as a Hugging Face directory with torchao's tensors, and back: int8 containers of trained codes.
//
//   NAME._weight_qdata       I8 (N, K)             signed codes, whatever their width
//   NAME._weight_scale       F32, BF16 or F16 (N, K / group_size); (N, 1) for a scale a row
//   NAME._weight_zero_point  I8 (N, K / group_size)
// Each file's __metadata__ says of every tensor whether it is an "IntxUnpackedToInt8Tensor" (with its code's type,
// block and the quantization of activations) or a plain "Tensor", and lists them in "tensor_names". Source: torchao
// 0.18, prototype/safetensors and IntxUnpackedToInt8Tensor; transformers 5.24, TorchAoConfig.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "qat/io/compressed_tensors.hpp"
#include "qat/recipe/on_grid_weights.hpp"

namespace qat::inline v0::recipe {

struct TorchaoOptions {
  DType dtype = DType::kF32;  ///< of scales and of layers in floating point: F32 (exact), BF16 or F16 (rounded)
};

/// What became of a model that was written.
struct TorchaoReport {
  index_t packed = 0;                ///< linear layers with integer weights
  index_t in_float = 0;              ///< linear layers and embeddings in floating point, heads that share a table aside
  std::vector<std::string> remarks;  ///< layers written otherwise than they are
};

namespace detail {

/// What torchao calls int8_asym_per_token.
inline QuantSpec torchao_activation() { return *parse_scheme("8da4w").activation; }

/// Why torchao's container has no place for a layer, and what it has one for; "" where it has.
inline std::string why_not_torchao(const QuantSpec& spec, const std::optional<QuantSpec>& activation, index_t columns) {
  const Granularity& g = spec.granularity;
  if (has_float_zero_point(spec.mapping))
    return "zero points are floating point; accepted: integer ones, such as int4:group32:asymmetric";
  if (g.kind == GranularityKind::kPerGroup ? columns % g.group_size != 0
                                           : !(g.kind == GranularityKind::kPerAxis && g.axis == 0))
    return "scales are not per row or per whole group of a row; accepted: axis0, groupG with G a divisor of the "
           "columns";
  if (activation && *activation != torchao_activation())
    return "activations are otherwise quantized; accepted: none, those of 8da4w";
  return "";
}

inline index_t torchao_group(const QuantSpec& spec, index_t columns) {
  return spec.granularity.kind == GranularityKind::kPerGroup ? spec.granularity.group_size : columns;
}

inline const char* torch_dtype_name(DType dtype) {
  return dtype == DType::kBF16 ? "bfloat16" : dtype == DType::kF16 ? "float16" : "float32";
}

/// {"_type": TYPE, "_data": DATA}: how torchao writes its values.
inline nlohmann::ordered_json torchao_value(const char* type, nlohmann::ordered_json data) {
  return {{"_type", type}, {"_data", std::move(data)}};
}

inline nlohmann::ordered_json torchao_tensor(const QuantSpec& spec, bool has_activation, index_t columns, DType dtype) {
  return {{"_type", "IntxUnpackedToInt8Tensor"},
          {"_data",
           {{"target_dtype", torchao_value("torch.dtype", "int" + std::to_string(spec.bits))},
            {"block_size", {1, torchao_group(spec, columns)}},
            {"dtype", torchao_value("torch.dtype", torch_dtype_name(dtype))},
            {"activation_quantization",
             has_activation ? nlohmann::ordered_json("int8_asym_per_token") : nlohmann::ordered_json()}}},
          {"_tensor_data_names", {"qdata", "scale", "zero_point"}}};
}

/// The configuration with which torchao itself would make such a layer.
inline nlohmann::ordered_json torchao_config(const QuantSpec& spec, bool has_activation) {
  using Json = nlohmann::ordered_json;
  const bool grouped = spec.granularity.kind == GranularityKind::kPerGroup;
  const std::string prefix = has_activation ? "weight_" : "";
  Json granularity = {{"_type", grouped ? "PerGroup" : "PerAxis"}, {"_version", 1}};
  granularity["_data"] = grouped ? Json{{"group_size", spec.granularity.group_size}} : Json{{"axis", 0}};
  Json data = {{"weight_dtype", torchao_value("torch.dtype", "int" + std::to_string(spec.bits))}};
  data[prefix + "granularity"] = granularity;
  data[prefix + "mapping_type"] =
      torchao_value("MappingType", has_constant_zero_point(spec.mapping) ? "SYMMETRIC" : "ASYMMETRIC");
  data[prefix + "scale_dtype"] = nullptr;
  if (has_activation) data["act_mapping_type"] = torchao_value("MappingType", "ASYMMETRIC");
  data["intx_packing_format"] = torchao_value("IntxPackingFormat", "UNPACKED_TO_INT8");
  data["intx_choose_qparams_algorithm"] = torchao_value("IntxChooseQParamsAlgorithm", "AFFINE");
  return {{"_type", has_activation ? "Int8DynamicActivationIntxWeightConfig" : "IntxWeightOnlyConfig"},
          {"_version", 2},
          {"_data", data}};
}

/// quantization_config of config.json: one for all layers, or one for each by name.
inline nlohmann::ordered_json torchao_quantization_config(
    const std::vector<std::pair<std::string, nlohmann::ordered_json>>& layers, const std::vector<std::string>& left) {
  using Json = nlohmann::ordered_json;
  Json type = layers.front().second;
  if (std::any_of(layers.begin(), layers.end(), [&](const auto& layer) { return layer.second != type; })) {
    Json by_name = Json::object();
    for (const auto& [name, config] : layers) by_name[name] = config;
    type = {{"_type", "FqnToConfig"},
            {"_version", 1},
            {"_data", {{"fqn_to_config", by_name}, {"module_fqn_to_config", by_name}}}};
  }
  return {{"quant_method", "torchao"},
          {"quant_type", {{"default", type}}},
          {"modules_to_not_convert", left},
          {"include_input_output_embeddings", false},
          {"untie_embedding_weights", false}};
}

/// The three tensors of a layer, each read when its turn comes.
inline void add_torchao(std::vector<SafetensorEntry>& entries, const ExportLayer& layer, const StoredWeight& w,
                        DType dtype) {
  const index_t rows = w.rows(), columns = w.columns(), tiles = w.groups().tiles_per_row;
  const int offset = w.spec().lowest() + (w.spec().is_signed ? 0 : -(1 << (w.spec().bits - 1)));  // of a signed code
  SafetensorEntry codes{layer.name + "._weight_qdata", DType::kI8, {rows, columns}};
  codes.write = [read = layer.packed, offset](const ByteSink& sink) {
    const std::shared_ptr<const StoredWeight> weight = read();
    std::vector<std::uint8_t> row(static_cast<std::size_t>(weight->columns()));
    for (index_t n = 0; n < weight->rows(); ++n) {
      weight->codes(n, row.data());
      qat::detail::add_to_codes(row.data(), weight->columns(), offset);
      sink(row.data(), row.size());
    }
  };
  SafetensorEntry scales{layer.name + "._weight_scale", dtype, {rows, tiles}};
  scales.write = [read = layer.packed, dtype](const ByteSink& sink) {
    const std::shared_ptr<const StoredWeight> weight = read();
    write_floats(weight->scales().data(), weight->groups().count(), dtype, sink);
  };
  SafetensorEntry zero_points{layer.name + "._weight_zero_point", DType::kI8, {rows, tiles}};
  zero_points.write = [read = layer.packed, offset](const ByteSink& sink) {
    const std::shared_ptr<const StoredWeight> weight = read();
    std::vector<std::int8_t> zeros(static_cast<std::size_t>(weight->groups().count()));
    for (std::size_t i = 0; i < zeros.size(); ++i)
      zeros[i] = static_cast<std::int8_t>(static_cast<int>(weight->zero_point(static_cast<index_t>(i))) -
                                          weight->spec().lowest() + offset);
    sink(zeros.data(), zeros.size());
  };
  entries.push_back(std::move(codes));
  entries.push_back(std::move(scales));
  entries.push_back(std::move(zero_points));
}

}  // namespace detail

/// Writes config.json and model.safetensors into `directory` (created when absent), some rows at a time; each appears
/// completely or not at all. The tokenizer is the caller's to copy.
/// @throws qat::Error (kUnsupported) naming the layer that torchao's container cannot hold; nothing is written then
inline TorchaoReport save_torchao(const ExportSource& source, const std::string& directory,
                                  const TorchaoOptions& options = {}) {
  using OrderedJson = nlohmann::ordered_json;
  const HfArchitecture& architecture = hf_architecture(source.config.architecture);
  QAT_CHECK(architecture.tensors.empty(), kUnsupported, directory, ": is a ", architecture.class_name,
            "; accepted for torchao: architectures with linear layers of shape (out, in), as Llama");
  TorchaoReport report;
  std::vector<SafetensorEntry> entries;
  std::map<std::string, std::string> metadata;
  std::vector<std::string> names, left;
  std::vector<std::pair<std::string, OrderedJson>> configs;
  const auto add_float = [&](const std::string& name, const FloatRows& values) {
    entries.push_back(float_entry(name, options.dtype, values));
    metadata[name] = R"({"_type": "Tensor"})";
    names.push_back(name);
  };
  for (const ExportLayer& layer : source.layers) {
    if (layer.bias) add_float(layer.name + ".bias", layer.bias);
    if (!layer.packed || !layer.is_linear || layer.is_tied) {
      if (layer.is_linear) left.push_back(layer.name);
      if (layer.is_tied) {
        detail::check_tied_head(source, layer, "torchao's container");
        continue;
      }
      report.in_float += layer.is_linear || layer.is_embedding;
      add_float(layer.name + ".weight", detail::floats_of(layer));
      if (layer.packed) report.remarks.push_back(layer.name + ": written as the values of its codes");
      continue;
    }
    const std::shared_ptr<const StoredWeight> weight = layer.packed();
    const std::string reason = detail::why_not_torchao(weight->spec(), layer.activation, weight->columns());
    QAT_CHECK(reason.empty(), kUnsupported, layer.name, ": ", to_string(weight->spec()),
              " does not fit torchao's container: ", reason);
    qat::detail::check_scales_held(*weight, layer.name, options.dtype);
    const std::string name = layer.name + ".weight";
    metadata[name] =
        detail::torchao_tensor(weight->spec(), layer.activation.has_value(), weight->columns(), options.dtype).dump();
    names.push_back(name);
    configs.emplace_back(layer.name, detail::torchao_config(weight->spec(), layer.activation.has_value()));
    detail::add_torchao(entries, layer, *weight, options.dtype);
    ++report.packed;
  }
  QAT_CHECK(report.packed > 0, kInvalidArgument, directory,
            ": the model has no packed linear layer; save it as a Hugging Face directory");
  metadata["tensor_names"] = OrderedJson(names).dump();
  OrderedJson config = OrderedJson::parse(hf_llama_config_text(source.config, options.dtype));
  config["quantization_config"] = detail::torchao_quantization_config(configs, left);
  make_directory(directory);
  write_safetensors(join_path(directory, "model.safetensors"), std::move(entries), std::move(metadata));
  write_file(join_path(directory, "config.json"), config.dump(2) + "\n");
  return report;
}

/// True for a directory whose config.json says torchao.
inline bool is_torchao(const std::string& directory) { return quantization_method(directory) == "torchao"; }

namespace detail {

/// One layer as the file's metadata describes it.
struct TorchaoTensor {
  QuantSpec spec;
  std::optional<QuantSpec> activation;
};

inline TorchaoTensor read_torchao_tensor(const Json& json, const std::string& source, const Shape& shape) {
  const JsonFields fields(json, source);
  const std::string type = fields.string("_type");
  QAT_CHECK(type == "IntxUnpackedToInt8Tensor", kUnsupported, source, ": '_type' is ", printable(type),
            "; accepted: Tensor, IntxUnpackedToInt8Tensor");
  const JsonFields data(fields.at("_data"), source + ": '_data'");
  const std::string dtype = JsonFields(data.at("target_dtype"), data.source() + ": 'target_dtype'").string("_data");
  QAT_CHECK(dtype.size() == 4 && dtype.starts_with("int") && dtype[3] >= '1' && dtype[3] <= '8', kUnsupported,
            data.source(), ": 'target_dtype' is ", printable(dtype), "; accepted: int1 to int8");
  const Json& block = data.array("block_size");
  const bool is_row_block = block.size() == 2 && block[0] == 1 && block[1].is_number_integer() &&
                            block[1].get<std::int64_t>() > 0 && shape[1] % block[1].get<std::int64_t>() == 0;
  QAT_CHECK(is_row_block, kUnsupported, data.source(), ": 'block_size' is ", json_text(block),
            "; accepted: [1, a divisor of ", shape[1], "]");
  TorchaoTensor out;
  out.spec.bits = dtype[3] - '0';
  out.spec.mapping = MappingKind::kAsymmetric;
  const auto group = static_cast<index_t>(block[1].get<std::int64_t>());
  out.spec.granularity =
      group == shape[1] ? PerAxis<0>::granularity : Granularity{GranularityKind::kPerGroup, 0, group};
  if (const std::string activation = data.string_or("activation_quantization", ""); !activation.empty()) {
    QAT_CHECK(activation == "int8_asym_per_token", kUnsupported, data.source(), ": 'activation_quantization' is ",
              printable(activation), "; accepted: null, int8_asym_per_token");
    out.activation = torchao_activation();
  }
  return out;
}

inline PackedWeight read_torchao_weight(const Safetensors& file, const std::string& layer, QuantSpec spec,
                                        const Shape& shape) {
  const index_t tiles = shape[1] / torchao_group(spec, shape[1]);
  const auto tensor = [&](const char* suffix, index_t columns) -> const SafetensorView& {
    const SafetensorView& view = file.at(layer + suffix);
    QAT_CHECK(view.shape == std::vector<index_t>({shape[0], columns}), kShapeMismatch, view.file, ": tensor ",
              printable(view.name), " has shape ", shape_text(view.shape), "; accepted: [", shape[0], ", ", columns,
              "]");
    return view;
  };
  const std::vector<std::int8_t> codes = tensor("._weight_qdata", shape[1]).values<std::int8_t>(DType::kI8),
                                 zeros = tensor("._weight_zero_point", tiles).values<std::int8_t>(DType::kI8);
  const SafetensorView& scale_view = tensor("._weight_scale", tiles);
  QAT_CHECK(scale_view.dtype == DType::kF32 || scale_view.dtype == DType::kBF16 || scale_view.dtype == DType::kF16,
            kUnsupported, scale_view.file, ": tensor ", printable(scale_view.name), " is ", info(scale_view.dtype).name,
            "; accepted: F32, BF16, F16");
  std::vector<float> scales(static_cast<std::size_t>(scale_view.size())), zero_points(zeros.begin(), zeros.end());
  scale_view.to_float(scales.data());
  spec.scale_type = qat::detail::stored_scale_type(scale_view.dtype);
  for (const float scale : scales)
    QAT_CHECK(!is_nonfinite(scale), kBadFile, scale_view.file, ": tensor ", printable(scale_view.name), " has a scale ",
              scale, "; accepted: finite numbers");
  const auto check_range = [&](const std::vector<std::int8_t>& values, const char* suffix) {
    for (std::size_t i = 0; i < values.size(); ++i)
      QAT_CHECK(values[i] >= spec.qmin() && values[i] <= spec.qmax(), kBadFile, file.at(layer + suffix).file,
                ": tensor ", printable(layer + suffix), " has ", int{values[i]}, " at element ",
                static_cast<index_t>(i), "; accepted for int", spec.bits, ": ", spec.qmin(), " to ", spec.qmax());
  };
  check_range(codes, "._weight_qdata");
  check_range(zeros, "._weight_zero_point");
  if (std::all_of(zeros.begin(), zeros.end(), [](std::int8_t z) { return z == 0; }))
    spec.mapping = MappingKind::kSymmetric;
  return pack_rows(
      spec, shape[0], shape[1],
      [&](index_t n, std::uint8_t* u) {
        for (index_t k = 0; k < shape[1]; ++k)
          u[k] = static_cast<std::uint8_t>(codes[static_cast<std::size_t>(n * shape[1] + k)] - spec.lowest());
      },
      scales.data(), spec.mapping == MappingKind::kSymmetric ? nullptr : zero_points.data());
}

}  // namespace detail

/// Reads such a directory: a model that evaluates and generates from its packed weights.
/// @throws qat::Error naming file, tensor or field: a kind of tensor that is not supported (with those that are), a
///         missing or surplus tensor, a shape, a code out of range, a scale that is not finite
inline nn::Transformer load_torchao(const std::string& directory) {
  const std::string config_path = join_path(directory, "config.json");
  Json json = read_json(config_path);
  if (json.is_object()) json.erase("quantization_config");
  const LlamaConfig config = parse_hf_llama_config(json, config_path);
  const Safetensors file = Safetensors::open(directory);
  detail::check_holds(file, config, config_path);
  nn::Transformer model(config);
  detail::load_layers(
      model, file, directory,
      [&](const detail::NamedLayer& layer, std::size_t& used) -> std::unique_ptr<nn::PackedLinear> {
        const SafetensorView* const codes = file.find(layer.name + "._weight_qdata");
        if (codes == nullptr) return nullptr;
        const std::string name = layer.name + ".weight",
                          source = codes->file + ": '__metadata__' key " + printable(name);
        const auto described = file.metadata().find(name);
        QAT_CHECK(described != file.metadata().end(), kBadFile, source, ": is missing");
        const Shape shape = layer.weight->value.shape();
        const detail::TorchaoTensor tensor =
            detail::read_torchao_tensor(parse_json(described->second, source), source, shape);
        used += 3;
        return std::make_unique<nn::PackedLinear>(
            std::make_shared<const PackedWeight>(detail::read_torchao_weight(file, layer.name, tensor.spec, shape)),
            tensor.activation, nn::Product::kInteger);
      });
  return model;
}

}  // namespace qat::inline v0::recipe
