// A converted model as a GGUF file that llama.cpp runs: the integers and scales as they were trained, never
// requantized.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "qat/io/gguf_llama_writer.hpp"
#include "qat/quant/ggml_target.hpp"
#include "qat/recipe/export_source.hpp"

namespace qat::inline v0::recipe {

struct GgufExportOptions {
  std::string model_name = "model";      ///< general.name
  std::optional<GgmlType> type;          ///< of the packed linear layers of blocks; absent: the shortest that is exact
  GgmlType float_type = GgmlType::kF32;  ///< of matrices in floating point: F32, or F16 or BF16 (rounded)
};

/// What became of one tensor.
struct GgufLayer {
  std::string name;  ///< in the model
  GgmlType type = GgmlType::kF32;
  index_t bytes = 0;
  std::string remark;  ///< why it is stored otherwise than asked for; else empty
};
using GgufReport = std::vector<GgufLayer>;

namespace detail {

/// One row of a packed weight in a type; false where it is not exact.
inline bool encode_packed_row(const StoredWeight& w, GgmlType type, index_t row, std::uint8_t* out) {
  const int block = info(type).block;
  std::vector<std::uint8_t> codes(static_cast<std::size_t>(w.columns()));
  if (block == 1) {
    std::vector<float> values(codes.size()), stored(codes.size());
    w.values(row, codes.data(), values.data());
    ggml_encode(type, values.data(), w.columns(), out);
    ggml_decode(type, out, w.columns(), stored.data());
    return values == stored;
  }
  const bool has_minimum = w.spec().mapping == MappingKind::kFloatMinimum;
  if (w.has_float_zero_point() && !(has_minimum && type == GgmlType::kQ4_1)) return false;
  int steps[256];
  w.codes(row, codes.data());
  const int lowest = w.spec().lowest();
  const index_t tile = w.groups().tile_columns;
  for (index_t k = 0, group = w.group_of(row, 0), left = tile; k < w.columns(); k += block, out += info(type).bytes) {
    if (left == 0) ++group, left = tile;  // columns of the group
    if (left < block) return false;
    left -= block;
    const int zero_point = has_minimum ? 0 : static_cast<int>(w.zero_point(group));
    if (type == GgmlType::kQ4_0 && !has_minimum && lowest - zero_point >= -8) {
      if (!ggml_store_q4_0(codes.data() + k, lowest - zero_point, w.scale(group), out)) return false;
      continue;
    }
    for (int i = 0; i < block; ++i) steps[i] = codes[static_cast<std::size_t>(k + i)] + lowest - zero_point;
    if (has_minimum) {
      if (!ggml_store_minimum(steps, w.scale(group), w.zero_point(group), out)) return false;
    } else if (!ggml_store_integers(type, steps, w.scale(group), out)) {
      return false;
    }
  }
  return true;
}

/// Whether a type holds every row exactly.
inline bool holds_packed(const StoredWeight& w, GgmlType type) {
  if (w.columns() % info(type).block != 0) return false;
  const bool is_plain = type == GgmlType::kQ4_0 || type == GgmlType::kQ5_0 || type == GgmlType::kQ8_0;
  if (is_plain && ggml_misfit(type, w.spec(), w.columns()) == nullptr)  // whatever the codes; scales may be too large
    return std::all_of(w.scales().begin(), w.scales().end(), [](float s) { return ggml::is_half(s); });
  std::vector<std::uint8_t> row_bytes(static_cast<std::size_t>(ggml_row_bytes(type, w.columns())));
  for (index_t row = 0; row < w.rows(); ++row)
    if (!encode_packed_row(w, type, row, row_bytes.data())) return false;
  return true;
}

/// The shortest type that holds all of them exactly; null holds a layer in floating point.
inline GgmlType shortest_type(std::span<const StoredWeight* const> weights) {
  for (const GgmlType type : {GgmlType::kTQ2_0, GgmlType::kMXFP4, GgmlType::kQ4_0, GgmlType::kIQ4_NL, GgmlType::kQ4_1,
                              GgmlType::kQ5_0, GgmlType::kQ8_0, GgmlType::kF16}) {
    bool holds = true;
    for (const StoredWeight* w : weights) holds = holds && w != nullptr && holds_packed(*w, type);
    if (holds) return type;
  }
  return GgmlType::kF32;
}
inline GgmlType shortest_type(const StoredWeight& w) {
  const StoredWeight* const one = &w;
  return shortest_type(std::span(&one, 1));
}

/// The type that was asked for; F16 or F32 for rows that are no whole blocks.
inline GgmlType requested_type(const StoredWeight& w, GgmlType type, const std::string& name, std::string& remark) {
  if (w.columns() % info(type).block != 0) {
    const GgmlType stored = holds_packed(w, GgmlType::kF16) ? GgmlType::kF16 : GgmlType::kF32;
    remark = concat("rows of ", w.columns(), " are no whole blocks of ", info(type).block, ": exact in ",
                    info(stored).name, stored == GgmlType::kF16 ? "" : ", not in F16")
                 .c_str();
    return stored;
  }
  if (holds_packed(w, type)) return type;
  const char* reason = ggml_misfit(type, w.spec(), w.columns());
  if (reason == nullptr) reason = "a scale is beyond the range of a half";
  const char* scheme = ggml_scheme(type);
  raise(ErrorCode::kUnsupported, name, ": weights trained as ", to_string(w.spec()), " are not exact in ",
        info(type).name, ": ", reason,
        "; accepted: ", scheme != nullptr ? concat("weight=", scheme) : concat("type ", info(shortest_type(w)).name));
}

/// A layer to write.
struct GgufPart {
  const ExportLayer* layer;
  GgufLayer line;

