// A converted model as a Hugging Face directory in the format "pack-quantized" of compressed-tensors, and back.
//
// Codes and scales are written as they were trained. The format names schemes in config.json's quantization_config and
// has tensors for linear layers only: a packed embedding is written as the values its codes stand for, which is where
// its rows come from anyway.
// Source: compressed-tensors 0.20.0 (quant_config.py, quant_args.py); vLLM's compressed_tensors_wNa16.py for what its
// kernels take.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "qat/io/compressed_tensors.hpp"
#include "qat/recipe/on_grid_weights.hpp"

namespace qat::inline v0::recipe {

struct CompressedTensorsOptions {
  DType dtype =
      DType::kF32;  ///< of scales and of layers in floating point: F32 (exact), BF16 or F16 (these are rounded)
};

/// What became of a model that was written.
struct CompressedTensorsReport {
  index_t packed = 0;                ///< linear layers with integer weights
  index_t in_float = 0;              ///< linear layers and embeddings in floating point, heads that share a table aside
  std::vector<std::string> remarks;  ///< what a reader should know: layers written otherwise, limits of vLLM's kernels
};

namespace detail {

/// GPT-2's layers are stored transposed, as a class of their own that this format does not compress.
inline void check_file_names(const LlamaConfig& config, const std::string& source) {
  const HfArchitecture& a = hf_architecture(config.architecture);
  QAT_CHECK(a.tensors.empty(), kUnsupported, source, ": is a ", a.class_name,
            "; accepted for compressed-tensors: architectures with linear layers of shape (out, in), as Llama");
}

inline nlohmann::ordered_json compressed_weight_args(const CompressedWeight& w) {
  const bool is_channel = w.groups == 1;
  return {{"num_bits", w.bits},
          {"type", "int"},
          {"symmetric", w.zero_point.empty()},
          {"strategy", is_channel ? "channel" : "group"},
          {"group_size", is_channel ? nlohmann::ordered_json() : nlohmann::ordered_json(w.group_size())},
          {"dynamic", false},
          {"actorder", nullptr},
          {"block_structure", nullptr},
          {"observer", "minmax"},
          {"observer_kwargs", nlohmann::ordered_json::object()}};
}

inline nlohmann::ordered_json compressed_activation_args(const std::optional<QuantSpec>& spec,
                                                         const std::string& name) {
  if (!spec) return nullptr;
  QAT_CHECK(
      spec->granularity.kind == GranularityKind::kPerToken && spec->is_signed && !has_float_zero_point(spec->mapping),
      kUnsupported, name, ": activations are ", to_string(*spec),
      "; accepted by compressed-tensors: integers per token, such as int8:token:asymmetric");
  return {{"num_bits", spec->bits}, {"type", "int"},   {"symmetric", has_constant_zero_point(spec->mapping)},
          {"strategy", "token"},    {"dynamic", true}, {"observer", nullptr}};
}

/// What vLLM's weight-only kernels (Marlin) document as their limits; empty where they take the layer.
inline std::string vllm_limit(const CompressedWeight& w) {
  const auto is_one_of = [](index_t value, std::initializer_list<index_t> accepted) {
    return std::find(accepted.begin(), accepted.end(), value) != accepted.end();
  };
  if (!is_one_of(w.bits, {4, 8})) return concat(w.bits, " bits (4 or 8)").c_str();
  if (w.bits == 8 && !w.zero_point.empty()) return "8 bits with zero points (4 bits, or symmetric)";
  if (w.groups != 1 && !is_one_of(w.group_size(), {32, 64, 128}))
    return concat("groups of ", w.group_size(), " (32, 64, 128 or a row)").c_str();
  if (w.columns % 128 != 0) return concat("rows of ", w.columns, " columns (a multiple of 128)").c_str();
  if (w.rows % 64 != 0) return concat(w.rows, " rows (a multiple of 64)").c_str();
  return "";
}

/// A compressed layer's tensors, each read when its turn comes: the shape of `plan`, the content of layer.packed().
inline void add_compressed(std::vector<SafetensorEntry>& entries, const ExportLayer& layer,
                           const CompressedWeight& plan) {
  const auto add = [&](const char* suffix, DType dtype, std::vector<index_t> shape, const auto& write) {
    SafetensorEntry entry{layer.name + suffix, dtype, std::move(shape)};
    entry.write = [write, read = layer.packed](const ByteSink& sink) { write(*read(), sink); };
    entries.push_back(std::move(entry));
  };
  const index_t row_words = CompressedWeight::words(plan.columns, plan.bits);
  add(".weight_packed", DType::kI32, {plan.rows, row_words}, [row_words](const StoredWeight& w, const ByteSink& sink) {
    write_bit_rows(w, row_words * 4, sink);  // a row of words is a string of bits
  });
  add(".weight_scale", plan.scale_dtype, {plan.rows, plan.groups},
      [dtype = plan.scale_dtype](const StoredWeight& w, const ByteSink& sink) {
        write_floats(w.scales().data(), w.groups().count(), dtype, sink);
      });
  SafetensorEntry shape{layer.name + ".weight_shape", DType::kI64, {2}};
  shape.write = [rows = std::int64_t{plan.rows}, columns = std::int64_t{plan.columns}](const ByteSink& sink) {
    const std::int64_t both[] = {rows, columns};
    sink(both, sizeof both);
  };
  entries.push_back(std::move(shape));
  if (plan.zero_point.empty()) return;
  add(".weight_zero_point", DType::kI32, {CompressedWeight::words(plan.rows, plan.bits), plan.groups},
      [name = layer.name, dtype = plan.scale_dtype](const StoredWeight& w, const ByteSink& sink) {
        const std::vector<std::int32_t> words = compress_weight(w, name, dtype, false).zero_point;
        sink(words.data(), words.size() * sizeof(words[0]));
      });
}

}  // namespace detail

/// Writes config.json and model.safetensors into `directory` (created when absent), some rows at a time; each appears
/// completely or not at all. The tokenizer is the caller's to copy.
/// @throws qat::Error (kUnsupported) naming the layer that the format cannot hold and a scheme it can; nothing is
/// written then
inline CompressedTensorsReport save_compressed_tensors(const ExportSource& source, const std::string& directory,
                                                       const CompressedTensorsOptions& options = {}) {
  using OrderedJson = nlohmann::ordered_json;
  QAT_CHECK(options.dtype == DType::kF32 || options.dtype == DType::kBF16 || options.dtype == DType::kF16, kUnsupported,
            directory, ": dtype ", info(options.dtype).name, "; accepted: F32, F16, BF16");
  detail::check_file_names(source.config, directory);
  CompressedTensorsReport report;
  std::vector<SafetensorEntry> entries;
  struct Group {
    OrderedJson weights, activations;
    std::vector<std::string> layers;
  };
  std::vector<Group> groups;
  std::vector<std::string> ignored;
  std::map<std::string, index_t> limits;
  for (const ExportLayer& layer : source.layers) {
    if (layer.bias) {
      entries.push_back(float_entry(layer.name + ".bias", options.dtype, layer.bias));
    }
    if (!layer.packed || !layer.is_linear || layer.is_tied) {
      if (layer.is_linear) ignored.push_back(layer.name);
      if (layer.is_tied) {
        detail::check_tied_head(source, layer, "compressed-tensors");
        continue;
      }
      report.in_float += layer.is_linear || layer.is_embedding;
      entries.push_back(float_entry(layer.name + ".weight", options.dtype, detail::floats_of(layer)));
      if (layer.packed)
        report.remarks.push_back(layer.name +
                                 ": the format has no packed embeddings; written as the values of its codes");
      continue;
    }
    const CompressedWeight weight = compress_weight(*layer.packed(), layer.name, options.dtype, false);
    const OrderedJson weights = detail::compressed_weight_args(weight),
                      activations = detail::compressed_activation_args(layer.activation, layer.name);
    auto group = std::find_if(groups.begin(), groups.end(),
                              [&](const Group& g) { return g.weights == weights && g.activations == activations; });
    if (group == groups.end()) group = groups.insert(groups.end(), {weights, activations, {}});
    group->layers.push_back(layer.name);
    if (const std::string limit = detail::vllm_limit(weight); !limit.empty()) ++limits[limit];
    detail::add_compressed(entries, layer, weight);
    ++report.packed;
  }
  QAT_CHECK(report.packed > 0, kInvalidArgument, directory,
            ": the model has no packed linear layer; save it as a Hugging Face directory");
  for (const auto& [limit, count] : limits)
    report.remarks.push_back(
        concat(count, " of ", report.packed, " layers are outside of what vLLM's kernels accept: ", limit.c_str())
            .c_str());

  OrderedJson config_groups = OrderedJson::object();
  for (const Group& group : groups)
    config_groups["group_" + std::to_string(config_groups.size())] = {
        {"targets", groups.size() == 1 ? std::vector<std::string>{"Linear"} : group.layers},
        {"weights", group.weights},
        {"input_activations", group.activations},
        {"output_activations", nullptr}};
  OrderedJson config = OrderedJson::parse(hf_llama_config_text(source.config, options.dtype));
  config["quantization_config"] = {{"quant_method", "compressed-tensors"}, {"format", "pack-quantized"},
                                   {"quantization_status", "compressed"},  {"global_compression_ratio", nullptr},
                                   {"kv_cache_scheme", nullptr},           {"ignore", ignored},
                                   {"config_groups", config_groups}};
  make_directory(directory);
  write_safetensors(join_path(directory, "model.safetensors"), std::move(entries));
  write_file(join_path(directory, "config.json"), config.dump(2) + "\n");
  return report;
}
/// The same of a model that convert() made.
inline CompressedTensorsReport save_compressed_tensors(nn::Transformer& model, const std::string& directory,
                                                       const CompressedTensorsOptions& options = {}) {
  return save_compressed_tensors(export_source(model), directory, options);
}

/// True for a directory whose config.json says compressed-tensors.
inline bool is_compressed_tensors(const std::string& directory) {
  return quantization_method(directory) == "compressed-tensors";
}

namespace detail {

/// The schemes that a quantization_config names, as far as they decide how weights are read.
struct CompressedGroup {
  std::set<std::string> targets;
  int bits;
  bool symmetric;
  index_t group_size;  // 0: a row
  std::optional<QuantSpec> activation;
};

inline index_t integer_in(const JsonFields& fields, const char* key, index_t least, index_t largest) {
  const index_t value = fields.integer(key);
  QAT_CHECK(value >= least && value <= largest, kUnsupported, fields.source(), ": '", key, "' is ", value,
            "; accepted: ", least, " to ", largest);
  return value;
}

inline std::vector<CompressedGroup> read_compressed_groups(const Json& quantization, const std::string& source) {
  const JsonFields fields(quantization, source + ": 'quantization_config'");
  const std::string format = fields.string("format");
  QAT_CHECK(format == "pack-quantized", kUnsupported, fields.source(), ": 'format' is ", printable(format),
            "; accepted: \"pack-quantized\"");
  const Json& groups = fields.at("config_groups");
  QAT_CHECK(groups.is_object() && !groups.empty(), kBadFile, fields.source(), ": 'config_groups' is ",
            json_text(groups), "; accepted: an object with a group or more");
  std::vector<CompressedGroup> out;
  for (const auto& [key, value] : groups.items()) {
    const JsonFields group(value, fields.source() + ": " + printable(key).c_str());
    const JsonFields weights(group.at("weights"), group.source() + ": 'weights'");
    const std::string type = weights.string_or("type", "int"), strategy = weights.string("strategy");
    QAT_CHECK(type == "int", kUnsupported, weights.source(), ": 'type' is ", printable(type), "; accepted: \"int\"");
    QAT_CHECK(strategy == "group" || strategy == "channel", kUnsupported, weights.source(), ": 'strategy' is ",
              printable(strategy), "; accepted: \"group\", \"channel\"");
    const Json* order = weights.find("actorder");
    QAT_CHECK(order == nullptr || *order == "static" || *order == "weight", kUnsupported, weights.source(),
              ": 'actorder' is ", order == nullptr ? "" : json_text(*order), "; accepted: null, \"static\"");
    CompressedGroup& g = out.emplace_back();
    g.bits = static_cast<int>(integer_in(weights, "num_bits", 1, 8));
    g.symmetric = weights.boolean_or("symmetric", true);
    g.group_size = strategy == "group" ? integer_in(weights, "group_size", 1, index_t{1} << 30) : 0;
    for (const Json& target : group.at("targets"))
      if (target.is_string()) g.targets.insert(target.get<std::string>());
    const Json* activations = group.find("input_activations");
    if (activations == nullptr) continue;
    const JsonFields a(*activations, group.source() + ": 'input_activations'");
    QAT_CHECK(a.string("strategy") == "token" && a.boolean_or("dynamic", false) && a.string_or("type", "int") == "int",
              kUnsupported, a.source(), ": is ", json_text(*activations),
              "; accepted: integers of the strategy \"token\", dynamic");
    QuantSpec spec = parse_spec(a.boolean_or("symmetric", true) ? "int8:token:symmetric" : "int8:token:asymmetric");
    spec.bits = static_cast<int>(integer_in(a, "num_bits", 2, 8));
    g.activation = spec;
  }
  return out;
}

/// The group a stored layer belongs to: the one that names it, else the one whose scheme it has.
inline const CompressedGroup& group_of(const std::vector<CompressedGroup>& groups, const std::string& name,
                                       const Safetensors& file) {
  if (groups.size() == 1) return groups.front();
  for (const CompressedGroup& g : groups)
    if (g.targets.contains(name)) return g;
  const CompressedGroup* found = nullptr;
  for (const CompressedGroup& g : groups) {
    if (g.symmetric != (file.find(name + ".weight_zero_point") == nullptr)) continue;
    const SafetensorView &packed = file.at(name + ".weight_packed"), &scale = file.at(name + ".weight_scale");
    const std::vector<std::int64_t> shape = file.at(name + ".weight_shape").values<std::int64_t>(DType::kI64);
    if (shape.size() != 2 || shape[1] <= 0 || shape[1] >= index_t{1} << 40 || packed.shape.size() != 2 ||
        scale.shape.size() != 2 || packed.shape[1] != CompressedWeight::words(shape[1], g.bits))
      continue;
    if (g.group_size == 0 ? scale.shape[1] != 1 : scale.shape[1] * g.group_size != shape[1]) continue;
    QAT_CHECK(found == nullptr || found->activation == g.activation, kUnsupported, name,
              ": two groups of quantization_config fit; accepted: groups whose targets name layers, or that differ in "
              "their weights");
    found = &g;
  }
  QAT_CHECK(found != nullptr, kBadFile, name, ": no group of quantization_config fits its tensors");
  return *found;
}

}  // namespace detail

/// Reads such a directory: a model that evaluates and generates from its packed weights.
/// @throws qat::Error naming file, tensor or field: a format or option that is not supported (with those that are), a
/// missing or surplus tensor, shapes that disagree with the configuration
inline nn::Transformer load_compressed_tensors(const std::string& directory) {
  const std::string config_path = join_path(directory, "config.json");
  Json json = read_json(config_path);
  const JsonFields fields(json, config_path);
  const std::vector<detail::CompressedGroup> groups =
      detail::read_compressed_groups(fields.at("quantization_config"), config_path);
  json.erase("quantization_config");
  const LlamaConfig config = parse_hf_llama_config(json, config_path);
  detail::check_file_names(config, config_path);
  const Safetensors file = Safetensors::open(directory);
  detail::check_holds(file, config, config_path);
  nn::Transformer model(config);
  detail::load_layers(
      model, file, directory,
      [&](const detail::NamedLayer& layer, std::size_t& used) -> std::unique_ptr<nn::PackedLinear> {
        if (file.find(layer.name + ".weight_packed") == nullptr) return nullptr;
        const detail::CompressedGroup& group = detail::group_of(groups, layer.name, file);
        const CompressedWeight stored = read_compressed_weight(file, layer.name, group.bits);
        QAT_CHECK(Shape({stored.rows, stored.columns}) == layer.weight->value.shape(), kShapeMismatch,
                  file.at(layer.name + ".weight_shape").file, ": tensor '", layer.name, ".weight_shape' is (",
                  stored.rows, ", ", stored.columns, "); config.json asks for ",
                  to_string(layer.weight->value.shape()));
        QAT_CHECK(group.symmetric == stored.zero_point.empty() &&
                      stored.groups == (group.group_size == 0 ? 1 : stored.columns / group.group_size),
                  kBadFile, config_path, ": 'quantization_config' says ", group.symmetric ? "symmetric" : "asymmetric",
                  ", group_size ", group.group_size, " for ", layer.name, "; its tensors hold ", stored.groups,
                  " scales a row", stored.zero_point.empty() ? " and no zero points" : " and zero points");
        used += stored.zero_point.empty() ? 3 : 4;
        return std::make_unique<nn::PackedLinear>(std::make_shared<const PackedWeight>(decompress_weight(stored)),
                                                  group.activation, nn::Product::kInteger);
      });
  return model;
}

}  // namespace qat::inline v0::recipe