  std::string weight_name() const { return layer->name + ".weight"; }
};

/// Rows of what `read` brings, which is in memory from the first row that is asked for to the last.
template <class Read, class Encode>
std::function<void(index_t, std::uint8_t*)> rows_on_demand(Read read, index_t rows, Encode encode) {
  struct State {
    decltype(read()) held = nullptr;
    index_t written = 0;
  };
  return [state = std::make_shared<State>(), read = std::move(read), rows, encode](index_t row, std::uint8_t* out) {
    if (state->held == nullptr) state->held = read();
    encode(*state->held, row, out);
    if (++state->written < rows) return;
    state->held = nullptr;
    state->written = 0;
  };
}

/// Layers that stand in one tensor of the file get one type: where theirs differ, the shortest that is exact for all.
inline void unify_types(Architecture architecture, std::vector<GgufPart>& parts) {
  std::map<std::string, std::vector<GgufPart*>> tensors;
  for (GgufPart& part : parts) tensors[gguf_tensor_name(architecture, part.weight_name())].push_back(&part);
  for (auto& [name, members] : tensors) {
    const GgmlType first = members.front()->line.type;
    if (std::all_of(members.begin(), members.end(), [&](const GgufPart* part) { return part->line.type == first; }))
      continue;
    std::vector<std::shared_ptr<const StoredWeight>> held;
    std::vector<const StoredWeight*> weights;
    for (const GgufPart* part : members) {
      held.push_back(part->layer->packed ? part->layer->packed() : nullptr);
      weights.push_back(held.back().get());
    }
    const GgmlType type = shortest_type(weights);
    for (GgufPart* part : members) {
      if (part->line.type != type) part->line.remark = "its tensor " + name + " has one type for all of its layers";
      part->line.type = type;
    }
  }
}

/// The layers that a file holds, each with the type it gets; a head that is the embedding's table is none.
inline std::vector<GgufPart> gguf_parts(const ExportSource& source, const GgufExportOptions& options) {
  std::vector<GgufPart> parts;
  for (const ExportLayer& layer : source.layers) {
    if (source.is_table(layer)) continue;
    GgufPart part{&layer, {layer.name, GgmlType::kF32, 0, ""}};
    GgufLayer& line = part.line;
    if (layer.packed) {
      const std::shared_ptr<const StoredWeight> packed = layer.packed();
      line.type = options.type && layer.block >= 0 ? requested_type(*packed, *options.type, layer.name, line.remark)
                                                   : shortest_type(*packed);
    } else if (layer.shape.rank() == 2 && part.weight_name() != kLearnedPositions) {
      line.type = options.float_type;
      if (options.float_type != GgmlType::kF32) line.remark = "rounded from fp32";
    }
    parts.push_back(std::move(part));
  }
  unify_types(source.config.architecture, parts);
  return parts;
}

}  // namespace detail

/// Writes a model, completely or not at all, row by row. A packed layer is written with the integers and scales
/// that were trained; decoding gives the values it multiplied with, bit for bit but for the sign of zeros. The report
/// names each tensor's type.
/// @param tokenizer  the keys tokenizer.ggml.*, as add_vocabulary or another GGUF file has them
/// @throws qat::Error (kUnsupported) naming the layer, its scheme and one that fits, if options.type does not hold it
inline GgufReport export_gguf(const ExportSource& source, const GgufMetadata& tokenizer, const std::string& path,
                              const GgufExportOptions& options = {}, const GgufProgress& progress = {}) {
  const GgmlType float_type = options.float_type;
  QAT_CHECK(float_type == GgmlType::kF32 || float_type == GgmlType::kF16 || float_type == GgmlType::kBF16, kUnsupported,
            path, ": float_type is ", info(float_type).name, "; accepted: F32, F16, BF16");
  LlamaConfig config = source.config;
  std::vector<detail::GgufPart> parts = detail::gguf_parts(source, options);
  bool any_packed = false;  // of the layers that options.type is for
  for (const detail::GgufPart& part : parts) {
    any_packed = any_packed || (part.layer->packed && part.layer->block >= 0);
    if (part.layer->is_tied) config.tied = false;
  }
  QAT_CHECK(!options.type || any_packed, kInvalidArgument, path, ": no layer is packed, so none would be ",
            info(*options.type).name, "; accepted: a model trained for the type, or one quantized with a scheme");
  std::vector<GgufRows> tensors;
  GgufReport report;
  for (detail::GgufPart& part : parts) {
    const ExportLayer& layer = *part.layer;
    if (layer.packed)
      tensors.push_back(
          {part.weight_name(), part.line.type, layer.shape,
           detail::rows_on_demand(layer.packed, layer.shape[0],
                                  [type = part.line.type](const StoredWeight& held, index_t row, std::uint8_t* out) {
                                    (void)detail::encode_packed_row(held, type, row, out);
                                  })});
    else
      tensors.push_back(gguf_rows_of(part.weight_name(), layer.weight, part.line.type));
    part.line.bytes = ggml_row_bytes(part.line.type, layer.shape.size());
    if (layer.bias) {
      tensors.push_back(gguf_rows_of(layer.name + ".bias", layer.bias, GgmlType::kF32));
      part.line.bytes += layer.shape[0] * static_cast<index_t>(sizeof(float));
    }
    report.push_back(std::move(part.line));
  }
  write_gguf_llama(path, config, tokenizer, std::move(tensors), options.model_name, progress);
  return report;
}
/// The same of a model that convert() made, or one in floating point.
inline GgufReport export_gguf(nn::Transformer& model, const GgufMetadata& tokenizer, const std::string& path,
                              const GgufExportOptions& options = {}, const GgufProgress& progress = {}) {
  return export_gguf(export_source(model), tokenizer, path, options, progress);
}

}  // namespace qat::inline v0::recipe
